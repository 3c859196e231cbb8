#include "core/tensor.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/error.h"

namespace weft {

namespace {

constexpr std::size_t kAlignment = 64;

// Whether a tensor of `dtype` may be seen as T.
template <class T>
bool holds(DType dtype) {
  if constexpr (std::is_same_v<T, float>) {
    return dtype == DType::f32;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return dtype == DType::i32;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return dtype == DType::i64;
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return dtype == DType::u8;
  } else {
    static_assert(std::is_same_v<T, std::uint16_t>);
    return dtype == DType::f16 || dtype == DType::bf16;
  }
}

template <class T>
const char* type_name() {
  if constexpr (std::is_same_v<T, float>) {
    return "f32";
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return "i32";
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return "i64";
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return "u8";
  } else {
    return "f16 or bf16";
  }
}

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) {
    return DType::f32;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return DType::i32;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return DType::i64;
  } else {
    static_assert(std::is_same_v<T, std::uint8_t>);
    return DType::u8;
  }
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

std::size_t checked_bytes(const Shape& shape, DType dtype) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(shape.elements()), size_of(dtype), &bytes) ||
      bytes > static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max())) {
    fail("a tensor " + to_string(shape) + " of " + std::string(name_of(dtype)) + " has more bytes than 63 bits count");
  }
  return bytes;
}

}  // namespace

Tensor::Tensor(Shape shape, DType dtype) : shape_(std::move(shape)), dtype_(dtype) {
  const std::size_t wanted = checked_bytes(shape_, dtype_);
  // Never 0 bytes, so that a tensor without elements still has storage, and whole lines, as aligned_alloc asks.
  const std::size_t bytes = (std::max<std::size_t>(wanted, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, bytes);
  if (memory == nullptr) {
    fail("not enough memory for a tensor " + to_string(shape_) + " of " + std::string(name_of(dtype_)) + ": " +
         std::to_string(wanted) + " bytes");
  }
  storage_ = std::shared_ptr<void>(memory, &std::free);
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor tensor(std::move(shape), dtype);
  std::memset(tensor.data(), 0, tensor.bytes());
  return tensor;
}

Tensor Tensor::full(Shape shape, float value) {
  Tensor tensor(std::move(shape));
  std::ranges::fill(tensor.values<float>(), value);
  return tensor;
}

template <class T>
Tensor Tensor::from(Shape shape, std::span<const T> values) {
  if (static_cast<std::int64_t>(values.size()) != shape.elements()) {
    fail("a tensor " + to_string(shape) + " has " + std::to_string(shape.elements()) + " elements, not " +
         std::to_string(values.size()));
  }
  Tensor tensor(std::move(shape), dtype_of<T>());
  std::ranges::copy(values, tensor.values<T>().begin());
  return tensor;
}

template <class T>
std::span<T> Tensor::values() {
  if (!holds<T>(dtype_)) {
    fail("a tensor " + to_string(shape_) + " of " + std::string(name_of(dtype_)) + " was read as " + type_name<T>());
  }
  // A tensor that was never given a shape counts 1 element (rank 0) but has no storage.
  return {static_cast<T*>(storage_.get()), empty() ? 0 : static_cast<std::size_t>(elements())};
}

template <class T>
std::span<const T> Tensor::values() const {
  return const_cast<Tensor*>(this)->values<T>();
}

template Tensor Tensor::from(Shape, std::span<const float>);
template Tensor Tensor::from(Shape, std::span<const std::int32_t>);
template Tensor Tensor::from(Shape, std::span<const std::int64_t>);
template Tensor Tensor::from(Shape, std::span<const std::uint8_t>);

template std::span<float> Tensor::values();
template std::span<std::int32_t> Tensor::values();
template std::span<std::int64_t> Tensor::values();
template std::span<std::uint8_t> Tensor::values();
template std::span<std::uint16_t> Tensor::values();
template std::span<const float> Tensor::values() const;
template std::span<const std::int32_t> Tensor::values() const;
template std::span<const std::int64_t> Tensor::values() const;
template std::span<const std::uint8_t> Tensor::values() const;
template std::span<const std::uint16_t> Tensor::values() const;

Tensor Tensor::clone() const {
  if (empty()) {
    return {};
  }
  Tensor copy(shape_, dtype_);
  std::memcpy(copy.data(), data(), bytes());
  return copy;
}

Tensor Tensor::reshape(Shape shape) const {
  if (empty() || shape.elements() != elements()) {
    fail("a tensor " + to_string(shape_) + " cannot be seen as " + to_string(shape));
  }
  Tensor view = *this;
  view.shape_ = std::move(shape);
  return view;
}

namespace {

template <class From, class To, class Convert>
void convert_each(const Tensor& from, Tensor& to, Convert convert) {
  const std::span<const From> source = from.values<From>();
  const std::span<To> target = to.values<To>();
  for (std::size_t i = 0; i < source.size(); ++i) {
    target[i] = convert(source[i]);
  }
}

Tensor to_f32(const Tensor& x) {
  if (x.dtype() == DType::f32) {
    return x;
  }
  Tensor y(x.shape());
  convert_each<std::uint16_t, float>(x, y, x.dtype() == DType::f16 ? f16_to_float : bf16_to_float);
  return y;
}

std::int64_t integer_at(const Tensor& x, std::size_t i) {
  switch (x.dtype()) {
    case DType::i32:
      return static_cast<const std::int32_t*>(x.data())[i];
    case DType::i64:
      return static_cast<const std::int64_t*>(x.data())[i];
    default:
      return static_cast<const std::uint8_t*>(x.data())[i];
  }
}

template <class To>
Tensor to_integer(const Tensor& x) {
  Tensor y(x.shape(), dtype_of<To>());
  const std::span<To> target = y.values<To>();
  for (std::size_t i = 0; i < target.size(); ++i) {
    const std::int64_t value = integer_at(x, i);
    if (!std::in_range<To>(value)) {
      fail("element " + std::to_string(i) + " of a tensor " + to_string(x.shape()) + " is " + std::to_string(value) +
           ", which " + std::string(name_of(y.dtype())) + " does not hold");
    }
    target[i] = static_cast<To>(value);
  }
  return y;
}

}  // namespace

Tensor Tensor::to(DType dtype) const {
  if (empty()) {
    fail("an empty tensor cannot be converted");
  }
  if (dtype == dtype_) {
    return clone();
  }
  if (is_float(dtype_) != is_float(dtype)) {
    fail("a tensor " + to_string(shape_) + " of " + std::string(name_of(dtype_)) + " cannot be converted to " +
         std::string(name_of(dtype)));
  }
  switch (dtype) {
    case DType::f32:
      return to_f32(*this);
    case DType::f16:
    case DType::bf16: {
      Tensor y(shape_, dtype);
      convert_each<float, std::uint16_t>(to_f32(*this), y, dtype == DType::f16 ? float_to_f16 : float_to_bf16);
      return y;
    }
    case DType::i32:
      return to_integer<std::int32_t>(*this);
    case DType::i64:
      return to_integer<std::int64_t>(*this);
    case DType::u8:
      return to_integer<std::uint8_t>(*this);
  }
  fail_at(__FILE__, __LINE__, "not an element type");
}

namespace {

// x is (outer, rows, columns), y is (outer, columns, rows).
template <class T>
void transpose(const void* x, void* y, std::int64_t outer, std::int64_t rows, std::int64_t columns) {
  const T* from = static_cast<const T*>(x);
  T* to = static_cast<T*>(y);
  for (std::int64_t o = 0; o < outer; ++o, from += rows * columns, to += rows * columns) {
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) {
        to[c * rows + r] = from[r * columns + c];
      }
    }
  }
}

