// Max, average and global average pooling, and their gradients.

#include <algorithm>

#include "core/cpu/step_builder.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::cpu {

namespace {

using onednn::algorithm;
using onednn::desc;
using onednn::dims;
using onednn::Pooling;
using onednn::tag;
using onednn::type;
using E = extents::Pool;

desc like(const desc& x, const dims& d) {
  const dims e = onednn::dims_of(x);
  if (channel_block() > 0 && x == blocked_desc(e)) return blocked_desc(d);
  return dense_desc(d);
}

// Convolutions' layout where it fits whole blocks, else dense.
desc preferred(const dims& d) {
  return channel_block() > 0 && d[1] % channel_block() == 0 ? blocked_desc(d) : dense_desc(d);
}

// Blocks or dense; what else a value may lie in (a picture's planes) is brought to dense first.
desc usable(const desc& stored) {
  const dims d = onednn::dims_of(stored);
  return channel_block() > 0 && stored == blocked_desc(d) ? stored : dense_desc(d);
}

Pooling pooling_of(const Problem& problem, algorithm how, const desc& x) {
  const auto* e = problem.extents;
  Pooling p;
  p.how = how;
  p.x = x;
  p.y = like(x, {e[E::N], e[E::C], e[E::P], e[E::Q]});
  p.stride = {e[E::stride_h], e[E::stride_w]};
  p.window = {e[E::R], e[E::S]};
  p.pad_low = {e[E::pad_h], e[E::pad_w]};
  // What the last window covers beyond the picture: ceil_mode may let it hang over the padding, and a stride that does
  // not divide leaves less than the padding.
  p.pad_high = {(e[E::P] - 1) * e[E::stride_h] + e[E::R] - e[E::H] - e[E::pad_h],
                (e[E::Q] - 1) * e[E::stride_w] + e[E::S] - e[E::W] - e[E::pad_w]};
  return p;
}

dims picture(const Problem& problem) {
  const auto* e = problem.extents;
  return {e[E::N], e[E::C], e[E::H], e[E::W]};
}

// A window that hangs over the padded picture is divided by what lies inside only, where the library divides by the
// whole window: a factor for each of y's places, all 1 (and then empty) but with ceil_mode.
std::vector<float> overhang(const Problem& problem) {
  const auto* e = problem.extents;
  const auto covered = [](std::int64_t place, std::int64_t stride, std::int64_t window, std::int64_t pad,
                          std::int64_t extent) {
    const std::int64_t first = place * stride - pad;
    return std::min(first + window, extent + pad) - first;
  };
  std::vector<float> factors;
  bool any = false;
  for (std::int64_t p = 0; p < e[E::P]; ++p)
    for (std::int64_t q = 0; q < e[E::Q]; ++q) {
      const std::int64_t inside = covered(p, e[E::stride_h], e[E::R], e[E::pad_h], e[E::H]) *
                                  covered(q, e[E::stride_w], e[E::S], e[E::pad_w], e[E::W]);
      factors.push_back(static_cast<float>(e[E::R] * e[E::S]) / static_cast<float>(inside));
      any = any || inside != e[E::R] * e[E::S];
    }
  return any ? factors : std::vector<float>();
}

// y[n, p, q, c] *= factors[p, q]
void multiply(const Compiler& c, StepBuilder& s, const Problem& problem, const std::vector<float>& factors,
              const dnnl::memory& from, const dnnl::memory& to) {
  const desc plane({1, 1, problem.extents[E::P], problem.extents[E::Q]}, type::f32, tag::nchw);
  const auto pd =
      onednn::binary(c.engine(), algorithm::binary_mul, from.get_desc(), plane, to.get_desc(), step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no product with a plane");
  s.call<dnnl::binary>(pd, {{DNNL_ARG_SRC_0, from}, {DNNL_ARG_SRC_1, s.constant(plane, factors)}, {DNNL_ARG_DST, to}});
}

dnnl::pooling_forward::primitive_desc forward_of(const Compiler& c, const Pooling& p, bool training) {
  auto pd = onednn::pooling_forward(c.engine(), p, training, step_attributes());
  if (!pd) fail("oneDNN has no pooling for this shape");
  return pd;
}

dnnl::pooling_backward::primitive_desc backward_of(const Compiler& c, const Pooling& p,
                                                   const dnnl::pooling_forward::primitive_desc& forward) {
  auto pd = onednn::pooling_backward(c.engine(), p, forward, step_attributes());
  if (!pd) fail("oneDNN has no gradient of pooling for this shape");
  return pd;
}

Pooling global_of(const Problem& problem, const desc& x) {
  const dims d = picture(problem);
  Pooling p;
  p.how = algorithm::pooling_avg_exclude_padding;
  p.x = x;
  p.y = like(x, {d[0], d[1], 1, 1});
  p.stride = {1, 1};
  p.window = {d[2], d[3]};
  p.pad_low = p.pad_high = {0, 0};
  return p;
}

}  // namespace

void lower_max_pool(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const ValueId x_value = input_of(node, 0), index = output_of(node, 1);
  const Pooling p = pooling_of(problem, algorithm::pooling_max, usable(c.stored(x_value, preferred(picture(problem)))));
  const bool training = c.is_read(index);
  const auto pd = forward_of(c, p, training);
  StepBuilder s(c, group);
  Arguments arguments = {{DNNL_ARG_SRC, s.input(x_value, p.x)}, {DNNL_ARG_DST, s.output(node.outputs[0], p.y)}};
  if (training) {
    auto layout = std::make_shared<WindowLayout>();
    layout->pooling = p;
    layout->offsets = pd.workspace_desc();
    arguments.emplace(DNNL_ARG_WORKSPACE, s.output(index, layout->offsets, layout));
  }
  s.call<dnnl::pooling_forward>(pd, std::move(arguments));
  s.finish(pd.impl_info_str());
}

void lower_max_pool_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const ValueId dy_value = input_of(node, 0), index = input_of(node, 1);
  const auto* own = c.has_layout(index) ? dynamic_cast<const WindowLayout*>(c.layout(index).get()) : nullptr;
  const Pooling p =
      own ? own->pooling
          : pooling_of(problem, algorithm::pooling_max,
                       like(usable(c.stored(dy_value, preferred(dims_of(c.value(dy_value).shape)))), picture(problem)));
  const auto forward = forward_of(c, p, true);
  const auto pd = backward_of(c, p, forward);
  StepBuilder s(c, group);
  const dnnl::memory dy = s.input(dy_value, p.y);
  dnnl::memory offsets;
  if (own) {
    offsets = s.stored_input(index, own->offsets);
  } else {  // places in the picture, from outside
    auto layout = std::make_shared<WindowLayout>();
    layout->pooling = p;
    layout->offsets = forward.workspace_desc();
    const Value& v = c.value(index);
    const dnnl::memory places = s.input(index, dense_desc(v.shape, v.dtype));
    offsets = s.temporary(layout->offsets);
    s.host([=, shape = v.shape, runtime = &c.runtime()](const StepContext&) {
      reorder_value(runtime->engine, runtime->stream, shape, DType::i32, places.get_data_handle(), nullptr,
                    offsets.get_data_handle(), layout);
    });
  }
  s.call<dnnl::pooling_backward>(
      pd,
      {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_WORKSPACE, offsets}, {DNNL_ARG_DIFF_SRC, s.output(node.outputs[0], p.x)}});
  s.finish(pd.impl_info_str());
}

