#pragma once
// The only header that knows which oneDNN it is built with. 2.x describes an operation in a `desc` and makes a
// primitive_desc of that; 3.x does it in one call and renames a few things. Each function below gives an empty
// primitive_desc (false in an if) where the library has no implementation, so that the caller can try the next
// algorithm.

#include <dnnl.hpp>
#include <utility>
#include <vector>

namespace weft::cpu::onednn {

using memory = dnnl::memory;
using desc = dnnl::memory::desc;
using dims = dnnl::memory::dims;
using tag = dnnl::memory::format_tag;
using type = dnnl::memory::data_type;
using algorithm = dnnl::algorithm;

/// The gradient of batch norm does not depend on the shift: 2.x wants to be given it all the same, 3.x refuses it.
inline constexpr bool kNormGradientTakesShift = DNNL_VERSION_MAJOR < 3;

inline dims dims_of(const desc& d) {
#if DNNL_VERSION_MAJOR >= 3
  return d.get_dims();
#else
  return d.dims();
#endif
}

/// Extents with what blocks round them up to.
inline dims padded_dims_of(const desc& d) {
#if DNNL_VERSION_MAJOR >= 3
  return d.get_padded_dims();
#else
  return dims(d.data.padded_dims, d.data.padded_dims + d.data.ndims);
#endif
}

inline type type_of(const desc& d) {
#if DNNL_VERSION_MAJOR >= 3
  return d.get_data_type();
#else
  return d.data_type();
#endif
}

/// Appends y = min(max(y, 0), ceiling) to what a primitive does; a ceiling of 0 is none.
inline void append_relu(dnnl::post_ops& ops, float ceiling) {
  const algorithm how = ceiling > 0 ? algorithm::eltwise_clip : algorithm::eltwise_relu;
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(how, 0.0f, ceiling);
#else
  ops.append_eltwise(1.0f, how, 0.0f, ceiling);
#endif
}

/// A primitive_desc, or an empty one where the library says "unimplemented" or refuses the combination.
template <class PrimitiveDesc, class Make>
PrimitiveDesc attempt(Make&& make) {
  try {
    return make();
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_out_of_memory) throw;
    return PrimitiveDesc();
  }
}

/// What the three passes of a convolution have in common. dims are (N, C, H, W) and (K, C, R, S) whatever the layout;
/// dilation counts from 0.
struct Convolution {
  algorithm how = algorithm::convolution_direct;
  desc x, weight, bias, y;  ///< bias: empty where there is none
  dims stride, dilation, pad_low, pad_high;
};

inline dnnl::convolution_forward::primitive_desc convolution_forward(const dnnl::engine& engine, const Convolution& c,
                                                                     const dnnl::primitive_attr& attr) {
  using Pd = dnnl::convolution_forward::primitive_desc;
  const auto kind = dnnl::prop_kind::forward_training;
  const bool bias = !c.bias.is_zero();
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return bias ? Pd(engine, kind, c.how, c.x, c.weight, c.bias, c.y, c.stride, c.dilation, c.pad_low, c.pad_high, attr)
                : Pd(engine, kind, c.how, c.x, c.weight, c.y, c.stride, c.dilation, c.pad_low, c.pad_high, attr);
#else
    using D = dnnl::convolution_forward::desc;
    return Pd(bias ? D(kind, c.how, c.x, c.weight, c.bias, c.y, c.stride, c.dilation, c.pad_low, c.pad_high)
                   : D(kind, c.how, c.x, c.weight, c.y, c.stride, c.dilation, c.pad_low, c.pad_high),
              attr, engine);
#endif
  });
}

/// x here is the gradient of x, y the gradient of y.
inline dnnl::convolution_backward_data::primitive_desc convolution_backward_data(
    const dnnl::engine& engine, const Convolution& c, const dnnl::convolution_forward::primitive_desc& forward,
    const dnnl::primitive_attr& attr) {
  using Pd = dnnl::convolution_backward_data::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, c.how, c.x, c.weight, c.y, c.stride, c.dilation, c.pad_low, c.pad_high, forward, attr);
