#include "nn/callbacks/flat.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace weft {
namespace {

std::vector<float> on_host(Device& device, const float* from, std::size_t floats) {
  std::vector<float> values(floats);
  device.copy_out(values.data(), from, floats * sizeof(float));
  return values;
}

}  // namespace

float* FlatArithmetic::zeros(Buffer& buffer, std::size_t floats) {
  if (buffer.bytes < floats * sizeof(float)) buffer = zero_buffer(device_, floats);
  return static_cast<float*>(buffer.data());
}

void FlatArithmetic::add(float* y, const float* x, double a, std::size_t floats) {
  if (floats == 0) return;
  device_.sgd_step({.weight = y,
                    .gradient = x,
                    .velocity = zeros(velocity_, floats),
                    .groups = {{.end = static_cast<std::int64_t>(floats), .lr = -a}}});
}

void FlatArithmetic::blend(float* y, const float* x, double share, std::size_t floats) {
  if (floats == 0) return;
  // g = x + weight_decay y = x - y; y -= lr g.
  device_.sgd_step({.weight = y,
                    .gradient = x,
                    .velocity = zeros(velocity_, floats),
                    .groups = {{.end = static_cast<std::int64_t>(floats), .lr = -share, .weight_decay = -1}}});
}

void FlatArithmetic::scale(float* y, double a, std::size_t floats) {
  blend(y, zeros(nothing_, floats), 1 - a, floats);
}

Buffer zero_buffer(Device& device, std::size_t floats) {
  Buffer buffer = device.allocate(floats * sizeof(float));
  if (floats > 0) device.fill_zero(buffer.data(), buffer.bytes);
  return buffer;
}

void copy_floats(Device& device, float* to, const float* from, std::size_t floats) {
  if (floats == 0) return;
  device.copy_in(to, on_host(device, from, floats).data(), floats * sizeof(float));
}

void swap_floats(Device& device, float* a, float* b, std::size_t floats) {
  if (floats == 0) return;
  const std::vector<float> of_a = on_host(device, a, floats);
  copy_floats(device, a, b, floats);
  device.copy_in(b, of_a.data(), floats * sizeof(float));
}

double norm(Device& device, const float* x, std::size_t floats) {
  if (floats == 0) return 0;
  double sum = 0;
  for (const float value : on_host(device, x, floats)) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

}  // namespace weft
