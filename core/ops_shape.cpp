// concat, reshape and sum: what changes a value's shape, and their gradients.

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"
#include "kernels/ops.h"

namespace weft::ops {
namespace {

using Ids = std::vector<ValueId>;

std::vector<Value> infer_concat(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, extents::Concat::kMaxInputs);
  Shape y = inputs[0].shape;
  if (y.rank() < 1) reject(node, "wants inputs (..., C), got " + to_string(y));
  std::int64_t channels = 0;
  for (const Value& input : inputs) {
    Shape other = input.shape;
    if (other.rank() == y.rank()) other.set(-1, y[-1]);
    if (other != y)
      reject(node, fmt::format("wants inputs that differ in channels alone, got {} and {}", to_string(inputs[0].shape),
                               to_string(input.shape)));
    channels += input.shape[-1];
  }
  y.set(-1, channels);
  return {made(y, inputs[0].dtype)};
}

std::vector<Value> infer_concat_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  std::vector<Value> parts;
  for (const std::int64_t channels : node.attributes.integers("channels")) {
    Shape part = inputs[0].shape;
    part.set(-1, channels);
    parts.push_back(made(part, inputs[0].dtype, fmt::format("dx{}", parts.size())));
  }
  return parts;
}

Ids differentiate_concat(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  std::vector<std::int64_t> channels;
  for (const ValueId input : node.inputs) channels.push_back(graph.value(input).shape[-1]);
  return graph.node(graph.add(node.name, definition("concat_backward"), {dys[0]}, {{"channels", channels}})).outputs;
}

std::vector<Value> infer_reshape(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  const Shape shape(node.attributes.integers("shape"));
  if (shape.elements() != inputs[0].shape.elements())
    reject(node, fmt::format("cannot make {} of x {}: {} elements against {}", to_string(shape),
                             to_string(inputs[0].shape), shape.elements(), inputs[0].shape.elements()));
  return {made(shape, inputs[0].dtype)};
}

Ids differentiate_reshape(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  return {reshape(graph, node.name, dys[0], graph.value(node.inputs[0]).shape)};
}

std::vector<Value> infer_sum(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  return {made({1}, inputs[0].dtype)};
}

/// Every element gets dy: zeros (n, 1) plus the bias dy (1).
Ids differentiate_sum(Graph& graph, NodeId id, std::span<const ValueId> dys, std::span<const bool>) {
  const Node node = graph.node(id);
  const Shape x = graph.value(node.inputs[0]).shape;
  const ValueId zeros =
      graph.apply(node.name, definition("fill"), {},
                  {{"shape", Shape({x.elements(), 1}).extents()}, {"value", 0.0}, {"follows_batch", std::int64_t{1}}});
  return {reshape(graph, node.name, bias_add(graph, node.name, zeros, dys[0]), x)};
}

}  // namespace

void define_shape(Definitions& definitions) {
  define(definitions, "concat", infer_concat, differentiate_concat);
  define(definitions, "concat_backward", infer_concat_backward);
  define(definitions, "reshape", infer_reshape, differentiate_reshape);
  define(definitions, "sum", infer_sum, differentiate_sum);
}

ValueId concat(Graph& graph, const std::string& name, const std::vector<ValueId>& xs) {
  return graph.apply(name, definition("concat"), xs);
}

ValueId reshape(Graph& graph, const std::string& name, ValueId x, Shape shape) {
  return graph.apply(name, definition("reshape"), {x}, {{"shape", shape.extents()}});
}

ValueId sum(Graph& graph, const std::string& name, ValueId x) {
  return graph.apply(name, definition("sum"), {x});
}

}  // namespace weft::ops
