#pragma once
// Adding products as a tensor core does: what the emulations of mma.sync and wgmma share.

#include <bit>
#include <cmath>
#include <cstdint>

namespace weft::simt {

/// The float next to `sum` on the side of zero. What is too large for a float becomes infinite; any NaN the one that
/// the hardware writes.
inline float cut_off(double sum) {
  const auto nearest = static_cast<float>(sum);
  const auto bits = std::bit_cast<std::uint32_t>(nearest);
  if (std::isnan(sum)) return std::bit_cast<float>(0x7fffffffu);
  const bool away = std::isfinite(nearest) && std::fabs(static_cast<double>(nearest)) > std::fabs(sum);
  return std::bit_cast<float>(bits - (away ? 1u : 0u));
}

/// What a register's lower or upper half holds as bfloat16.
inline float bf16_low(std::uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
inline float bf16_high(std::uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000u);
}
/// What a tensor core sees of a 32-bit operand as tf32: the lower 13 bits do not count.
inline float tf32_value(std::uint32_t bits) {
  return std::bit_cast<float>(bits & 0xffffe000u);
}

/// sums (kRows, kColumns) += a (kRows, kDepth) b (kDepth, kColumns): kStep products at a time are added to the sum
/// before it is cut off to a float.
template <int kRows, int kColumns, int kDepth, int kStep>
void add_products(float (&sums)[kRows][kColumns], const float (&a)[kRows][kDepth], const float (&b)[kDepth][kColumns]) {
  static_assert(kDepth % kStep == 0);
  for (int row = 0; row < kRows; ++row) {
    for (int first = 0; first < kDepth; first += kStep) {
      double total[kColumns];
      for (int column = 0; column < kColumns; ++column) total[column] = static_cast<double>(sums[row][column]);
      for (int k = first; k < first + kStep; ++k)
        for (int column = 0; column < kColumns; ++column)
          total[column] += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
      for (int column = 0; column < kColumns; ++column) sums[row][column] = cut_off(total[column]);
    }
  }
}

}  // namespace weft::simt