#else
    return Pd({c.how, c.x, c.weight, c.y, c.stride, c.dilation, c.pad_low, c.pad_high}, attr, engine, forward);
#endif
  });
}

/// weight, bias and y here are gradients.
inline dnnl::convolution_backward_weights::primitive_desc convolution_backward_weights(
    const dnnl::engine& engine, const Convolution& c, const dnnl::convolution_forward::primitive_desc& forward,
    const dnnl::primitive_attr& attr) {
  using Pd = dnnl::convolution_backward_weights::primitive_desc;
  const bool bias = !c.bias.is_zero();
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return bias ? Pd(engine, c.how, c.x, c.weight, c.bias, c.y, c.stride, c.dilation, c.pad_low, c.pad_high, forward,
                     attr)
                : Pd(engine, c.how, c.x, c.weight, c.y, c.stride, c.dilation, c.pad_low, c.pad_high, forward, attr);
#else
    using D = dnnl::convolution_backward_weights::desc;
    return Pd(bias ? D(c.how, c.x, c.weight, c.bias, c.y, c.stride, c.dilation, c.pad_low, c.pad_high)
                   : D(c.how, c.x, c.weight, c.y, c.stride, c.dilation, c.pad_low, c.pad_high),
              attr, engine, forward);
#endif
  });
}

inline dnnl::batch_normalization_forward::primitive_desc batch_normalization_forward(const dnnl::engine& engine,
                                                                                     dnnl::prop_kind kind,
                                                                                     const desc& x, float eps,
                                                                                     dnnl::normalization_flags flags,
                                                                                     const dnnl::primitive_attr& attr) {
  using Pd = dnnl::batch_normalization_forward::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, kind, x, x, eps, flags, attr);
#else
    return Pd({kind, x, eps, flags}, attr, engine);
#endif
  });
}

inline dnnl::batch_normalization_backward::primitive_desc batch_normalization_backward(
    const dnnl::engine& engine, const desc& x, float eps, dnnl::normalization_flags flags,
    const dnnl::batch_normalization_forward::primitive_desc& forward, const dnnl::primitive_attr& attr) {
  using Pd = dnnl::batch_normalization_backward::primitive_desc;
  const auto kind = dnnl::prop_kind::backward;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, kind, x, x, x, eps, flags, forward, attr);
#else
    return Pd({kind, x, x, eps, flags}, attr, engine, forward);
#endif
  });
}

/// Windows over (N, C, H, W).
struct Pooling {
  algorithm how = algorithm::pooling_max;
  desc x, y;
  dims stride, window, pad_low, pad_high;
};

/// `training`: remembers where each maximum was.
inline dnnl::pooling_forward::primitive_desc pooling_forward(const dnnl::engine& engine, const Pooling& p,
                                                             bool training, const dnnl::primitive_attr& attr) {
  using Pd = dnnl::pooling_forward::primitive_desc;
  const auto kind = training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, kind, p.how, p.x, p.y, p.stride, p.window, dims(p.window.size(), 0), p.pad_low, p.pad_high, attr);
#else
    return Pd({kind, p.how, p.x, p.y, p.stride, p.window, p.pad_low, p.pad_high}, attr, engine);
#endif
  });
}

inline dnnl::pooling_backward::primitive_desc pooling_backward(const dnnl::engine& engine, const Pooling& p,
                                                               const dnnl::pooling_forward::primitive_desc& forward,
                                                               const dnnl::primitive_attr& attr) {
  using Pd = dnnl::pooling_backward::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, p.how, p.x, p.y, p.stride, p.window, dims(p.window.size(), 0), p.pad_low, p.pad_high, forward,
              attr);
#else
    return Pd({p.how, p.x, p.y, p.stride, p.window, p.pad_low, p.pad_high}, attr, engine, forward);
#endif
  });
}

