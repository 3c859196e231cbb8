#pragma once
// Tensor: dense, row-major numbers on the host. It owns its memory through a shared storage: copies are cheap and
// alias; clone() makes a new one. What lives on a device is a Buffer (core/device.h), inside an executor or a
// ParameterStore.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/dtype.h"
#include "core/shape.h"

namespace weft {

class Tensor {
 public:
  /// An empty tensor: no shape, no storage.
  Tensor() = default;
  /// Uninitialised memory, 64-byte aligned. Throws Error where there is not enough, with the shape and bytes.
  explicit Tensor(Shape shape, DType dtype = DType::f32);
  static Tensor zeros(Shape shape, DType dtype = DType::f32);
  static Tensor full(Shape shape, float value);
  template <class T>
  static Tensor from(Shape shape, std::span<const T> values);

  bool empty() const { return storage_ == nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype_); }

  void* data() { return storage_.get(); }
  const void* data() const { return storage_.get(); }
  /// The elements as T (float, int32_t, int64_t, uint8_t, uint16_t for the 16-bit floats). Throws Error where the type
  /// differs.
  template <class T>
  std::span<T> values();
  template <class T>
  std::span<const T> values() const;

  /// The same numbers in memory of their own.
  Tensor clone() const;
  /// The same storage under another shape of as many elements.
  Tensor reshape(Shape shape) const;
  /// Converted to another type (float32, float16, bfloat16 among each other; integers among each other).
  Tensor to(DType dtype) const;

 private:
  Shape shape_;
  DType dtype_ = DType::f32;
  std::shared_ptr<void> storage_;
};

/// (K, C, R, S) -> (K, R, S, C): a filter as torch stores it, as Weft holds it; and back.
Tensor filter_from_torch(const Tensor& filter);
Tensor filter_to_torch(const Tensor& filter);
/// (N, C, H, W) -> (N, H, W, C) and back.
Tensor nchw_to_nhwc(const Tensor& x);
Tensor nhwc_to_nchw(const Tensor& x);

}  // namespace weft
