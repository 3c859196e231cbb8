// bfloat16 for what travels, float32 for what is kept: see in_bfloat16() in passes.h.

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "core/ops.h"
#include "core/passes.h"
#include "core/rewriter.h"

namespace weft {
namespace {

/// Ops that compute in float32 from bfloat16 and round once, at their end. Losses, softmax and a user's own ops are not
/// among them: theirs are small tensors, of whose sums every digit counts.
bool is_rounded(std::string_view op) {
  static constexpr std::array<std::string_view, 14> kRounded = {
      "conv2d",   "gemm",     "bias_add",        "batch_norm_train", "batch_norm_eval", "relu",    "add",
      "max_pool", "avg_pool", "global_avg_pool", "concat",           "dropout",         "reshape", "scale"};
  for (const std::string_view rounded : kRounded)
    if (rounded == op) return true;
  return false;
}

/// Batch norm's weight, bias and running statistics, (C) each, are float32 whatever x is.
bool stays_float32(std::string_view op, std::size_t input) {
  constexpr std::size_t kX = 0, kResidual = 3;
  return op.starts_with("batch_norm") && input != kX && input != kResidual;
}

class Rounder {
 public:
  explicit Rounder(const Graph& graph)
      : graph_(graph), rewriter_(graph), others_(static_cast<std::size_t>(graph.value_count())) {}

  Graph run() {
    rewriter_.walk([&](ValueId leaf) { rewriter_.copy_leaf(leaf, graph_.value(leaf).shape); },
                   [&](NodeId id) { rewrite(graph_.node(id)); });
    for (const auto& [name, value] : graph_.outputs())
      if (graph_.producer(value))
        rewriter_.map(value, in_type(value, graph_.value(value).dtype, graph_.node(graph_.producer(value)).name));
    return rewriter_.finish(graph_.outputs());
  }

 private:
  void rewrite(const Node& node) {
    const std::string_view op = node.definition->name;
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (!input || graph_.value(input).dtype != DType::f32) {
        inputs.push_back(rewriter_[input]);
        continue;
      }
      const bool rounds = is_rounded(op) && !stays_float32(op, i);
      inputs.push_back(in_type(input, rounds ? DType::bf16 : DType::f32, node.name));
    }
    Graph& to = rewriter_.graph();
    to.set_pass(node.pass);
    const NodeId id = to.add(node.name, node.definition, std::move(inputs), node.attributes);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) rewriter_.map(node.outputs[i], to.node(id).outputs[i]);
  }

  /// What stands for an old value, in this type: a cast, made once for all who read it so, and named after the first.
  ValueId in_type(ValueId old, DType type, const std::string& reader) {
    const ValueId now = rewriter_[old];
    Graph& to = rewriter_.graph();
    if (to.value(now).dtype == type) return now;
    ValueId& other = others_[static_cast<std::size_t>(old.index)];
    if (!other) other = ops::cast(to, reader, now, type);
    return other;
  }

  const Graph& graph_;
  Rewriter rewriter_;
  std::vector<ValueId> others_;  // by old value: the new one in the other of the two types, where there is one
};

}  // namespace

Graph in_bfloat16(const Graph& graph) {
  return Rounder(graph).run();
}

}  // namespace weft
