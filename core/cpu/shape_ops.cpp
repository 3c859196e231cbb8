// concat and reshape: numbers move or are renamed, nothing is computed.

#include "core/cpu/step_builder.h"
#include "kernels/error.h"

namespace weft::cpu {

namespace {

using onednn::desc;
using onednn::dims;

// Along the last axis of NHWC, which is the second of oneDNN's four.
int channel_axis(const dims& d) {
  return d.size() == 4 ? 1 : static_cast<int>(d.size()) - 1;
}

// Parts of whole blocks each can lie in blocks within the whole.
bool in_blocks(const Compiler& c, std::span<const ValueId> parts) {
  if (channel_block() == 0) return false;
  for (ValueId part : parts)
    if (c.value(part).shape.rank() != 4 || c.value(part).shape[3] % channel_block() != 0) return false;
  return true;
}

desc layout_for(const Compiler& c, ValueId value, bool blocked) {
  const dims d = dims_of(c.value(value).shape);
  return blocked ? blocked_desc(d) : dense_desc(d);
}

}  // namespace

void lower_concat(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const bool blocked = in_blocks(c, node.inputs);
  std::vector<desc> parts;
  for (ValueId part : node.inputs) parts.push_back(layout_for(c, part, blocked));
  const desc whole = layout_for(c, node.outputs[0], blocked);
  const auto pd = onednn::concat(c.engine(), whole, channel_axis(onednn::dims_of(whole)), parts, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no concatenation");
  StepBuilder s(c, group);
  Arguments arguments;
  for (std::size_t i = 0; i < parts.size(); ++i)
    arguments.emplace(DNNL_ARG_MULTIPLE_SRC + static_cast<int>(i), s.input(node.inputs[i], parts[i]));
  arguments.emplace(DNNL_ARG_DST, s.output(node.outputs[0], whole));
  s.call<dnnl::concat>(pd, std::move(arguments));
  s.finish(pd.impl_info_str());
}

void lower_concat_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const bool blocked = in_blocks(c, node.outputs);
  const ValueId dy_value = input_of(node, 0);
  const desc whole = layout_for(c, dy_value, blocked);
  const int axis = channel_axis(onednn::dims_of(whole));
  StepBuilder s(c, group);
  const dnnl::memory dy = s.input(dy_value, whole);
  dims offset(onednn::dims_of(whole).size(), 0);
  for (ValueId part : node.outputs) {
    const dims d = dims_of(c.value(part).shape);
    const dnnl::memory slice = s.seen_as(dy, whole.submemory_desc(d, offset));
    s.copy(slice, s.output(part, layout_for(c, part, blocked)));
    offset[static_cast<std::size_t>(axis)] += d[static_cast<std::size_t>(axis)];
  }
  s.finish(blocked ? "copies of blocks" : "copies");
}

// Of a dense value another name for the same memory; else a copy that makes it dense.
void lower_reshape(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const ValueId x = input_of(node, 0), y = node.outputs[0];
  const Value& v = c.value(x);
  const desc dense = dense_desc(v.shape, v.dtype);
  if (!c.has_layout(x)) c.decide(x, dense);
  const bool bound = static_cast<bool>(c.parameter_of_gradient(y));
  if (!c.layout(x) && v.kind == ValueKind::activation && !c.is_marked(y) && !bound) {
    c.decide(y, dense_desc(c.value(y).shape, v.dtype));
    c.alias(y, x);
    return;
  }
  StepBuilder s(c, group);
  const dnnl::memory from = s.input(x, c.stored(x, dense));
  s.copy(from, s.dense_output(y, dense));
  s.finish("copy");
}

}  // namespace weft::cpu
