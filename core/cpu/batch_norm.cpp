// Batch norm, with the ReLU after it where there is one: forward in training and in prediction, and both gradients.

#include <cmath>

#include "core/cpu/step_builder.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::cpu {

namespace {

using onednn::desc;
using onednn::dims;
using Flags = dnnl::normalization_flags;

// x as a picture: a matrix (rows, C) is one of a single pixel.
dims picture_of(const Shape& x) {
  return x.rank() == 4 ? dims_of(x) : dims{x.elements() / x[-1], x[-1], 1, 1};
}

// The layout to work in: x's own, or for an undecided input the one that convolutions like.
desc picture_desc(const Compiler& c, ValueId x) {
  const Shape& shape = c.value(x).shape;
  const dims d = picture_of(shape);
  if (shape.rank() != 4) return dense_desc(d);
  const bool whole_blocks = channel_block() > 0 && d[1] % channel_block() == 0;
  return c.stored(x, whole_blocks ? blocked_desc(d) : dense_desc(d));
}

Flags flags_of(bool fixed_statistics, bool relu) {
  Flags flags = Flags::use_scale | Flags::use_shift;
  if (fixed_statistics) flags |= Flags::use_global_stats;
  if (relu) flags |= Flags::fuse_norm_relu;
  return flags;
}

dnnl::batch_normalization_forward::primitive_desc forward_of(const Compiler& c, const desc& x, double eps, bool train,
                                                             bool inference, bool relu) {
  auto pd = onednn::batch_normalization_forward(
      c.engine(), inference ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training, x,
      static_cast<float>(eps), flags_of(!train, relu), step_attributes());
  if (!pd) fail("oneDNN has no batch norm for this layout");
  return pd;
}

/// Fusion is this device's own affair (fusion.h), over a graph whose nodes do one thing each.
void refuse_fused(const Node& node, const Problem& problem) {
  using E = extents::BatchNorm;
  if (problem.extents[E::has_residual] != 0 || problem.extents[E::relu] != 0)
    fail(node.name + ": " + node.definition->name +
         " comes with a residual or a ReLU, which the cpu device fuses by itself: give it batch_norm, add and relu as "
         "nodes of their own");
}

float* floats(const dnnl::memory& m) {
  return static_cast<float*>(m.get_data_handle());
}

}  // namespace

void lower_batch_norm(Compiler& c, const Group& group) {
  using E = extents::BatchNorm;
  const Node& node = c.node(group.main);
  const bool train = node.definition->name == "batch_norm_train";
  const Problem problem = problem_of(c.graph(), node);
  refuse_fused(node, problem);
  const ValueId x_value = input_of(node, 0);
  const desc x_desc = picture_desc(c, x_value), vector = dense_desc(dims{problem.extents[E::C]});
  const bool relu = static_cast<bool>(group.relu);
  const auto pd = forward_of(c, x_desc, problem.scalars[E::eps], train, !train, relu);

  StepBuilder s(c, group);
  const dnnl::memory x = s.input(x_value, x_desc), gamma = s.input(input_of(node, 1), vector),
                     beta = s.input(input_of(node, 2), vector);
  const dnnl::memory y = s.output(relu ? c.node(group.relu).outputs[0] : node.outputs[0], pd.dst_desc());
  Arguments arguments = {{DNNL_ARG_SRC, x}, {DNNL_ARG_SCALE, gamma}, {DNNL_ARG_SHIFT, beta}, {DNNL_ARG_DST, y}};
  if (!train) {
    arguments.emplace(DNNL_ARG_MEAN, s.input(input_of(node, 4), vector));
    arguments.emplace(DNNL_ARG_VARIANCE, s.input(input_of(node, 5), vector));
    s.call<dnnl::batch_normalization_forward>(pd, std::move(arguments));
    s.finish(std::string(pd.impl_info_str()) + (relu ? " +relu" : ""));
    return;
  }
  const dnnl::memory mean = s.output(output_of(node, 1), vector),
                     variance = s.output(output_of(node, 2), vector,
                                         std::make_shared<VarianceLayout>(problem.scalars[E::eps]));
  arguments.emplace(DNNL_ARG_MEAN, mean);
  arguments.emplace(DNNL_ARG_VARIANCE, variance);
  // The sum before the ReLU is never made; the bits that its gradient needs take its place.
  if (relu)
    arguments.emplace(DNNL_ARG_WORKSPACE,
                      s.output(node.outputs[0], pd.workspace_desc(), std::make_shared<MaskLayout>()));
  s.call<dnnl::batch_normalization_forward>(pd, std::move(arguments));
  // Running statistics as PyTorch keeps them: the variance is the unbiased one.
  const dnnl::memory running_mean = s.updated(input_of(node, 4)), running_variance = s.updated(input_of(node, 5));
  const double rows = static_cast<double>(problem.extents[E::rows]), momentum = problem.scalars[E::momentum];
  s.host([=, C = problem.extents[E::C]](const StepContext&) {
    const double unbiased = rows / (rows - 1);
    for (std::int64_t i = 0; i < C; ++i) {
      float &m = floats(running_mean)[i], &v = floats(running_variance)[i];
      m = static_cast<float>((1 - momentum) * m + momentum * floats(mean)[i]);
      v = static_cast<float>((1 - momentum) * v + momentum * unbiased * floats(variance)[i]);
    }
  });
  s.finish(std::string(pd.impl_info_str()) + (relu ? " +relu" : ""));
}

