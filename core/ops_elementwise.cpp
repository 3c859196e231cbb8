// bias_add, relu, add, dropout, scale, fill, cast, and their gradients.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/op_definitions.h"
#include "core/ops.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace weft::ops {
namespace {

using Ids = std::vector<ValueId>;

std::vector<Value> infer_bias_add(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  if (inputs[0].shape.rank() < 1) reject(node, "wants x (..., C), got " + to_string(inputs[0].shape));
  want_shape(node, inputs[1], {inputs[0].shape[-1]}, "bias", "one for each channel of x " + to_string(inputs[0].shape));
  return {made(inputs[0].shape, inputs[0].dtype)};
}

std::vector<Value> infer_bias_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  return {made({inputs[0].shape[-1]}, inputs[0].dtype)};
}

/// dy, y -> dx, dbias.
std::vector<Value> infer_relu_bias_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  want_same_shape(node, inputs[0], inputs[1], "dy and y");
  return {made(inputs[0].shape, inputs[0].dtype), made({inputs[0].shape[-1]}, inputs[0].dtype, "dbias")};
}

std::vector<Value> infer_add(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  want_same_shape(node, inputs[0], inputs[1], "a and b");
  return {made(inputs[0].shape, inputs[0].dtype)};
}

std::vector<Value> infer_relu_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 2);
  want_same_shape(node, inputs[0], inputs[1], "dy and y");
  return {made(inputs[0].shape, inputs[0].dtype)};
}

std::vector<Value> infer_fill(const Node& node, std::span<const Value>) {
  want_inputs(node, 0, 0);
  return {made(Shape(node.attributes.integers("shape")), DType::f32)};
}

std::vector<Value> infer_cast(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  return {made(inputs[0].shape, static_cast<DType>(node.attributes.integer("to")))};
}

std::vector<Value> infer_dropout(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  const double p = node.attributes.real("p");
  if (!(p >= 0 && p < 1)) reject(node, fmt::format("wants a probability of at least 0 and below 1, got {}", p));
  return {made(inputs[0].shape, inputs[0].dtype)};
}

Ids differentiate_bias_add(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool> wanted) {
  const Node node = graph.node(id);
  Ids gradients = {dys[0], {}};
  if (wanted[1]) gradients[1] = graph.apply(node.name, definition("bias_backward"), {dys[0]});
  return gradients;
}

Ids differentiate_relu(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("relu_backward"), {dys[0], node.outputs[0]}, node.attributes)};
}

/// The gradient goes to both as it is.
Ids differentiate_add(Graph&, NodeId, std::span<const ValueId> dys, std::span<const bool>) {
  return {dys[0], dys[0]};
}

Ids differentiate_scale(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  return {scale(graph, node.name, dys[0], node.attributes.real("factor"))};
}

/// The same numbers are dropped, for the backward draws the same random bits.
Ids differentiate_dropout(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("dropout_backward"), {dys[0]}, node.attributes)};
}

Ids differentiate_cast(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  return {cast(graph, node.name, dys[0], graph.value(node.inputs[0]).dtype)};
}

}  // namespace

void define_elementwise(Definitions& definitions) {
  define(definitions, "bias_add", infer_bias_add, differentiate_bias_add);
  define(definitions, "bias_backward", infer_bias_backward);
  define(definitions, "relu_bias_backward", infer_relu_bias_backward);
  define(definitions, "relu", like_first, differentiate_relu);
  define(definitions, "relu_backward", infer_relu_backward);
  define(definitions, "add", infer_add, differentiate_add);
  define(definitions, "dropout", infer_dropout, differentiate_dropout);
  define(definitions, "dropout_backward", infer_dropout);
  define(definitions, "scale", like_first, differentiate_scale);
  define(definitions, "fill", infer_fill);
  define(definitions, "cast", infer_cast, differentiate_cast);
}

ValueId bias_add(Graph& graph, const std::string& name, ValueId x, ValueId bias) {
  return graph.apply(name, definition("bias_add"), {x, bias});
}

ValueId relu(Graph& graph, const std::string& name, ValueId x, double ceiling) {
  if (!(ceiling >= 0))
    fail(fmt::format("{}: relu's ceiling is above 0, or 0 where there is none, not {}", name, ceiling));
  Attributes attributes;
  if (ceiling > 0) attributes.set("ceiling", ceiling);
  return graph.apply(name, definition("relu"), {x}, std::move(attributes));
}

ValueId add(Graph& graph, const std::string& name, ValueId a, ValueId b) {
  return graph.apply(name, definition("add"), {a, b});
}

ValueId dropout(Graph& graph, const std::string& name, ValueId x, double p, std::uint64_t seed) {
  // The number comes from the name, so that another layer more does not move this one's random numbers; it must be
  // this node's own, and fit the half of Philox's subsequence that names the op.
  auto op = static_cast<std::int64_t>(subsequence_of(name.c_str()) & 0x7fffffffu);
  const auto taken = [&graph](std::int64_t number) {
    return std::any_of(graph.nodes().begin(), graph.nodes().end(), [number](const Node& node) {
      return node.definition->name == "dropout" && node.attributes.integer("op") == number;
    });
  };
  while (taken(op)) op = (op + 1) & 0x7fffffff;
  return graph.apply(name, definition("dropout"), {x},
                     {{"p", p}, {"seed", static_cast<std::int64_t>(seed)}, {"op", op}});
}

ValueId scale(Graph& graph, const std::string& name, ValueId x, double factor) {
  return graph.apply(name, definition("scale"), {x}, {{"factor", factor}});
}

ValueId fill(Graph& graph, const std::string& name, Shape shape, double value) {
  return graph.apply(name, definition("fill"), {},
                     {{"shape", shape.extents()}, {"value", value}, {"follows_batch", std::int64_t{0}}});
}

ValueId cast(Graph& graph, const std::string& name, ValueId x, DType to) {
  if (!is_float(to)) fail(name + ": cast converts between floating-point types, not to " + std::string(name_of(to)));
  return graph.apply(name, definition("cast"), {x}, {{"to", static_cast<std::int64_t>(to)}});
}

}  // namespace weft::ops
