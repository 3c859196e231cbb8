// Matrix products and softmax. Matrices are dense.

#include "core/cpu/step_builder.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::cpu {

namespace {

using onednn::algorithm;
using onednn::desc;
using onednn::dims;
using onednn::tag;
using onednn::type;

algorithm softmax_kind(const Node& node) {
  return node.definition->name.starts_with("log_") ? algorithm::softmax_log : algorithm::softmax_accurate;
}

}  // namespace

void lower_gemm(Compiler& c, const Group& group) {
  using E = extents::Gemm;
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const auto* e = problem.extents;
  const std::int64_t M = e[E::M], N = e[E::N], K = e[E::K];
  const desc a({M, K}, type::f32, e[E::trans_a] ? tag::ba : tag::ab),
      b({K, N}, type::f32, e[E::trans_b] ? tag::ba : tag::ab), y = dense_desc(dims{M, N});
  const ValueId bias_value = input_of(node, 2);
  const desc bias = bias_value ? dense_desc(dims{1, N}) : desc();
  dnnl::post_ops ops;
  if (group.relu) onednn::append_relu(ops, ceiling_of(c.node(group.relu)));
  const auto pd = onednn::matmul(c.engine(), a, b, bias, y, step_attributes(ops));
  if (!pd) fail(node.name + ": oneDNN has no matrix product for this shape");
  StepBuilder s(c, group);
  Arguments arguments = {{DNNL_ARG_SRC, s.dense_input(input_of(node, 0), a)},
                         {DNNL_ARG_WEIGHTS, s.dense_input(input_of(node, 1), b)},
                         {DNNL_ARG_DST, s.output(group.relu ? c.node(group.relu).outputs[0] : node.outputs[0], y)}};
  if (bias_value) arguments.emplace(DNNL_ARG_BIAS, s.dense_input(bias_value, bias));
  s.call<dnnl::matmul>(pd, std::move(arguments));
  s.finish(std::string(pd.impl_info_str()) + (group.relu ? " +relu" : ""));
}

void lower_softmax(Compiler& c, const Group& group) {
  using E = extents::Rows;
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const auto* e = problem.extents;
  const desc d = dense_desc(dims{e[E::rows], e[E::C]});
  const auto pd = onednn::softmax_forward(c.engine(), softmax_kind(node), d, 1, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no softmax");
  StepBuilder s(c, group);
  s.call<onednn::softmax_forward_type>(
      pd, {{DNNL_ARG_SRC, s.dense_input(input_of(node, 0), d)}, {DNNL_ARG_DST, s.dense_output(node.outputs[0], d)}});
  s.finish(pd.impl_info_str());
}

void lower_softmax_backward(Compiler& c, const Group& group) {
  using E = extents::Rows;
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const auto* e = problem.extents;
  const desc d = dense_desc(dims{e[E::rows], e[E::C]});
  const auto forward = onednn::softmax_forward(c.engine(), softmax_kind(node), d, 1, step_attributes());
  const auto pd = onednn::softmax_backward(c.engine(), softmax_kind(node), d, 1, forward, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no gradient of softmax");
  StepBuilder s(c, group);
  s.call<onednn::softmax_backward_type>(pd, {{DNNL_ARG_DIFF_DST, s.dense_input(input_of(node, 0), d)},
                                             {DNNL_ARG_DST, s.dense_input(input_of(node, 1), d)},
                                             {DNNL_ARG_DIFF_SRC, s.dense_output(node.outputs[0], d)}});
  s.finish(pd.impl_info_str());
}

}  // namespace weft::cpu
