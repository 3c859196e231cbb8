#pragma once
// The op catalogue: each op described once. Tests, benchmarks and lessons iterate over it, and a device runs an op by
// it.
//
// These types are plain data, shared by both targets, without a function of their own: a header that nvcc and the C++
// compiler both see must not define symbols outside its target's namespace.
//
// The ops' names and operands are also the graph's (core/graph.h): a graph node "conv2d" runs the catalogue's op
// "conv2d" with the node's inputs and outputs as operands, in this order.

#include <cstdint>
#include <limits>
#include <span>

#include "kernels/dtype.h"

namespace weft {

/// A cudaStream_t on cuda; ignored on simt, where a launch has finished when it returns.
using Stream = void*;

inline constexpr int kMaxExtents = 20;
inline constexpr int kMaxScalars = 17;
inline constexpr int kMaxOperands = 12;
inline constexpr int kMaxRank = 4;

/// One call of an op: its extents and scalars, in the order of Op::extent_names and Op::scalar_names.
struct Problem {
  std::int64_t extents[kMaxExtents] = {};
  double scalars[kMaxScalars] = {};
  DType dtype = DType::f32;    ///< of the floating-point operands that follow the op's type
  const char* note = nullptr;  ///< where the shape comes from ("resnet18 layer2.0.conv1"), for a table's rows
  bool strict = false;         ///< only rungs that keep to the op's bound itself (Rung::bound_factor 1): no Winograd
};

enum class Role : std::uint8_t { input, output, inout };

/// How a test fills an operand.
enum class Fill : std::uint8_t {
  normal,    ///< standard normal
  away,      ///< normal, moved away from 0 by at least 0.1: ReLU's kink
  distinct,  ///< pairwise different by at least 0.01: max pool's kink
  positive,  ///< uniform in [0.5, 1.5]: variances, inverse deviations
  labels,    ///< int32 in [0, limit)
  pixels,    ///< uint8
  derived,   ///< what the forward op computes for it: the harness runs the forward op's reference (Op::gradient_of)
};

/// One operand of a call. Row-major; dense but for what row_pitch says.
struct Operand {
  const char* name = nullptr;  ///< "x", "weight"; a gradient is called "d" + the name of what it is the gradient of
  Role role = Role::input;
  DType dtype = DType::f32;
  int rank = 0;
  std::int64_t dims[kMaxRank] = {};
  Fill fill = Fill::normal;
  std::int64_t limit = 0;  ///< of Fill::labels
  bool present = true;     ///< false: optional and left out in this call; its pointer is null
  /// Elements from the start of one row (the last axis) to the start of the next, at least the row's length. 0: dense.
  /// What lies between two rows is nobody's: it is neither read nor written.
  std::int64_t row_pitch = 0;
};

struct Signature {
  int count = 0;
  Operand operands[kMaxOperands] = {};
};

/// What a rung needs of the device and of the call.
struct Needs {
  int min_capability = 0;  ///< compute capability times ten: 80 for mma.sync and cp.async. 0: any
  /// 90 for wgmma and TMA in sm_90a form: exactly that, since anything newer lacks them. 0: any
  int exact_capability = 0;
  unsigned dtypes = 1u << static_cast<unsigned>(DType::f32);  ///< bit set by DType
  bool (*takes)(const Problem&) = nullptr;                    ///< null: takes every shape
  const char* takes_what = nullptr;                           ///< else which, in words: "lda and ldb multiples of 8"
  /// Bytes, 16 at most: operands' addresses must be multiples of it. What an executor hands over is.
  int alignment = 1;
};

/// One implementation: a step of the op's ladder.
struct Rung {
  const char* name;  ///< "warp-per-row"
  const char* idea;  ///< one sentence: what the rung before wasted, and what this one does about it
  Needs needs;
  /// Enqueues the work. `operands` follow the signature's order; `workspace` has at least workspace_bytes().
  void (*launch)(const Problem&, void* const* operands, void* workspace, Stream stream);
  std::int64_t (*workspace_bytes)(const Problem&) = nullptr;  ///< null: needs none
  /// How many times Op::bound this rung may be off. 1 but for Winograd, whose transforms add and subtract neighbours
  /// before they multiply: 8. Such a rung is not for a problem that is strict.
  double bound_factor = 1;
};

/// How far a rung may be from the double reference: |got - exact| <= c * u * sqrt(terms) * magnitude, elementwise,
/// where u is the unit roundoff of the op's type (or the output's, where that is larger). c is 4 at most; a larger one
/// needs a reason in the commit that raises it. Rung::bound_factor multiplies it.
struct Bound {
  double c = 4;
  std::int64_t (*terms)(const Problem&) = nullptr;  ///< the length of the sums; null: 1
  double (*unit)(const Problem&) = nullptr;  ///< u, where a call may round its inputs further (TF32); null: as above
};

struct Op {
  const char* name;     ///< "softmax"
  const char* formula;  ///< with shapes, one line
  const char* peer;     ///< of cuDNN, cuBLAS or oneDNN, by which bench/ finds it ("cublas:gemm"); null: none
  std::span<const char* const> extent_names;
  std::span<const char* const> scalar_names;
  Signature (*signature)(const Problem&);
  /// Throws weft::Error with the extents in it where a call makes no sense; null: every call does.
  void (*check)(const Problem&);
  /// The truth, in double precision. Operands are doubles in the signature's order, null where left out; outputs are
  /// written. magnitudes[i] belongs to operands[i] (the same length; null where that is an input) and receives
  /// sum |terms|, what rounding is relative to; where it is left NaN, |exact| stands for it. `magnitudes` is never
  /// null.
  void (*reference)(const Problem&, double* const* operands, double* const* magnitudes);
  double (*flops)(const Problem&);
  double (*bytes)(const Problem&);  ///< the fewest: each input read once, each output written once
  Bound bound;
  std::span<const Problem> problems;  ///< the shapes worth testing: ragged, tiny, prime, real layers
  std::span<const Rung> rungs;        ///< simplest first
  /// The forward op whose gradient this one computes, or null. Its operands are named after that op's: "dy" is the
  /// gradient of the output "y", an output "dx" that of the input "x", "other_dx" a part of dx, which is to be added.
  const char* gradient_of = nullptr;
  /// Picks a rung for a call, by its index: the launcher's choice. `capability` is 0 on simt. null: the last rung that
  /// can.
  int (*choose)(const Problem&, int capability) = nullptr;
  /// True where small integers in give the reference's result exactly, rounded once to the output's type: sums,
  /// products and copies. The tests then run every rung a second time on integers and demand equality.
  bool exact_on_integers = false;
};

/// What of `op` can run this call on a device of this capability: the rung's index by `choose`, or -1 where none can.
/// On simt (capability 0) every rung runs, Hopper's included.
int pick_rung(const Op& op, const Problem& problem, int capability);

/// True where `rung` can run `problem` on a device of `capability` (0: simt, which emulates everything).
bool can_run(const Rung& rung, const Problem& problem, int capability);

/// "M=64 N=3 K=128" from an op's extents; scalars that are not 0 follow.
const char* describe(const Op& op, const Problem& problem, char* buffer, int size);

}  // namespace weft
