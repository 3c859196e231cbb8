// softmax, log_softmax and the losses, and their gradients.

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"

namespace weft::ops {
namespace {

std::vector<Value> infer_rows(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  if (inputs[0].shape.rank() < 1) reject(node, "wants x (..., C), got " + to_string(inputs[0].shape));
  return {made(inputs[0].shape, inputs[0].dtype)};
}

/// Both softmaxes need y alone: dx from dy, y.
Differentiate through_output(const char* backward) {
  return
      [backward](Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) -> std::vector<ValueId> {
        const Node node = graph.node(id);
        return {graph.apply(node.name, definition(backward), {dys[0], node.outputs[0]})};
      };
}

void check_labels(const Node& node, const Value& logits, const Value& labels) {
  want_rank(node, logits, 2, "logits (N, C)");
  if (labels.dtype != DType::i32) reject(node, fmt::format("wants int32 labels, got {}", name_of(labels.dtype)));
  want_shape(node, labels, {logits.shape[0]}, "labels", "one for each row of logits " + to_string(logits.shape));
}

std::vector<Value> infer_cross_entropy(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  check_labels(node, inputs[0], inputs[1]);
  return {made({1}, DType::f32), made({inputs[0].shape[0]}, DType::f32, "lse")};
}

std::vector<Value> infer_cross_entropy_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 4, 4);
  want_shape(node, inputs[0], {1}, "dloss", "as the loss is one number");
  check_labels(node, inputs[1], inputs[2]);
  return {made(inputs[1].shape, inputs[1].dtype)};
}

/// dloss, logits, labels -> loss, dlogits.
std::vector<Value> infer_cross_entropy_forward_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 3, 3);
  want_shape(node, inputs[0], {1}, "dloss", "as the loss is one number");
  check_labels(node, inputs[1], inputs[2]);
  return {made({1}, DType::f32), made(inputs[1].shape, inputs[1].dtype, "dlogits")};
}

std::vector<ValueId> differentiate_cross_entropy(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                                 std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("cross_entropy_backward"),
                      {dys[0], node.inputs[0], node.inputs[1], node.outputs[1]}),
          {}};
}

void check_targets(const Node& node, const Value& logits, const Value& targets) {
  if (targets.dtype != DType::f32) reject(node, fmt::format("wants float32 targets, got {}", name_of(targets.dtype)));
  want_shape(node, targets, logits.shape, "targets", "one for each logit");
}

std::vector<Value> infer_cross_entropy_soft(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  want_rank(node, inputs[0], 2, "logits (N, C)");
  check_targets(node, inputs[0], inputs[1]);
  return {made({1}, DType::f32), made({inputs[0].shape[0]}, DType::f32, "lse")};
}

std::vector<Value> infer_binary_cross_entropy(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  check_targets(node, inputs[0], inputs[1]);
  return {made({1}, DType::f32)};
}

/// Of both: dloss, logits and targets come first.
std::vector<Value> infer_backward_to_logits(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 3, 4);
  want_shape(node, inputs[0], {1}, "dloss", "as the loss is one number");
  check_targets(node, inputs[1], inputs[2]);
  return {made(inputs[1].shape, inputs[1].dtype)};
}

std::vector<ValueId> differentiate_cross_entropy_soft(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                                      std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("cross_entropy_soft_backward"),
                      {dys[0], node.inputs[0], node.inputs[1], node.outputs[1]}),
          {}};
}

std::vector<ValueId> differentiate_binary_cross_entropy(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                                        std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("binary_cross_entropy_backward"), {dys[0], node.inputs[0], node.inputs[1]}),
          {}};
}

}  // namespace

void define_loss(Definitions& definitions) {
  define(definitions, "softmax", infer_rows, through_output("softmax_backward"));
  define(definitions, "softmax_backward", like_input(1));
  define(definitions, "log_softmax", infer_rows, through_output("log_softmax_backward"));
  define(definitions, "log_softmax_backward", like_input(1));
  define(definitions, "cross_entropy", infer_cross_entropy, differentiate_cross_entropy);
  define(definitions, "cross_entropy_backward", infer_cross_entropy_backward);
  define(definitions, "cross_entropy_forward_backward", infer_cross_entropy_forward_backward);
  define(definitions, "cross_entropy_soft", infer_cross_entropy_soft, differentiate_cross_entropy_soft);
  define(definitions, "cross_entropy_soft_backward", infer_backward_to_logits);
  define(definitions, "binary_cross_entropy", infer_binary_cross_entropy, differentiate_binary_cross_entropy);
  define(definitions, "binary_cross_entropy_backward", infer_backward_to_logits);
}

ValueId softmax(Graph& graph, const std::string& name, ValueId x) {
  return graph.apply(name, definition("softmax"), {x});
}

ValueId log_softmax(Graph& graph, const std::string& name, ValueId x) {
  return graph.apply(name, definition("log_softmax"), {x});
}

ValueId cross_entropy(Graph& graph, const std::string& name, ValueId logits, ValueId labels) {
  return graph.apply(name, definition("cross_entropy"), {logits, labels});
}

ValueId cross_entropy_soft(Graph& graph, const std::string& name, ValueId logits, ValueId targets) {
  return graph.apply(name, definition("cross_entropy_soft"), {logits, targets});
}

ValueId binary_cross_entropy(Graph& graph, const std::string& name, ValueId logits, ValueId targets) {
  return graph.apply(name, definition("binary_cross_entropy"), {logits, targets});
}

}  // namespace weft::ops
