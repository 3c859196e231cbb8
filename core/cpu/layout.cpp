#include "core/cpu/layout.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/dtype.h"
#include "kernels/error.h"

namespace weft::cpu {

namespace {

using onednn::desc;
using onednn::dims;
using onednn::tag;
using onednn::type;

template <class T>
bool same_kind(const Layout& other, T& out) {
  out = dynamic_cast<T>(&other);
  return out != nullptr;
}

// Offsets in the window -> places in the picture, dense (N, P, Q, C) int32.
void places_from_offsets(const WindowLayout& layout, const dnnl::engine& engine, dnnl::stream& stream, const void* from,
                         std::int32_t* places) {
  const dims y = onednn::dims_of(layout.offsets);
  const type offset_type = onednn::type_of(layout.offsets);
  const desc plain = dense_desc(y, offset_type);
  std::vector<std::uint8_t> dense(plain.get_size());
  dnnl::memory source(layout.offsets, engine, const_cast<void*>(from)), target(plain, engine, dense.data());
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
  const onednn::Pooling& p = layout.pooling;
  const dims x = onednn::dims_of(p.x);
  const std::int64_t N = y[0], C = y[1], P = y[2], Q = y[3], W = x[3], S = p.window[1];
  const auto* bytes = dense.data();
  const auto* ints = reinterpret_cast<const std::int32_t*>(dense.data());
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t row = 0; row < P; ++row)
      for (std::int64_t column = 0; column < Q; ++column)
        for (std::int64_t c = 0; c < C; ++c, ++i) {
          const std::int64_t offset = offset_type == type::u8 ? bytes[i] : ints[i];
          const std::int64_t h = row * p.stride[0] - p.pad_low[0] + offset / S;
          const std::int64_t w = column * p.stride[1] - p.pad_low[1] + offset % S;
          places[i] = static_cast<std::int32_t>(h * W + w);
        }
}

void offsets_from_places(const WindowLayout& layout, const dnnl::engine& engine, dnnl::stream& stream,
                         const std::int32_t* places, void* to) {
  const dims y = onednn::dims_of(layout.offsets);
  const type offset_type = onednn::type_of(layout.offsets);
  const desc plain = dense_desc(y, offset_type);
  std::vector<std::uint8_t> dense(plain.get_size());
  const onednn::Pooling& p = layout.pooling;
  const dims x = onednn::dims_of(p.x);
  const std::int64_t N = y[0], C = y[1], P = y[2], Q = y[3], W = x[3], S = p.window[1];
  auto* ints = reinterpret_cast<std::int32_t*>(dense.data());
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t row = 0; row < P; ++row)
      for (std::int64_t column = 0; column < Q; ++column)
        for (std::int64_t c = 0; c < C; ++c, ++i) {
          const std::int64_t r = places[i] / W - (row * p.stride[0] - p.pad_low[0]);
          const std::int64_t s = places[i] % W - (column * p.stride[1] - p.pad_low[1]);
          if (offset_type == type::u8)
            dense[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(r * S + s);
          else
            ints[i] = static_cast<std::int32_t>(r * S + s);
        }
  dnnl::memory source(plain, engine, dense.data()), target(layout.offsets, engine, to);
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
}

}  // namespace

std::string OnednnLayout::describe() const {
  const int block = channel_block();
  const dims d = onednn::dims_of(desc);
  if (d.size() == 4) {
    if (desc == onednn::desc(d, onednn::type_of(desc), tag::nchw)) return "nchw";
    if (block == 16 && desc == onednn::desc(d, onednn::type_of(desc), tag::nChw16c)) return "nChw16c";
    if (block == 8 && desc == onednn::desc(d, onednn::type_of(desc), tag::nChw8c)) return "nChw8c";
  }
  return "onednn";
}

bool OnednnLayout::equals(const Layout& other) const {
  const OnednnLayout* o = nullptr;
  return same_kind(other, o) && o->desc == desc;
}

std::string VarianceLayout::describe() const {
  return "variance";
}
bool VarianceLayout::equals(const Layout& other) const {
  const VarianceLayout* o = nullptr;
  return same_kind(other, o) && o->eps == eps;
}

std::string WindowLayout::describe() const {
  return "window offsets";
}
bool WindowLayout::equals(const Layout& other) const {
  const WindowLayout* o = nullptr;
  return same_kind(other, o) && o->offsets == offsets && o->pooling.x == pooling.x;
}

std::string MaskLayout::describe() const {
  return "relu bits";
}
bool MaskLayout::equals(const Layout& other) const {
  const MaskLayout* o = nullptr;
  return same_kind(other, o);
}

type type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return type::f32;
    case DType::f16:
      return type::f16;
    case DType::bf16:
      return type::bf16;
    case DType::i32:
      return type::s32;
    case DType::u8:
      return type::u8;
    default:
      fail("the cpu device has no tensors of type " + std::string(name_of(dtype)));
  }
}

dims dims_of(const Shape& shape) {
  const auto& e = shape.extents();
  if (e.empty()) return {1};
  if (e.size() == 4) return {e[0], e[3], e[1], e[2]};
  return dims(e.begin(), e.end());
}