void lower_batch_norm_backward(Compiler& c, const Group& group) {
  using E = extents::BatchNorm;
  const Node& node = c.node(group.main);
  const bool train = node.definition->name == "batch_norm_train_backward";
  const Problem problem = problem_of(c.graph(), node);
  refuse_fused(node, problem);
  const double eps = problem.scalars[E::eps];
  const ValueId x_value = input_of(node, 1);
  const bool relu = static_cast<bool>(group.relu);
  const desc x_desc = picture_desc(c, x_value), vector = dense_desc(dims{problem.extents[E::C]});
  const auto hint = forward_of(c, x_desc, eps, train, false, relu);
  const auto pd = onednn::batch_normalization_backward(c.engine(), x_desc, static_cast<float>(eps),
                                                       flags_of(!train, relu), hint, step_attributes());
  if (!pd) fail("oneDNN has no gradient of batch norm for this layout");

  StepBuilder s(c, group);
  const ValueId dy_value = relu ? c.node(group.relu).inputs[0] : input_of(node, 0);
  const dnnl::memory dy = s.input(dy_value, pd.diff_dst_desc()), x = s.input(x_value, x_desc),
                     gamma = s.input(input_of(node, 3), vector), mean = s.input(input_of(node, 4), vector);
  const ValueId deviation = input_of(node, 5);
  dnnl::memory variance;
  if (!train) {
    variance = s.input(deviation, vector);
  } else if (c.has_layout(deviation) && dynamic_cast<const VarianceLayout*>(c.layout(deviation).get())) {
    variance = s.stored_input(deviation, vector);
  } else {  // an inverse deviation from outside
    const dnnl::memory inverse = s.input(deviation, vector);
    variance = s.temporary(vector);
    s.host([=, C = problem.extents[E::C]](const StepContext&) {
      for (std::int64_t i = 0; i < C; ++i)
        floats(variance)[i] =
            static_cast<float>(1.0 / (static_cast<double>(floats(inverse)[i]) * floats(inverse)[i]) - eps);
    });
  }
  // dx over dy where dy dies here: it is in the caches already.
  const ValueId dx_value = output_of(node, 0);
  const bool in_place = c.may_overwrite(dy_value, dx_value, group.position) &&
                        c.stored(dy_value, {}) == pd.diff_src_desc() && c.value(dy_value).shape.rank() == 4;
  const dnnl::memory dx =
      in_place ? s.in_place_output(dx_value, dy_value, pd.diff_src_desc()) : s.output(dx_value, pd.diff_src_desc());
  Arguments arguments = {{DNNL_ARG_DIFF_DST, dy},
                         {DNNL_ARG_SRC, x},
                         {DNNL_ARG_SCALE, gamma},
                         {DNNL_ARG_MEAN, mean},
                         {DNNL_ARG_VARIANCE, variance},
                         {DNNL_ARG_DIFF_SRC, dx},
                         {DNNL_ARG_DIFF_SCALE, s.output(output_of(node, 1), vector)},
                         {DNNL_ARG_DIFF_SHIFT, s.output(output_of(node, 2), vector)}};
  if (onednn::kNormGradientTakesShift)
    arguments.emplace(DNNL_ARG_SHIFT,
                      s.constant(vector, std::vector<float>(static_cast<std::size_t>(problem.extents[E::C]), 0.0f)));
  if (relu) {
    const NodeId forward = c.graph().producer(input_of(node, 4));
    arguments.emplace(DNNL_ARG_WORKSPACE, s.stored_input(c.node(forward).outputs[0], pd.workspace_desc()));
  }
  s.call<dnnl::batch_normalization_backward>(pd, std::move(arguments));
  s.finish(std::string(pd.impl_info_str()) + (relu ? " +relu" : ""));
}

}  // namespace weft::cpu
