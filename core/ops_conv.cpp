// conv2d: y (N, P, Q, K) = relu?(x (N, H, W, C) * weight (K, R, S, C / groups) [* scale (K)] [+ bias (K)] [+ residual
// (N, P, Q, K)]), and its two gradients. A model's own nodes have a bias at most; scale, residual and relu are what a
// pass folds into them once the gradients are there.

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"

namespace weft::ops {
namespace {

using Extents = std::vector<std::int64_t>;

/// conv2d's inputs by position; scale, bias and residual are optional.
enum : std::size_t { kX, kWeight, kScale, kBias, kResidual, kInputs };

bool present(const Node& node, std::size_t input) {
  return input < node.inputs.size() && node.inputs[input];
}

/// Positions of a dilated filter of `window` taps over a padded axis.
std::int64_t positions(std::int64_t extent, std::int64_t window, std::int64_t stride, std::int64_t padding,
                       std::int64_t dilation) {
  const std::int64_t room = extent + 2 * padding - dilation * (window - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

void check_options(const Node& node) {
  for (const char* option : {"stride", "dilation", "padding"}) {
    const Extents& values = node.attributes.integers(option);
    const std::int64_t least = std::string_view(option) == "padding" ? 0 : 1;
    if (values.size() != 2 || values[0] < least || values[1] < least)
      reject(node, fmt::format("wants two {} values of at least {}", option, least));
  }
}

std::vector<Value> infer_conv2d(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, kInputs);
  want_rank(node, inputs[kX], 4, "x (N, H, W, C)");
  want_rank(node, inputs[kWeight], 4, "a weight (K, R, S, C / groups)");
  check_options(node);
  const Shape &x = inputs[kX].shape, &weight = inputs[kWeight].shape;
  const std::int64_t groups = node.attributes.integer("groups");
  if (groups < 1 || weight[0] % groups != 0)
    reject(node, fmt::format("has {} groups, which do not divide the {} filters of its weight {}", groups, weight[0],
                             to_string(weight)));
  if (x[3] != weight[3] * groups)
    reject(node, fmt::format("wants {} channels as its weight {} has{}, got x {}", weight[3] * groups,
                             to_string(weight), groups > 1 ? fmt::format(" in {} groups", groups) : "", to_string(x)));
  for (const std::size_t vector : {kScale, kBias})
    if (present(node, vector))
      want_shape(node, inputs[vector], {weight[0]}, vector == kScale ? "scale" : "bias",
                 "one for each filter of weight " + to_string(weight));
  const Extents &stride = node.attributes.integers("stride"), &padding = node.attributes.integers("padding"),
                &dilation = node.attributes.integers("dilation");
  const std::int64_t p = positions(x[1], weight[1], stride[0], padding[0], dilation[0]);
  const std::int64_t q = positions(x[2], weight[2], stride[1], padding[1], dilation[1]);
  if (p < 1 || q < 1)
    reject(node, fmt::format("finds no place for its weight {} in x {} with padding ({}, {}) and dilation ({}, {})",
                             to_string(weight), to_string(x), padding[0], padding[1], dilation[0], dilation[1]));
  if (present(node, kResidual)) want_shape(node, inputs[kResidual], {x[0], p, q, weight[0]}, "residual", "as y has");
  return {made({x[0], p, q, weight[0]}, inputs[0].dtype)};
}

/// x, weight -> y, and the mean and variance of its channels, for a batch norm behind it.
std::vector<Value> infer_statistics(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  std::vector<Value> outputs = infer_conv2d(node, inputs);
  const Shape channels = {outputs[0].shape[-1]};
  outputs.push_back(made(channels, DType::f32, "mean"));
  outputs.push_back(made(channels, DType::f32, "var"));
  return outputs;
}

/// dy, weight, [other_dx] -> dx. The stride makes several H and W lead to one P and Q, so they are attributes.
std::vector<Value> infer_backward_data(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 3);
  want_rank(node, inputs[0], 4, "dy (N, P, Q, K)");
  want_rank(node, inputs[1], 4, "a weight (K, R, S, C / groups)");
  const Extents& picture = node.attributes.integers("picture");
  const std::int64_t channels = inputs[1].shape[3] * node.attributes.integer("groups");
  const Shape x = {inputs[0].shape[0], picture[0], picture[1], channels};
  if (present(node, 2)) want_shape(node, inputs[2], x, "other_dx", "as x has");
  return {made(x, inputs[0].dtype)};
}

/// x, dy -> dweight. Here it is R and S that several lead to one P and Q.
std::vector<Value> infer_backward_filter(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  want_rank(node, inputs[0], 4, "x (N, H, W, C)");
  want_rank(node, inputs[1], 4, "dy (N, P, Q, K)");
  const Extents& window = node.attributes.integers("window");
  const std::int64_t channels = inputs[0].shape[3] / node.attributes.integer("groups");
  return {made({inputs[1].shape[3], window[0], window[1], channels}, inputs[0].dtype)};
}

std::vector<ValueId> differentiate_conv2d(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                          std::span<const bool> wanted) {
  const Node node = graph.node(id);
  if (present(node, kScale) || present(node, kResidual) || node.attributes.has("relu"))
    reject(node, "has an epilogue folded into it, and no gradient: fold after differentiating");
  const ValueId x = node.inputs[kX], weight = node.inputs[kWeight], dy = dys[0];
  std::vector<ValueId> gradients(node.inputs.size());
  if (wanted[0]) {
    Attributes attributes = node.attributes;
    attributes.set("picture", Extents{graph.value(x).shape[1], graph.value(x).shape[2]});
    gradients[0] = graph.apply(node.name, definition("conv2d_backward_data"), {dy, weight}, std::move(attributes));
  }
  if (wanted[1]) {
    Attributes attributes = node.attributes;
    attributes.set("window", Extents{graph.value(weight).shape[1], graph.value(weight).shape[2]});
    gradients[1] = graph.apply(node.name, definition("conv2d_backward_filter"), {x, dy}, std::move(attributes));
  }
  if (present(node, kBias) && wanted[kBias])
    gradients[kBias] = graph.apply(node.name, definition("bias_backward"), {dy});
  return gradients;
}

}  // namespace

void define_conv(Definitions& definitions) {
  define(definitions, "conv2d", infer_conv2d, differentiate_conv2d);
  define(definitions, "conv2d_statistics", infer_statistics);
  define(definitions, "conv2d_backward_data", infer_backward_data);
  define(definitions, "conv2d_backward_filter", infer_backward_filter);
}

ValueId conv2d(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias,
               const Conv2dOptions& options) {
  const std::vector<ValueId> inputs =
      bias ? std::vector<ValueId>{x, weight, {}, bias} : std::vector<ValueId>{x, weight};
  return graph.apply(name, definition("conv2d"), inputs,
                     {{"stride", Extents{options.stride[0], options.stride[1]}},
                      {"padding", Extents{options.padding[0], options.padding[1]}},
                      {"dilation", Extents{options.dilation[0], options.dilation[1]}},
                      {"groups", options.groups}});
}

}  // namespace weft::ops
