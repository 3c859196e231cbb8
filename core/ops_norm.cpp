// Batch norm with the batch's statistics (train) or the running ones (eval), over all axes but the channels; a residual
// is added and a ReLU applied in the same node where it has them. And what a convolution's epilogue needs to do the
// latter's work itself (fold).

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"

namespace weft::ops {
namespace {

/// Positions of a forward node's inputs: kernels/ops.h.
enum Input { kX, kWeight, kBias, kResidual, kMean, kVar, kInputs };

void check_operands(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, kInputs, kInputs);
  const Shape& x = inputs[kX].shape;
  if (x.rank() < 2) reject(node, "wants x (..., C), got " + to_string(x));
  constexpr const char* kNames[] = {"", "weight", "bias", "", "running_mean", "running_var"};
  for (const std::size_t i : {kWeight, kBias, kMean, kVar})
    want_shape(node, inputs[i], {x[-1]}, kNames[i], "one for each channel of x " + to_string(x));
  if (node.inputs[kResidual]) want_same_shape(node, inputs[kX], inputs[kResidual], "x and residual");
}

std::vector<Value> infer_train(const Node& node, std::span<const Value> inputs) {
  check_operands(node, inputs);
  const Shape& x = inputs[kX].shape;
  if (x.elements() / x[-1] < 2)
    reject(node, fmt::format("wants at least two values for each channel to take statistics of, got x {}: a larger "
                             "batch, or running statistics",
                             to_string(x)));
  return {made(x, inputs[kX].dtype), made({x[-1]}, DType::f32, "save_mean"), made({x[-1]}, DType::f32, "save_invstd")};
}

/// The same with the batch's mean and variance as further inputs, as conv2d_statistics finds them.
std::vector<Value> infer_gathered(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, kInputs + 2, kInputs + 2);
  const Shape& x = inputs[kX].shape;
  for (const std::size_t i : {std::size_t{kInputs}, std::size_t{kInputs} + 1})
    want_shape(node, inputs[i], {x[-1]}, i == kInputs ? "mean" : "var", "one for each channel of x " + to_string(x));
  Node train = node;
  train.inputs.resize(kInputs);
  return infer_train(train, inputs.first(kInputs));
}

std::vector<Value> infer_eval(const Node& node, std::span<const Value> inputs) {
  check_operands(node, inputs);
  return {made(inputs[kX].shape, inputs[kX].dtype)};
}

/// dy, x, y (where there is a ReLU), weight and two statistics -> dx, dweight, dbias, and dresidual where has_residual.
std::vector<Value> infer_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 6, 6);
  want_same_shape(node, inputs[0], inputs[1], "dy and x");
  if (has_relu(node) != static_cast<bool>(node.inputs[2]))
    reject(node, "wants y where its attribute relu is 1, and nowhere else: the mask is made of it");
  const Shape& x = inputs[1].shape;
  std::vector<Value> outputs = {made(x, inputs[1].dtype), made({x[-1]}, DType::f32, "dweight"),
                                made({x[-1]}, DType::f32, "dbias")};
  if (node.attributes.has("has_residual") && node.attributes.integer("has_residual") != 0)
    outputs.push_back(made(x, inputs[1].dtype, "dresidual"));
  return outputs;
}

/// `mean` and `spread`: what the backward op `op` takes for statistics.
std::vector<ValueId> differentiate(Graph& graph, const Node& node, const char* op, ValueId dy, ValueId mean,
                                   ValueId spread, bool wants_residual) {
  Attributes attributes = node.attributes;
  attributes.set("has_residual", std::int64_t{wants_residual});
  const ValueId y = has_relu(node) ? node.outputs[0] : ValueId{};
  const NodeId backward =
      graph.add(node.name, definition(op), {dy, node.inputs[kX], y, node.inputs[kWeight], mean, spread}, attributes);
  const std::vector<ValueId>& gradients = graph.node(backward).outputs;
  return {gradients[0], gradients[1], gradients[2], wants_residual ? gradients[3] : ValueId{}, {}, {}};
}

std::vector<ValueId> differentiate_train(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                         std::span<const bool> wanted) {
  const Node node = graph.node(id);
  return differentiate(graph, node, "batch_norm_train_backward", dys[0], node.outputs[1], node.outputs[2],
                       wanted[kResidual]);
}

std::vector<ValueId> differentiate_eval(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                        std::span<const bool> wanted) {
  const Node node = graph.node(id);
  return differentiate(graph, node, "batch_norm_eval_backward", dys[0], node.inputs[kMean], node.inputs[kVar],
                       wanted[kResidual]);
}

/// weight, bias, [conv_bias], running_mean, running_var -> scale, shift.
std::vector<Value> infer_fold(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 5, 5);
  constexpr const char* kNames[] = {"weight", "bias", "conv_bias", "running_mean", "running_var"};
  for (std::size_t i = 0; i < 5; ++i)
    if (node.inputs[i]) want_shape(node, inputs[i], inputs[0].shape, kNames[i], "as weight has");
  return {made(inputs[0].shape, DType::f32, "scale"), made(inputs[0].shape, DType::f32, "shift")};
}

}  // namespace

void define_norm(Definitions& definitions) {
  define(definitions, "batch_norm_train", infer_train, differentiate_train, {kMean, kVar});
  define(definitions, "batch_norm_train_gathered", infer_gathered, {}, {kMean, kVar});
  define(definitions, "batch_norm_train_backward", infer_backward);
  define(definitions, "batch_norm_eval", infer_eval, differentiate_eval);
  define(definitions, "batch_norm_eval_backward", infer_backward);
  define(definitions, "batch_norm_fold", infer_fold);
}

ValueId batch_norm(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias, ValueId running_mean,
                   ValueId running_var, double eps, double momentum, ValueId residual, bool relu, double ceiling) {
  Attributes attributes = {{"eps", eps}, {"momentum", momentum}, {"relu", std::int64_t{relu}}};
  if (ceiling != 0) attributes.set("ceiling", ceiling);
  return graph.apply(name, definition("batch_norm_train"), {x, weight, bias, residual, running_mean, running_var},
                     std::move(attributes));
}

ValueId batch_norm_eval(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias,
                        ValueId running_mean, ValueId running_var, double eps, ValueId residual, bool relu,
                        double ceiling) {
  Attributes attributes = {{"eps", eps}, {"relu", std::int64_t{relu}}};
  if (ceiling != 0) attributes.set("ceiling", ceiling);
  return graph.apply(name, definition("batch_norm_eval"), {x, weight, bias, residual, running_mean, running_var},
                     std::move(attributes));
}

}  // namespace weft::ops
