// Batch norm with the batch's statistics (train) or the running ones (eval), over all axes but the channels.

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"

namespace weft::ops {
namespace {

void check_operands(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 5, 5);
  if (inputs[0].shape.rank() < 2) reject(node, "wants x (..., C), got " + to_string(inputs[0].shape));
  constexpr const char* kNames[] = {"", "weight", "bias", "running_mean", "running_var"};
  const Shape& x = inputs[0].shape;
  for (std::size_t i = 1; i < 5; ++i)
    want_shape(node, inputs[i], {x[-1]}, kNames[i], "one for each channel of x " + to_string(x));
}

std::vector<Value> infer_train(const Node& node, std::span<const Value> inputs) {
  check_operands(node, inputs);
  const Shape& x = inputs[0].shape;
  if (x.elements() / x[-1] < 2)
    reject(node, fmt::format("wants at least two values for each channel to take statistics of, got x {}: a larger "
                             "batch, or running statistics",
                             to_string(x)));
  return {made(x, inputs[0].dtype), made({x[-1]}, DType::f32, "save_mean"), made({x[-1]}, DType::f32, "save_invstd")};
}

std::vector<Value> infer_eval(const Node& node, std::span<const Value> inputs) {
  check_operands(node, inputs);
  return {made(inputs[0].shape, inputs[0].dtype)};
}

/// dy, x, weight and two statistics -> dx, dweight, dbias.
std::vector<Value> infer_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 5, 5);
  want_same_shape(node, inputs[0], inputs[1], "dy and x");
  const Shape& x = inputs[1].shape;
  return {made(x, inputs[1].dtype), made({x[-1]}, DType::f32, "dweight"), made({x[-1]}, DType::f32, "dbias")};
}

std::vector<ValueId> differentiate_train(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  const NodeId backward =
      graph.add(node.name, definition("batch_norm_train_backward"),
                {dys[0], node.inputs[0], node.inputs[1], node.outputs[1], node.outputs[2]}, node.attributes);
  const std::vector<ValueId>& gradients = graph.node(backward).outputs;
  return {gradients[0], gradients[1], gradients[2], {}, {}};
}

std::vector<ValueId> differentiate_eval(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  const NodeId backward =
      graph.add(node.name, definition("batch_norm_eval_backward"),
                {dys[0], node.inputs[0], node.inputs[1], node.inputs[3], node.inputs[4]}, node.attributes);
  const std::vector<ValueId>& gradients = graph.node(backward).outputs;
  return {gradients[0], gradients[1], gradients[2], {}, {}};
}

}  // namespace

void define_norm(Definitions& definitions) {
  define(definitions, "batch_norm_train", infer_train, differentiate_train, {3, 4});
  define(definitions, "batch_norm_train_backward", infer_backward);
  define(definitions, "batch_norm_eval", infer_eval, differentiate_eval);
  define(definitions, "batch_norm_eval_backward", infer_backward);
}

ValueId batch_norm(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias, ValueId running_mean,
                   ValueId running_var, double eps, double momentum) {
  return graph.apply(name, definition("batch_norm_train"), {x, weight, bias, running_mean, running_var},
                     {{"eps", eps}, {"momentum", momentum}});
}

ValueId batch_norm_eval(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias,
                        ValueId running_mean, ValueId running_var, double eps) {
  return graph.apply(name, definition("batch_norm_eval"), {x, weight, bias, running_mean, running_var}, {{"eps", eps}});
}

}  // namespace weft::ops