inline dnnl::eltwise_forward::primitive_desc eltwise_forward(const dnnl::engine& engine, algorithm how, const desc& x,
                                                             float alpha, float beta,
                                                             const dnnl::primitive_attr& attr) {
  using Pd = dnnl::eltwise_forward::primitive_desc;
  const auto kind = dnnl::prop_kind::forward_training;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, kind, how, x, x, alpha, beta, attr);
#else
    return Pd({kind, how, x, alpha, beta}, attr, engine);
#endif
  });
}

inline dnnl::eltwise_backward::primitive_desc eltwise_backward(const dnnl::engine& engine, algorithm how, const desc& x,
                                                               float alpha, float beta,
                                                               const dnnl::eltwise_forward::primitive_desc& forward,
                                                               const dnnl::primitive_attr& attr) {
  using Pd = dnnl::eltwise_backward::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, how, x, x, x, alpha, beta, forward, attr);
#else
    return Pd({how, x, x, alpha, beta}, attr, engine, forward);
#endif
  });
}

inline dnnl::binary::primitive_desc binary(const dnnl::engine& engine, algorithm how, const desc& a, const desc& b,
                                           const desc& y, const dnnl::primitive_attr& attr) {
  using Pd = dnnl::binary::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, how, a, b, y, attr);
#else
    return Pd({how, a, b, y}, attr, engine);
#endif
  });
}

inline dnnl::matmul::primitive_desc matmul(const dnnl::engine& engine, const desc& a, const desc& b, const desc& bias,
                                           const desc& y, const dnnl::primitive_attr& attr) {
  using Pd = dnnl::matmul::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return bias.is_zero() ? Pd(engine, a, b, y, attr) : Pd(engine, a, b, bias, y, attr);
#else
    using D = dnnl::matmul::desc;
    return Pd(bias.is_zero() ? D(a, b, y) : D(a, b, bias, y), attr, engine);
#endif
  });
}

#if DNNL_VERSION_MAJOR >= 3
using softmax_forward_type = dnnl::softmax_forward;
using softmax_backward_type = dnnl::softmax_backward;
#else
using softmax_forward_type = dnnl::softmax_v2_forward;
using softmax_backward_type = dnnl::softmax_v2_backward;
#endif

inline softmax_forward_type::primitive_desc softmax_forward(const dnnl::engine& engine, algorithm how, const desc& x,
                                                            int axis, const dnnl::primitive_attr& attr) {
  using Pd = softmax_forward_type::primitive_desc;
  const auto kind = dnnl::prop_kind::forward_training;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, kind, how, x, x, axis, attr);
#else
    return Pd({kind, how, x, x, axis}, attr, engine);
#endif
  });
}

inline softmax_backward_type::primitive_desc softmax_backward(const dnnl::engine& engine, algorithm how, const desc& x,
                                                              int axis,
                                                              const softmax_forward_type::primitive_desc& forward,
                                                              const dnnl::primitive_attr& attr) {
  using Pd = softmax_backward_type::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, how, x, x, x, axis, forward, attr);
#else
    return Pd({how, x, x, x, axis}, attr, engine, forward);
#endif
  });
}

inline dnnl::concat::primitive_desc concat(const dnnl::engine& engine, const desc& y, int axis,
                                           const std::vector<desc>& xs, const dnnl::primitive_attr& attr) {
  using Pd = dnnl::concat::primitive_desc;
  return attempt<Pd>([&] {
#if DNNL_VERSION_MAJOR >= 3
    return Pd(engine, y, axis, xs, attr);
#else
    return Pd(y, axis, xs, engine, attr);
#endif
  });
}

inline dnnl::reorder::primitive_desc reorder(const dnnl::engine& engine, const desc& from, const desc& to,
                                             const dnnl::primitive_attr& attr) {
  using Pd = dnnl::reorder::primitive_desc;
  return attempt<Pd>([&] { return Pd(engine, from, engine, to, attr); });
}

}  // namespace weft::cpu::onednn
