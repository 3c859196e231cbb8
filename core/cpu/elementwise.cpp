// ReLU, sums and scalings, element by element, in whatever layout their operand has.

#include "core/cpu/step_builder.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::cpu {

namespace {

using onednn::algorithm;
using onednn::desc;
using onednn::dims;
using onednn::type;

desc layout_for(const Compiler& c, ValueId value) {
  return c.stored(value, dense_desc(c.value(value).shape, c.value(value).dtype));
}

void lower_eltwise(Compiler& c, const Group& group, algorithm how, float alpha, float beta) {
  const Node& node = c.node(group.main);
  const ValueId x_value = input_of(node, 0);
  const desc d = layout_for(c, x_value);
  const auto pd = onednn::eltwise_forward(c.engine(), how, d, alpha, beta, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no elementwise function");
  StepBuilder s(c, group);
  const bool in_place = c.may_overwrite(x_value, node.outputs[0], group.position);
  const dnnl::memory x = s.input(x_value, d),
                     y = in_place ? s.in_place_output(node.outputs[0], x_value, d) : s.output(node.outputs[0], d);
  s.call<dnnl::eltwise_forward>(pd, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
  s.finish(pd.impl_info_str());
}

}  // namespace

void lower_relu(Compiler& c, const Group& group) {
  const float ceiling = ceiling_of(c.node(group.main));
  lower_eltwise(c, group, ceiling > 0 ? algorithm::eltwise_clip : algorithm::eltwise_relu, 0, ceiling);
}

void lower_scale(Compiler& c, const Group& group) {
  const double factor = problem_of(c.graph(), c.node(group.main)).scalars[extents::Elements::factor];
  lower_eltwise(c, group, algorithm::eltwise_linear, static_cast<float>(factor), 0);
}

void lower_relu_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const ValueId dy_value = input_of(node, 0), y_value = input_of(node, 1);
  const desc d = layout_for(c, y_value);
  const float ceiling = ceiling_of(node);
  // Of the library's two clips it is the second whose gradient is 0 at the ceiling itself, as torch has it.
  const auto how = ceiling > 0 ? algorithm::eltwise_clip_v2_use_dst_for_bwd : algorithm::eltwise_relu_use_dst_for_bwd;
  const auto forward = onednn::eltwise_forward(c.engine(), how, d, 0, ceiling, step_attributes());
  const auto pd = onednn::eltwise_backward(c.engine(), how, d, 0, ceiling, forward, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no gradient of ReLU");
  StepBuilder s(c, group);
  const dnnl::memory y = s.input(y_value, d), dy = s.input(dy_value, d);
  const bool in_place = c.may_overwrite(dy_value, node.outputs[0], group.position) && c.stored(dy_value, {}) == d;
  const dnnl::memory dx = in_place ? s.in_place_output(node.outputs[0], dy_value, d) : s.output(node.outputs[0], d);
  s.call<dnnl::eltwise_backward>(pd, {{DNNL_ARG_DST, y}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx}});
  s.finish(pd.impl_info_str());
}

void lower_add(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  ValueId a = input_of(node, 0), b = input_of(node, 1);
  // The library may write the sum over its first operand, not over the second.
  const ValueId result = group.relu ? c.node(group.relu).outputs[0] : node.outputs[0];
  const auto may_overwrite = [&](ValueId x) { return c.may_overwrite(x, result, group.position); };
  if (c.has_layout(a) && c.has_layout(b) && !may_overwrite(a) && may_overwrite(b)) std::swap(a, b);
  const desc d = layout_for(c, a);
  dnnl::post_ops ops;
  if (group.relu) onednn::append_relu(ops, ceiling_of(c.node(group.relu)));
  const auto pd = onednn::binary(c.engine(), algorithm::binary_add, d, d, d, step_attributes(ops));
  WEFT_CHECK(static_cast<bool>(pd), "no sum of two tensors");
  StepBuilder s(c, group);
  // oneDNN 2.6 clears the padding of the last block before it reads its operand there when a ReLU follows the sum.
  const bool padded = onednn::padded_dims_of(d) != onednn::dims_of(d);
  const bool in_place = a != b && may_overwrite(a) && !(group.relu && padded);
  const dnnl::memory first = s.input(a, d), second = s.input(b, d),
                     y = in_place ? s.in_place_output(result, a, d) : s.output(result, d);
  s.call<dnnl::binary>(pd, {{DNNL_ARG_SRC_0, first}, {DNNL_ARG_SRC_1, second}, {DNNL_ARG_DST, y}});
  s.finish(std::string(pd.impl_info_str()) + (group.relu ? " +relu" : ""));
}

void lower_bias_add(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const ValueId x_value = input_of(node, 0);
  const Shape& shape = c.value(x_value).shape;
  // Rank 4 keeps its layout; anything else is a matrix (rows, C).
  const bool picture = shape.rank() == 4;
  const std::int64_t C = shape[-1], rows = shape.elements() / C;
  const desc d = picture ? layout_for(c, x_value) : dense_desc(dims{rows, C});
  const desc channels = picture ? dense_desc(dims{1, C, 1, 1}) : dense_desc(dims{1, C});
  const auto pd = onednn::binary(c.engine(), algorithm::binary_add, d, channels, d, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no sum with a bias");
  StepBuilder s(c, group);
  s.call<dnnl::binary>(pd, {{DNNL_ARG_SRC_0, s.input(x_value, d)},
                            {DNNL_ARG_SRC_1, s.dense_input(input_of(node, 1), channels)},
                            {DNNL_ARG_DST, s.output(node.outputs[0], d)}});
  s.finish(pd.impl_info_str());
}

namespace {

// y (1, C) = ones (1, rows) x (rows, C)
void sum_rows(Compiler& c, const Group& group, std::int64_t rows, std::int64_t C) {
  const Node& node = c.node(group.main);
  const desc ones = dense_desc(dims{1, rows}), x = dense_desc(dims{rows, C}), y = dense_desc(dims{1, C});
  const auto pd = onednn::matmul(c.engine(), ones, x, {}, y, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no sum of rows");
  StepBuilder s(c, group);
  s.call<dnnl::matmul>(pd, {{DNNL_ARG_SRC, s.constant(ones, std::vector<float>(static_cast<std::size_t>(rows), 1.0f))},
                            {DNNL_ARG_WEIGHTS, s.dense_input(input_of(node, 0), x)},
                            {DNNL_ARG_DST, s.output(node.outputs[0], y)}});
  s.finish(pd.impl_info_str());
}

}  // namespace

void lower_bias_backward(Compiler& c, const Group& group) {
  const Problem problem = problem_of(c.graph(), c.node(group.main));
  sum_rows(c, group, problem.extents[extents::Rows::rows], problem.extents[extents::Rows::C]);
}

void lower_sum(Compiler& c, const Group& group) {
  sum_rows(c, group, problem_of(c.graph(), c.node(group.main)).extents[extents::Elements::n], 1);
}

}  // namespace weft::cpu
