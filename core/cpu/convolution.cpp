// conv2d and its two gradients. Activations lie in blocks of channels (nChw16c), filters in blocks of both
// (OIhw16i16o): all passes but the direct backward_data, which transposes the filter's blocks first, work on these two.
// A picture of a few channels stays nchw, which is what the library's kernel for a first layer wants.

#include <cmath>

#include "core/cpu/step_builder.h"
#include "core/cpu/tune.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::cpu {

namespace {

using onednn::algorithm;
using onednn::desc;
using onednn::dims;
using onednn::tag;
using onednn::type;

constexpr int kBias = 3;  // conv2d's inputs: x, weight, scale, bias, residual

ConvolutionShape shape_of(const Problem& problem, ConvolutionPass pass) {
  using E = extents::Conv2d;
  const auto* e = problem.extents;
  if (e[E::has_scale] || e[E::has_residual] || e[E::relu])
    fail("the cpu device fuses by itself: give it the graph before an epilogue was folded into its convolutions");
  ConvolutionShape s;
  s.pass = pass;
  s.N = e[E::N], s.H = e[E::H], s.W = e[E::W], s.C = e[E::C], s.K = e[E::K], s.R = e[E::R], s.S = e[E::S];
  s.stride_h = e[E::stride_h], s.stride_w = e[E::stride_w], s.pad_h = e[E::pad_h], s.pad_w = e[E::pad_w];
  s.dilation_h = e[E::dilation_h], s.dilation_w = e[E::dilation_w], s.groups = e[E::groups];
  s.P = (s.H + 2 * s.pad_h - s.dilation_h * (s.R - 1) - 1) / s.stride_h + 1;
  s.Q = (s.W + 2 * s.pad_w - s.dilation_w * (s.S - 1) - 1) / s.stride_w + 1;
  return s;
}

// A filter's extents, (K, C, R, S); in groups (groups, K / groups, C / groups, R, S).
dims filter_dims(const ConvolutionShape& s) {
  if (s.groups == 1) return {s.K, s.C, s.R, s.S};
  return {s.groups, s.K / s.groups, s.C / s.groups, s.R, s.S};
}

// The ways to try, best first. Whatever the way, filters are left to the library.
std::vector<onednn::Convolution> ways(const ConvolutionShape& s, ConvolutionAlgorithm choice, bool bias) {
  const dims x = {s.N, s.C, s.H, s.W}, y = {s.N, s.K, s.P, s.Q};
  onednn::Convolution c;
  c.weight = desc(filter_dims(s), type::f32, tag::any);
  if (bias) c.bias = dense_desc(dims{s.K});
  c.stride = {s.stride_h, s.stride_w};
  c.dilation = {s.dilation_h - 1, s.dilation_w - 1};
  // The window's last step may leave pixels over: what hangs below the picture is less than pad, even negative.
  c.pad_low = {s.pad_h, s.pad_w};
  c.pad_high = {(s.P - 1) * s.stride_h + s.dilation_h * (s.R - 1) + 1 - s.H - s.pad_h,
                (s.Q - 1) * s.stride_w + s.dilation_w * (s.S - 1) + 1 - s.W - s.pad_w};
  std::vector<onednn::Convolution> out;
  const auto add = [&](algorithm how, const desc& x_desc, const desc& y_desc) {
    c.how = how;
    c.x = x_desc;
    c.y = y_desc;
    out.push_back(c);
  };
  const bool few = s.C < channel_block();
  if (choice == ConvolutionAlgorithm::winograd) add(algorithm::convolution_winograd, blocked_desc(x), blocked_desc(y));
  add(algorithm::convolution_direct, few ? desc(x, type::f32, tag::nchw) : blocked_desc(x), blocked_desc(y));
  add(algorithm::convolution_direct, dense_desc(x), dense_desc(y));
  add(algorithm::convolution_direct, desc(x, type::f32, tag::any), desc(y, type::f32, tag::any));
  return out;
}

template <class PrimitiveDesc>
bool is_reference(const PrimitiveDesc& pd) {
  return std::string_view(pd.impl_info_str()).find("ref") != std::string_view::npos;
}

template <class PrimitiveDesc>
struct Found {
  PrimitiveDesc pd;
  ConvolutionAlgorithm algorithm = ConvolutionAlgorithm::direct;
};

// The first way that the library has an optimised kernel for; else the first that it has at all.
template <class Make>
auto first_of(const std::vector<onednn::Convolution>& ways, Make&& make) {
  Found<decltype(make(ways[0]))> found;
  for (const bool reference : {false, true})
    for (const onednn::Convolution& way : ways) {
      found.pd = make(way);
      found.algorithm =
          way.how == algorithm::convolution_winograd ? ConvolutionAlgorithm::winograd : ConvolutionAlgorithm::direct;
      if (found.pd && (reference || !is_reference(found.pd))) return found;
    }
  fail("oneDNN has no convolution for this shape");
}

dnnl::convolution_forward::primitive_desc hint_for(const dnnl::engine& engine, onednn::Convolution way) {
  way.how = algorithm::convolution_direct;
  way.bias = desc();
  return onednn::convolution_forward(engine, way, {});
}

// make(way) -> primitive_desc. With --tune, a shape seen for the first time is measured both ways.
template <class Primitive, class Make>
auto find(Compiler& c, const NodeId node, const ConvolutionShape& shape, bool bias, Make&& make) {
  ConvolutionAlgorithm choice;
  if (c.options().tune && !c.plan().known(shape, choice)) {
    double best = 0;
    for (const auto a : {ConvolutionAlgorithm::direct, ConvolutionAlgorithm::winograd}) {
      const auto found = first_of(ways(shape, a, bias), make);
      if (found.algorithm != a) continue;
      const double seconds = measure<Primitive>(c.runtime(), found.pd);
      if (best == 0 || seconds < best) {
        best = seconds;
        choice = a;
      }
    }
    c.plan().remember(shape, choice);
  }
  const auto found = first_of(ways(shape, c.plan().choose(shape), bias), make);
  c.plan().record(c.node(node).name, shape, found.algorithm);
  return found;
}

template <class F>
std::string describe(const F& found, std::string extras = {}) {
  return std::string(name_of(found.algorithm)) + " (" + found.pd.impl_info_str() + ")" + extras;
}

// A filter seen as a picture of K channels and one row for everything else, so that a factor for each k is a factor for
// each channel, which the library multiplies fast. False, and the filter as it is, where it cannot be seen so. Holds
// for the blocked layouts in which k's block is the innermost axis, and for the dense one.
bool as_channels(const desc& weight, const ConvolutionShape& s, desc& view, desc& factors) {
  const dims d = filter_dims(s);
  const auto is = [&](tag t) { return weight == desc(d, type::f32, t); };
  const auto padded = [&](std::int64_t block) { return (s.C + block - 1) / block * block * s.R * s.S; };
  const auto seen = [&](std::int64_t rest, tag t) {
    view = desc({1, s.K, rest, 1}, type::f32, t);
    factors = desc({1, s.K, 1, 1}, type::f32, t);
    return true;
  };
  if (weight == dense_desc(d)) return seen(s.C / s.groups * s.R * s.S, tag::nchw);
  if (s.groups == s.C && s.groups == s.K) {  // depthwise: a block of groups is one of k
    if (is(tag::Goihw16g)) return seen(s.R * s.S, tag::nChw16c);
    if (is(tag::Goihw8g)) return seen(s.R * s.S, tag::nChw8c);
  }
  if (s.groups > 1) {
    view = weight;
    factors = dense_desc(dims{s.groups, s.K / s.groups, 1, 1, 1});
    return false;
  }
  if (is(tag::OIhw16i16o)) return seen(padded(16), tag::nChw16c);
  if (is(tag::Ohwi16o)) return seen(s.C * s.R * s.S, tag::nChw16c);
  if (is(tag::OIhw8i8o)) return seen(padded(8), tag::nChw8c);
  if (is(tag::Ohwi8o)) return seen(s.C * s.R * s.S, tag::nChw8c);
  view = weight;
  factors = dense_desc(dims{s.K, 1, 1, 1});
  return false;
}

// Folds an inference-time batch norm into the filter and a bias: w' = w g, b' = (b - mean) g + beta with
// g = gamma / sqrt(var + eps), for each k. Done again when the numbers have moved.
void fold(Compiler& c, StepBuilder& s, const Node& conv, const Node& norm, const ConvolutionShape& shape,
          dnnl::memory& weight, dnnl::memory& bias) {
  const desc vector = dense_desc(dims{shape.K}), own = weight.get_desc();
  const auto gamma = s.input(input_of(norm, 1), vector), beta = s.input(input_of(norm, 2), vector),
             mean = s.input(input_of(norm, 4), vector), variance = s.input(input_of(norm, 5), vector);
  desc view, factors;
  const bool another_view = as_channels(own, shape, view, factors), has_bias = static_cast<bool>(bias);
  const dnnl::memory folded = s.kept(own), factor = s.kept(factors), offset = s.kept(vector), old = bias;
  const double eps = problem_of(c.graph(), norm).scalars[extents::BatchNorm::eps];
  // Numbers that something computes may move at any run.
  bool lasting = true;
  for (ValueId v : {input_of(conv, 1), input_of(conv, kBias), input_of(norm, 1), input_of(norm, 2), input_of(norm, 4),
                    input_of(norm, 5)})
    lasting = lasting && (!v || c.value(v).kind == ValueKind::parameter || c.value(v).kind == ValueKind::state);
  if (lasting) s.begin_prepared();
  s.host([=, K = shape.K](const StepContext&) {
    const auto at = [](const dnnl::memory& m) { return static_cast<float*>(m.get_data_handle()); };
    for (std::int64_t k = 0; k < K; ++k) {
      const double g = at(gamma)[k] / std::sqrt(at(variance)[k] + eps);
      at(factor)[k] = static_cast<float>(g);
      at(offset)[k] = static_cast<float>(((has_bias ? at(old)[k] : 0.0) - at(mean)[k]) * g + at(beta)[k]);
    }
  });
  const dnnl::memory source = another_view ? s.seen_as(weight, view) : weight,
                     target = another_view ? s.seen_as(folded, view) : folded;
  const auto pd = onednn::binary(c.engine(), algorithm::binary_mul, view, factors, view, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "no scaling of a filter");
  s.call<dnnl::binary>(pd, {{DNNL_ARG_SRC_0, source}, {DNNL_ARG_SRC_1, factor}, {DNNL_ARG_DST, target}});
  if (lasting) s.end_prepared();
  weight = folded;
  bias = offset;
}

}  // namespace

