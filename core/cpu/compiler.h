#pragma once
// From a graph to a Program: every group of nodes (fusion.h) is lowered to oneDNN primitives by the function for its
// op.

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/cpu/fusion.h"
#include "core/cpu/layout.h"
#include "core/cpu/plan.h"
#include "core/device.h"
#include "core/problem.h"

namespace weft::cpu {

/// The library's handles and how many threads compute.
struct Runtime {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  mutable dnnl::stream stream{engine};
  int threads = 1;
  /// oneDNN takes its thread count from the calling thread's OpenMP settings: to be called before it is.
  void use_threads() const;
};

class Compiler {
 public:
  Compiler(Runtime& runtime, const Graph& graph, const CompileOptions& options);
  Program compile();

  // What the lowering functions work with.
  Runtime& runtime() { return runtime_; }
  const dnnl::engine& engine() const { return runtime_.engine; }
  const Graph& graph() const { return graph_; }
  const CompileOptions& options() const { return options_; }
  const Node& node(NodeId id) const { return graph_.node(id); }
  const Value& value(ValueId id) const { return graph_.value(id); }
  const Fusion& fusion() const { return fusion_; }
  Plan& plan() { return plan_; }

  /// Whether a value's layout is decided. Those of inputs, parameters and states are by their first reader.
  bool has_layout(ValueId id) const { return decided_[index(id)]; }
  const LayoutPtr& layout(ValueId id) const { return program_.storage[index(id)].layout; }
  /// Descriptor of a value as it is stored; of an undecided input, `otherwise`.
  onednn::desc stored(ValueId id, const onednn::desc& otherwise) const;
  void decide(ValueId id, LayoutPtr layout, std::size_t bytes);
  void decide(ValueId id, const onednn::desc& desc) { decide(id, layout_of(desc), desc.get_size()); }
  void alias(ValueId id, ValueId of);

  /// Somebody reads it after the graph has run.
  bool is_marked(ValueId id) const { return marked_.contains(id); }
  bool is_read(ValueId id) const { return last_use_[index(id)] >= 0 || is_marked(id); }
  /// The group at `position` is the last that needs it, so that the group may write `result` there: any but a
  /// parameter's gradient, which has a place of its own in the store.
  bool may_overwrite(ValueId id, ValueId result, int position) const;
  /// The parameter of which this is the gradient ("grad.<name>"), or ValueId{}.
  ValueId parameter_of_gradient(ValueId id) const;

  void add_step(Step step) { program_.steps.push_back(std::move(step)); }

 private:
  ValueId root_of(ValueId id) const;
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id.index); }
  void check_types() const;

  Runtime& runtime_;
  const Graph& graph_;
  CompileOptions options_;
  Fusion fusion_;
  Plan plan_;
  Program program_;
  std::vector<bool> decided_;
  std::vector<std::vector<ValueId>> sharers_;  // by root value: all that lie in its memory, itself not counted
  std::vector<int> last_use_;                  // by value: the last position that reads it; -1 none
  std::set<ValueId> marked_;
  std::unordered_map<int, ValueId> gradients_;  // value index -> parameter
};

/// Lowers one group to steps.
using Lowering = void (*)(Compiler&, const Group&);
/// The function for an op of the catalogue; null where there is none (a user's own op).
Lowering lowering_of(std::string_view op);

// One for each op, or for several alike; by file.
void lower_conv2d(Compiler&, const Group&);                    // convolution.cpp
void lower_conv2d_backward_data(Compiler&, const Group&);      //
void lower_conv2d_backward_filter(Compiler&, const Group&);    //
void lower_batch_norm(Compiler&, const Group&);                // batch_norm.cpp
void lower_batch_norm_backward(Compiler&, const Group&);       //
void lower_max_pool(Compiler&, const Group&);                  // pool.cpp
void lower_max_pool_backward(Compiler&, const Group&);         //
void lower_avg_pool(Compiler&, const Group&);                  //
void lower_avg_pool_backward(Compiler&, const Group&);         //
void lower_global_avg_pool(Compiler&, const Group&);           //
void lower_global_avg_pool_backward(Compiler&, const Group&);  //
void lower_relu(Compiler&, const Group&);                      // elementwise.cpp
void lower_relu_backward(Compiler&, const Group&);             //
void lower_add(Compiler&, const Group&);                       //
void lower_bias_add(Compiler&, const Group&);                  //
void lower_bias_backward(Compiler&, const Group&);             //
void lower_scale(Compiler&, const Group&);                     //
void lower_sum(Compiler&, const Group&);                       //
void lower_gemm(Compiler&, const Group&);                      // matrix.cpp
void lower_softmax(Compiler&, const Group&);                   // matrix.cpp: log_softmax too
void lower_softmax_backward(Compiler&, const Group&);          //
void lower_concat(Compiler&, const Group&);                    // shape_ops.cpp
void lower_concat_backward(Compiler&, const Group&);           //
void lower_reshape(Compiler&, const Group&);                   //
void lower_fill(Compiler&, const Group&);                      // host_ops.cpp
void lower_cast(Compiler&, const Group&);                      //
void lower_cross_entropy(Compiler&, const Group&);             //
void lower_cross_entropy_backward(Compiler&, const Group&);    //
void lower_cross_entropy_soft(Compiler&, const Group&);        // soft_targets.cpp
void lower_cross_entropy_soft_backward(Compiler&, const Group&);
void lower_binary_cross_entropy(Compiler&, const Group&);
void lower_binary_cross_entropy_backward(Compiler&, const Group&);
void lower_dropout(Compiler&, const Group&);  // host_ops.cpp: both directions
void lower_user_op(Compiler&, const Group&);  //

}  // namespace weft::cpu