void lower_avg_pool(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const ValueId x_value = input_of(node, 0);
  const Pooling p = pooling_of(problem, algorithm::pooling_avg_include_padding,
                               usable(c.stored(x_value, preferred(picture(problem)))));
  const auto pd = forward_of(c, p, false);
  StepBuilder s(c, group);
  const dnnl::memory x = s.input(x_value, p.x), y = s.output(node.outputs[0], p.y);
  s.call<dnnl::pooling_forward>(pd, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}});
  if (const std::vector<float> factors = overhang(problem); !factors.empty()) multiply(c, s, problem, factors, y, y);
  s.finish(pd.impl_info_str());
}

void lower_avg_pool_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const ValueId dy_value = input_of(node, 0);
  const desc y = usable(c.stored(dy_value, preferred(dims_of(c.value(dy_value).shape))));
  const Pooling p = pooling_of(problem, algorithm::pooling_avg_include_padding, like(y, picture(problem)));
  const auto pd = backward_of(c, p, forward_of(c, p, true));
  StepBuilder s(c, group);
  dnnl::memory dy = s.input(dy_value, p.y);
  if (const std::vector<float> factors = overhang(problem); !factors.empty()) {
    const dnnl::memory scaled = s.temporary(p.y);
    multiply(c, s, problem, factors, dy, scaled);
    dy = scaled;
  }
  s.call<dnnl::pooling_backward>(pd, {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, s.output(node.outputs[0], p.x)}});
  s.finish(pd.impl_info_str());
}

void lower_global_avg_pool(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const ValueId x_value = input_of(node, 0);
  const Pooling p = global_of(problem, usable(c.stored(x_value, preferred(picture(problem)))));
  const auto pd = forward_of(c, p, false);
  StepBuilder s(c, group);
  s.call<dnnl::pooling_forward>(
      pd, {{DNNL_ARG_SRC, s.input(x_value, p.x)}, {DNNL_ARG_DST, s.output(node.outputs[0], p.y)}});
  s.finish(pd.impl_info_str());
}

void lower_global_avg_pool_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const Pooling p = global_of(problem, preferred(picture(problem)));
  const auto pd = backward_of(c, p, forward_of(c, p, true));
  StepBuilder s(c, group);
  s.call<dnnl::pooling_backward>(
      pd, {{DNNL_ARG_DIFF_DST, s.input(input_of(node, 0), p.y)}, {DNNL_ARG_DIFF_SRC, s.output(node.outputs[0], p.x)}});
  s.finish(pd.impl_info_str());
}

}  // namespace weft::cpu
