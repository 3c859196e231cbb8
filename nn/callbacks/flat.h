#pragma once
// Sums over flat ranges of float32 on a device, for callbacks that work on all weights or gradients at once.

#include <cstddef>

#include "core/device.h"

namespace weft {

/// Each is an SGD step without momentum (kernels/ops.h: SgdStep, whose weight is y), which every device has a kernel
/// for: nothing here leaves the device.
class FlatArithmetic {
 public:
  explicit FlatArithmetic(Device& device) : device_(device) {}
  /// y += a x.
  void add(float* y, const float* x, double a, std::size_t floats);
  /// y += share (x - y).
  void blend(float* y, const float* x, double share, std::size_t floats);
  /// y *= a.
  void scale(float* y, double a, std::size_t floats);

 private:
  float* zeros(Buffer& buffer, std::size_t floats);

  Device& device_;
  Buffer velocity_;  // what the step would remember, and forgets
  Buffer nothing_;   // a gradient of zeros
};

/// Zeros on the device.
Buffer zero_buffer(Device& device, std::size_t floats);
/// Exact, through the host.
void copy_floats(Device& device, float* to, const float* from, std::size_t floats);
void swap_floats(Device& device, float* a, float* b, std::size_t floats);
/// sqrt(sum x^2) in double precision, in one order whatever the device.
double norm(Device& device, const float* x, std::size_t floats);

}  // namespace weft
