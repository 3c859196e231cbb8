#include "nn/receptive_field.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace weft {
namespace {

using Axis = ReceptiveField::Axis;

Axis through_window(const Axis& axis, std::int64_t window, std::int64_t stride, std::int64_t padding,
                    std::int64_t dilation) {
  return {.size = axis.size + (window - 1) * dilation * axis.step,
          .step = axis.step * stride,
          .start = axis.start - padding * axis.step};
}

ReceptiveField through(const Graph& graph, const Node& node, const ReceptiveField& field) {
  const std::string& op = node.definition->name;
  const bool convolution = op == "conv2d";
  if (!convolution && op != "max_pool" && op != "avg_pool") return field;
  const auto& stride = node.attributes.integers("stride");
  const auto& padding = node.attributes.integers("padding");
  const Shape& weight = graph.value(node.inputs[convolution ? 1 : 0]).shape;
  const std::vector<std::int64_t> window =
      convolution ? std::vector<std::int64_t>{weight[1], weight[2]} : node.attributes.integers("window");
  const std::vector<std::int64_t> dilation =
      convolution ? node.attributes.integers("dilation") : std::vector<std::int64_t>{1, 1};
  return {through_window(field.rows, window[0], stride[0], padding[0], dilation[0]),
          through_window(field.columns, window[1], stride[1], padding[1], dilation[1])};
}

Axis together(const Node& node, const Axis& a, const Axis& b) {
  if (a.step != b.step)
    fail(fmt::format("{}: branches meet that step over {} and over {} pixels", node.name, a.step, b.step));
  const std::int64_t start = std::min(a.start, b.start);
  return {std::max(a.start + a.size, b.start + b.size) - start, a.step, start};
}

}  // namespace

Box ReceptiveField::box(std::int64_t row, std::int64_t column, int width, int height) const {
  const auto span = [](const Axis& axis, std::int64_t place, int pixels) {
    const std::int64_t from = std::clamp<std::int64_t>(axis.start + place * axis.step, 0, pixels - 1);
    const std::int64_t to = std::clamp<std::int64_t>(axis.start + place * axis.step + axis.size, from + 1, pixels);
    return std::pair{static_cast<int>(from), static_cast<int>(to - from)};
  };
  const auto [y, rows_seen] = span(rows, row, height);
  const auto [x, columns_seen] = span(columns, column, width);
  return {x, y, columns_seen, rows_seen};
}

std::vector<std::optional<ReceptiveField>> receptive_fields(const Graph& graph, ValueId input) {
  std::vector<std::optional<ReceptiveField>> fields(static_cast<std::size_t>(graph.value_count()));
  const auto field_of = [&](ValueId id) -> std::optional<ReceptiveField>& {
    return fields[static_cast<std::size_t>(id.index)];
  };
  field_of(input) = ReceptiveField{};
  for (const Node& node : graph.nodes()) {
    std::optional<ReceptiveField> seen;
    for (const ValueId id : node.inputs) {
      if (!id || !field_of(id)) continue;
      const ReceptiveField& other = *field_of(id);
      seen = seen ? ReceptiveField{together(node, seen->rows, other.rows), together(node, seen->columns, other.columns)}
                  : other;
    }
    if (!seen) continue;
    for (const ValueId output : node.outputs)
      if (graph.value(output).shape.rank() == 4) field_of(output) = through(graph, node, *seen);
  }
  return fields;
}

}  // namespace weft
