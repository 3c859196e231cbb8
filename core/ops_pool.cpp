// max_pool and avg_pool over windows, global_avg_pool over the whole picture, and their gradients.

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"

namespace weft::ops {
namespace {

using Extents = std::vector<std::int64_t>;

/// Windows along an axis, as torch counts them: with ceil_mode the last one may hang over the end, but starts inside
/// the picture or its leading padding.
std::int64_t windows(std::int64_t extent, std::int64_t window, std::int64_t stride, std::int64_t padding, bool ceil) {
  const std::int64_t room = extent + 2 * padding - window;
  if (room < 0) return 0;
  std::int64_t count = (room + (ceil ? stride - 1 : 0)) / stride + 1;
  if (ceil && (count - 1) * stride >= extent + padding) --count;
  return count;
}

Shape infer_windows(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  want_rank(node, inputs[0], 4, "x (N, H, W, C)");
  const Shape& x = inputs[0].shape;
  const Extents &window = node.attributes.integers("window"), &stride = node.attributes.integers("stride"),
                &padding = node.attributes.integers("padding");
  const bool ceil = node.attributes.integer("ceil_mode") != 0;
  Shape y = x;
  for (int axis = 0; axis < 2; ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    if (window[at] < 1 || stride[at] < 1) reject(node, "wants a window and a stride of at least 1");
    // A wider border would let a window see nothing but padding.
    if (padding[at] < 0 || 2 * padding[at] > window[at])
      reject(node, fmt::format("wants padding of at most half its window, got padding {} and window {}", padding[at],
                               window[at]));
    const std::int64_t count = windows(x[1 + axis], window[at], stride[at], padding[at], ceil);
    if (count < 1)
      reject(node, fmt::format("finds no place for its window ({}, {}) in x {}", window[0], window[1], to_string(x)));
    y.set(1 + axis, count);
  }
  return y;
}

std::vector<Value> infer_max_pool(const Node& node, std::span<const Value> inputs) {
  const Shape y = infer_windows(node, inputs);
  return {made(y, inputs[0].dtype), made(y, DType::i32, "index")};
}

std::vector<Value> infer_avg_pool(const Node& node, std::span<const Value> inputs) {
  return {made(infer_windows(node, inputs), inputs[0].dtype)};
}

/// dy first; H and W are attributes, for several lead to one P and Q.
std::vector<Value> infer_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 2);
  want_rank(node, inputs[0], 4, "dy (N, P, Q, C)");
  const Extents& picture = node.attributes.integers("picture");
  return {made({inputs[0].shape[0], picture[0], picture[1], inputs[0].shape[3]}, inputs[0].dtype)};
}

Attributes with_picture(const Graph& graph, const Node& node) {
  Attributes attributes = node.attributes;
  const Shape& x = graph.value(node.inputs[0]).shape;
  attributes.set("picture", Extents{x[1], x[2]});
  return attributes;
}

std::vector<ValueId> differentiate_max_pool(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                            std::span<const bool>) {
  const Node node = graph.node(id);
  return {
      graph.apply(node.name, definition("max_pool_backward"), {dys[0], node.outputs[1]}, with_picture(graph, node))};
}

std::vector<ValueId> differentiate_avg_pool(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                            std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("avg_pool_backward"), {dys[0]}, with_picture(graph, node))};
}

std::vector<Value> infer_global_avg_pool(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  want_rank(node, inputs[0], 4, "x (N, H, W, C)");
  return {made({inputs[0].shape[0], inputs[0].shape[3]}, inputs[0].dtype)};
}

std::vector<Value> infer_global_avg_pool_backward(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 1);
  want_rank(node, inputs[0], 2, "dy (N, C)");
  const Extents& picture = node.attributes.integers("picture");
  return {made({inputs[0].shape[0], picture[0], picture[1], inputs[0].shape[1]}, inputs[0].dtype)};
}

std::vector<ValueId> differentiate_global_avg_pool(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                                   std::span<const bool>) {
  const Node node = graph.node(id);
  return {graph.apply(node.name, definition("global_avg_pool_backward"), {dys[0]}, with_picture(graph, node))};
}

ValueId windowed(Graph& graph, const std::string& name, const char* op, ValueId x, const PoolOptions& options) {
  return graph.apply(name, definition(op), {x},
                     {{"window", Extents{options.window[0], options.window[1]}},
                      {"stride", Extents{options.stride[0], options.stride[1]}},
                      {"padding", Extents{options.padding[0], options.padding[1]}},
                      {"ceil_mode", std::int64_t{options.ceil_mode}}});
}

}  // namespace

void define_pool(Definitions& definitions) {
  define(definitions, "max_pool", infer_max_pool, differentiate_max_pool);
  define(definitions, "max_pool_backward", infer_backward);
  define(definitions, "avg_pool", infer_avg_pool, differentiate_avg_pool);
  define(definitions, "avg_pool_backward", infer_backward);
  define(definitions, "global_avg_pool", infer_global_avg_pool, differentiate_global_avg_pool);
  define(definitions, "global_avg_pool_backward", infer_global_avg_pool_backward);
}

ValueId max_pool(Graph& graph, const std::string& name, ValueId x, const PoolOptions& options) {
  return windowed(graph, name, "max_pool", x, options);
}

ValueId avg_pool(Graph& graph, const std::string& name, ValueId x, const PoolOptions& options) {
  return windowed(graph, name, "avg_pool", x, options);
}

ValueId global_avg_pool(Graph& graph, const std::string& name, ValueId x) {
  return graph.apply(name, definition("global_avg_pool"), {x});
}

}  // namespace weft::ops