desc dense_desc(const dims& d, type t) {
  static constexpr tag kTags[] = {tag::a, tag::a, tag::ab, tag::abc, tag::acdb, tag::abdec};
  WEFT_CHECK(d.size() <= 5, "a tensor of more than 4 axes, and the groups of a filter");
  return desc(d, t, kTags[d.size()]);
}

desc dense_desc(const Shape& shape, DType dtype) {
  return dense_desc(dims_of(shape), type_of(dtype));
}

bool holds(const desc& d, const Shape& shape) {
  const dims own = onednn::dims_of(d), plain = dims_of(shape);
  if (own == plain) return true;
  return own.size() == 5 && plain.size() == 4 && own[0] * own[1] == plain[0] &&
         std::equal(own.begin() + 2, own.end(), plain.begin() + 1);
}

desc dense_like(const desc& d) {
  return dense_desc(onednn::dims_of(d), onednn::type_of(d));
}

bool is_dense(const desc& d) {
  const dims e = onednn::dims_of(d);
  const type t = onednn::type_of(d);
  if (d == dense_desc(e, t)) return true;
  if (e.size() != 4) return false;
  const bool one_pixel = e[2] == 1 && e[3] == 1;
  if ((one_pixel || e[1] == 1) && d == desc(e, t, tag::nchw)) return true;
  return one_pixel &&
         ((e[1] % 16 == 0 && d == desc(e, t, tag::nChw16c)) || (e[1] % 8 == 0 && d == desc(e, t, tag::nChw8c)));
}

LayoutPtr layout_of(const desc& d) {
  if (is_dense(d)) return nullptr;
  return std::make_shared<OnednnLayout>(d);
}

int channel_block() {
  static const int block = [] {
    const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
    if ((isa & static_cast<unsigned>(dnnl::cpu_isa::avx512_core)) == static_cast<unsigned>(dnnl::cpu_isa::avx512_core))
      return 16;
    if ((isa & static_cast<unsigned>(dnnl::cpu_isa::sse41)) != 0) return 8;
    return 0;
  }();
  return block;
}

desc blocked_desc(const dims& d) {
  switch (channel_block()) {
    case 16:
      return desc(d, type::f32, tag::nChw16c);
    case 8:
      return desc(d, type::f32, tag::nChw8c);
    default:
      return dense_desc(d);
  }
}

void reorder_value(const dnnl::engine& engine, dnnl::stream& stream, const Shape& shape, DType dtype, const void* from,
                   const LayoutPtr& from_layout, void* to, const LayoutPtr& to_layout) {
  const auto n = static_cast<std::size_t>(shape.elements());
  const bool plain = (!from_layout || dynamic_cast<const OnednnLayout*>(from_layout.get())) &&
                     (!to_layout || dynamic_cast<const OnednnLayout*>(to_layout.get()));
  if (same_layout(from_layout, to_layout) && (plain && !from_layout)) {
    std::memcpy(to, from, n * size_of(dtype));
  } else if (plain) {
    const auto desc_of = [&](const LayoutPtr& layout, const LayoutPtr& other) {
      if (layout) return static_cast<const OnednnLayout&>(*layout).desc;
      return other ? dense_like(static_cast<const OnednnLayout&>(*other).desc) : dense_desc(shape, dtype);
    };
    const desc source = desc_of(from_layout, to_layout), target = desc_of(to_layout, from_layout);
    dnnl::memory a(source, engine, const_cast<void*>(from)), b(target, engine, to);
    dnnl::reorder(a, b).execute(stream, a, b);
    stream.wait();
  } else if (const auto* variance = dynamic_cast<const VarianceLayout*>(from_layout.get()); variance && !to_layout) {
    for (std::size_t i = 0; i < n; ++i)
      static_cast<float*>(to)[i] =
          static_cast<float>(1.0 / std::sqrt(static_cast<const float*>(from)[i] + variance->eps));
  } else if (const auto* wanted = dynamic_cast<const VarianceLayout*>(to_layout.get()); wanted && !from_layout) {
    for (std::size_t i = 0; i < n; ++i) {
      const double inverse = static_cast<const float*>(from)[i];
      static_cast<float*>(to)[i] = static_cast<float>(1.0 / (inverse * inverse) - wanted->eps);
    }
  } else if (const auto* offsets = dynamic_cast<const WindowLayout*>(from_layout.get()); offsets && !to_layout) {
    places_from_offsets(*offsets, engine, stream, from, static_cast<std::int32_t*>(to));
  } else if (const auto* places = dynamic_cast<const WindowLayout*>(to_layout.get()); places && !from_layout) {
    offsets_from_places(*places, engine, stream, static_cast<const std::int32_t*>(from), to);
  } else if (dynamic_cast<const MaskLayout*>(from_layout.get()) && !to_layout) {
    std::memset(to, 0, n * size_of(dtype));
  } else {
    fail("the cpu device cannot copy a value of shape " + to_string(shape) + " from layout " +
         (from_layout ? from_layout->describe() : "dense") + " to layout " +
         (to_layout ? to_layout->describe() : "dense"));
  }
}

}  // namespace weft::cpu
