#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace weft::reference {
namespace {

// The nearest number of `digits` significant bits, ties to even, subnormal below 2^min_exponent, infinite from where
// the largest finite one would round up.
double round_to(double value, int digits, int min_exponent, int max_exponent) {
  if (!std::isfinite(value) || value == 0) return value;
  const int exponent = std::max(std::ilogb(value), min_exponent);
  const double unit = std::ldexp(1.0, exponent - digits + 1);
  const double rounded = std::nearbyint(value / unit) * unit;
  const bool overflows = std::abs(rounded) >= std::ldexp(1.0, max_exponent + 1);
  return overflows ? std::copysign(std::numeric_limits<double>::infinity(), value) : rounded;
}

double convert(double value, DType to) {
  switch (to) {
    case DType::f32:
      return round_to(value, 24, -126, 127);
    case DType::bf16:
      return round_to(value, 8, -126, 127);
    case DType::f16:
      return round_to(value, 11, -14, 15);
    case DType::i32:
      return std::isnan(value) ? 0 : std::clamp(std::trunc(value), -2147483648.0, 2147483647.0);
    case DType::u8:
      return std::isnan(value) ? 0 : std::clamp(std::trunc(value), 0.0, 255.0);
    case DType::i64:
      break;
  }
  return value;
}

}  // namespace

void cast(const Problem& problem, double* const* operands, double* const*) {
  const auto to = static_cast<DType>(problem.extents[extents::Cast::to]);
  for (std::int64_t i = 0; i < problem.extents[extents::Cast::n]; ++i) operands[1][i] = convert(operands[0][i], to);
}

}  // namespace weft::reference