void lower_conv2d(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const ConvolutionShape shape = shape_of(problem_of(c.graph(), node), ConvolutionPass::forward);
  const ValueId bias_value = input_of(node, kBias);
  const bool has_bias = static_cast<bool>(bias_value);
  dnnl::post_ops ops;
  if (group.add) ops.append_sum(1.0f);
  if (group.relu) onednn::append_relu(ops, ceiling_of(c.node(group.relu)));
  const dnnl::primitive_attr attr = step_attributes(ops);
  const auto found = find<dnnl::convolution_forward>(
      c, group.main, shape, has_bias || group.batch_norm,
      [&](const onednn::Convolution& way) { return onednn::convolution_forward(c.engine(), way, attr); });
  const auto& pd = found.pd;

  StepBuilder s(c, group);
  ValueId result = node.outputs[0];
  std::string extras;
  const dnnl::memory x = s.input(input_of(node, 0), pd.src_desc());
  dnnl::memory weight = s.input(input_of(node, 1), pd.weights_desc()), bias;
  if (has_bias) bias = s.input(bias_value, dense_desc(dims{shape.K}));
  if (group.batch_norm) {
    fold(c, s, node, c.node(group.batch_norm), shape, weight, bias);
    result = c.node(group.batch_norm).outputs[0];
    extras += " +batch_norm";
  }
  ValueId other;
  if (group.add) {
    const Node& add = c.node(group.add);
    other = input_of(add, 0) == result ? input_of(add, 1) : input_of(add, 0);
    result = add.outputs[0];
    extras += " +add";
  }
  if (group.relu) {
    result = c.node(group.relu).outputs[0];
    extras += " +relu";
  }
  dnnl::memory y;
  if (other && c.may_overwrite(other, result, group.position) && c.stored(other, {}) == pd.dst_desc()) {
    y = s.in_place_output(result, other, pd.dst_desc());
  } else {
    y = s.output(result, pd.dst_desc());
    if (other) s.copy(s.input(other, pd.dst_desc()), y);
  }
  Arguments arguments = {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, y}};
  if (bias) arguments.emplace(DNNL_ARG_BIAS, bias);
  s.call<dnnl::convolution_forward>(pd, std::move(arguments));
  s.finish(describe(found, extras));
}