// Moves the channels of a tensor of rank 4 from axis 1 to axis 3, or back.
Tensor move_channels(const Tensor& x, bool to_last) {
  if (x.empty() || x.shape().rank() != 4) {
    fail("channels can only be moved in a tensor of rank 4, not in " + to_string(x.shape()));
  }
  const std::vector<std::int64_t>& e = x.shape().extents();
  const Shape shape = to_last ? Shape{e[0], e[2], e[3], e[1]} : Shape{e[0], e[3], e[1], e[2]};
  const std::int64_t rows = to_last ? e[1] : e[1] * e[2], columns = to_last ? e[2] * e[3] : e[3];
  Tensor y(shape, x.dtype());
  switch (size_of(x.dtype())) {
    case 1:
      transpose<std::uint8_t>(x.data(), y.data(), e[0], rows, columns);
      break;
    case 2:
      transpose<std::uint16_t>(x.data(), y.data(), e[0], rows, columns);
      break;
    case 4:
      transpose<std::uint32_t>(x.data(), y.data(), e[0], rows, columns);
      break;
    default:
      transpose<std::uint64_t>(x.data(), y.data(), e[0], rows, columns);
  }
  return y;
}

}  // namespace

Tensor filter_from_torch(const Tensor& filter) {
  return move_channels(filter, true);
}

Tensor filter_to_torch(const Tensor& filter) {
  return move_channels(filter, false);
}

Tensor nchw_to_nhwc(const Tensor& x) {
  return move_channels(x, true);
}

Tensor nhwc_to_nchw(const Tensor& x) {
  return move_channels(x, false);
}

}  // namespace weft
