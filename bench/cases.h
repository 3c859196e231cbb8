#pragma once
// What is measured: calls of the catalogue's ops in shapes that matter. A model's layers are read off its own training
// graph, forward and backward, so that no list of layers is typed anywhere.

#include <memory>
#include <string>
#include <vector>

#include "bench/place.h"
#include "core/graph.h"
#include "kernels/catalogue.h"

namespace weft::bench {

/// A node and what goes into it, taken from its graph: a library that runs graphs (oneDNN, through the cpu device) runs
/// it alone.
struct LoneNode {
  Node node;
  std::vector<Value> inputs;  ///< by position; one that is left out is Value{}
};

struct Case {
  const Op* op = nullptr;
  Problem problem;
  std::string set;                       ///< "resnet34 N=128", "gemm"
  std::string note;                      ///< the first layer of this shape: "layer1.0.conv1"
  int count = 1;                         ///< nodes of the set that are this call
  std::shared_ptr<const LoneNode> node;  ///< null where the call is no node of a graph
  /// How its products are taken, which says what ceiling judges it: "f32", "tf32", "bf16".
  std::string arithmetic() const;
};

/// Which cases are wanted.
struct CaseOptions {
  /// Of: "gemm" (square 256 ... 8192 and ragged), a model's name (its training step at 224 pixels; then as "... fused"
  /// what fusing makes of the step and of prediction; then as "... gathered" what gathering statistics makes of the
  /// fused step, in the types in which it does), "ops" (each op in one large shape), "catalogue" (the shapes that the
  /// tests run, but those with gaps between their rows).
  std::vector<std::string> sets = {"gemm", "resnet34", "resnet50", "resnet18", "ops"};
  std::vector<std::int64_t> batches = {128, 32, 8, 1};  ///< of a model
  std::int64_t size = 224;                              ///< pixels a side
  std::vector<DType> dtypes = {DType::f32, DType::bf16};
  std::string op, shape;  ///< regular expressions that "gemm" and "M=256,N=256,..." must hold; empty: any
};

/// The cases in the order in which they should be measured: set by set, as named; in a set type by type, as named, TF32
/// last; each call once, where it comes first.
/// Throws UsageError for a set that is none.
std::vector<Case> make_cases(const Place& place, const CaseOptions& options);

/// "M=256,N=256,K=256": the extents that are not 0, then the scalars that are not 0.
std::string shape_text(const Op& op, const Problem& problem);
/// The extent of that name, by its position; -1 where the op has none.
int find_extent(const Op& op, const char* name);
/// "f32", "bf16"; for an op that names its types itself (cast) what it says.
std::string dtype_text(DType dtype);

}  // namespace weft::bench