void lower_conv2d_backward_data(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  if (input_of(node, 2))
    fail(node.name +
         ": conv2d_backward_data comes with another part of dx to be added, which is for the kernel devices: give the "
         "cpu device the sum as a node of its own");
  const ConvolutionShape shape = shape_of(problem_of(c.graph(), node), ConvolutionPass::backward_data);
  const auto found =
      find<dnnl::convolution_backward_data>(c, group.main, shape, false, [&](const onednn::Convolution& way) {
        const auto hint = hint_for(c.engine(), way);
        return hint ? onednn::convolution_backward_data(c.engine(), way, hint, step_attributes())
                    : dnnl::convolution_backward_data::primitive_desc();
      });
  StepBuilder s(c, group);
  const dnnl::memory dy = s.input(input_of(node, 0), found.pd.diff_dst_desc()),
                     weight = s.input(input_of(node, 1), found.pd.weights_desc()),
                     dx = s.output(node.outputs[0], found.pd.diff_src_desc());
  s.call<dnnl::convolution_backward_data>(
      found.pd, {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DIFF_SRC, dx}});
  s.finish(describe(found));
}

void lower_conv2d_backward_filter(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const ConvolutionShape shape = shape_of(problem_of(c.graph(), node), ConvolutionPass::backward_filter);
  const auto found = find<dnnl::convolution_backward_weights>(
      c, group.main, shape, static_cast<bool>(group.bias), [&](const onednn::Convolution& way) {
        const auto hint = hint_for(c.engine(), way);
        return hint ? onednn::convolution_backward_weights(c.engine(), way, hint, step_attributes())
                    : dnnl::convolution_backward_weights::primitive_desc();
      });
  StepBuilder s(c, group);
  const dnnl::memory x = s.input(input_of(node, 0), found.pd.src_desc()),
                     dy = s.input(input_of(node, 1), found.pd.diff_dst_desc()),
                     dweight = s.output(node.outputs[0], found.pd.diff_weights_desc());
  Arguments arguments = {{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_WEIGHTS, dweight}};
  if (group.bias)
    arguments.emplace(DNNL_ARG_DIFF_BIAS, s.output(c.node(group.bias).outputs[0], dense_desc(dims{shape.K})));
  s.call<dnnl::convolution_backward_weights>(found.pd, std::move(arguments));
  s.finish(describe(found, group.bias ? " +bias" : ""));
}

}  // namespace weft::cpu
