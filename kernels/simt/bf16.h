#pragma once
// bfloat16 as cuda_bf16.h has it: the upper half of a float. Conversions from float round to nearest even; a NaN
// becomes 0x7fff, as the GPU's own instruction makes it.

#include <bit>
#include <cstdint>

#include "kernels/simt/vector_types.h"

namespace weft::simt {

/// The bits of `value` rounded to bfloat16, to nearest, ties to even.
constexpr unsigned short bf16_bits_rn(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/// Ties to even of a double in one step: rounding to float on the way keeps a sticky bit (round to odd), so that two
/// roundings cannot differ from one.
constexpr float round_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (!(static_cast<double>(nearest) != value) || value != value) return nearest;
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  if ((bits & 0x7fffffffu) == 0x7f800000u) return nearest;
  const bool away = (static_cast<double>(nearest) > value) == (value > 0);
  if (away && (bits & 1) == 0) {
    --bits;  // the neighbour towards zero is odd
  } else if (!away) {
    bits |= 1;
  }
  return std::bit_cast<float>(bits);
}

struct __nv_bfloat16_raw {
  unsigned short x;
};

struct __nv_bfloat16 {
  __nv_bfloat16() = default;
  constexpr __nv_bfloat16(float value) : bits_(bf16_bits_rn(value)) {}
  constexpr __nv_bfloat16(double value) : bits_(bf16_bits_rn(round_to_odd(value))) {}
  constexpr __nv_bfloat16(int value) : __nv_bfloat16(static_cast<double>(value)) {}
  constexpr __nv_bfloat16(unsigned value) : __nv_bfloat16(static_cast<double>(value)) {}
  constexpr __nv_bfloat16(long long value) : __nv_bfloat16(static_cast<double>(value)) {}
  constexpr __nv_bfloat16(unsigned long long value) : __nv_bfloat16(static_cast<double>(value)) {}
  constexpr __nv_bfloat16(const __nv_bfloat16_raw& raw) : bits_(raw.x) {}
  constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits_) << 16); }
  constexpr operator __nv_bfloat16_raw() const { return {bits_}; }

 private:
  unsigned short bits_;
};
static_assert(sizeof(__nv_bfloat16) == 2);

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
  __nv_bfloat162() = default;
  constexpr __nv_bfloat162(const __nv_bfloat16& x, const __nv_bfloat16& y) : x(x), y(y) {}
};

using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

constexpr unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) {
  return static_cast<__nv_bfloat16_raw>(value).x;
}
constexpr short __bfloat16_as_short(__nv_bfloat16 value) {
  return static_cast<short>(__bfloat16_as_ushort(value));
}
constexpr __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
  return __nv_bfloat16_raw{bits};
}
constexpr __nv_bfloat16 __short_as_bfloat16(short bits) {
  return __ushort_as_bfloat16(static_cast<unsigned short>(bits));
}

constexpr __nv_bfloat16 __float2bfloat16(float value) {
  return value;
}
constexpr __nv_bfloat16 __float2bfloat16_rn(float value) {
  return value;
}
constexpr __nv_bfloat16 __double2bfloat16(double value) {
  return value;
}
constexpr float __bfloat162float(__nv_bfloat16 value) {
  return value;
}
/// Towards zero, down and up.
constexpr __nv_bfloat16 __float2bfloat16_rz(float value) {
  if (value != value) return __ushort_as_bfloat16(0x7fff);
  return __ushort_as_bfloat16(static_cast<unsigned short>(std::bit_cast<std::uint32_t>(value) >> 16));
}
constexpr __nv_bfloat16 __float2bfloat16_rd(float value) {
  const __nv_bfloat16 towards_zero = __float2bfloat16_rz(value);
  const bool lower = static_cast<float>(towards_zero) > value;
  return lower ? __ushort_as_bfloat16(static_cast<unsigned short>(__bfloat16_as_ushort(towards_zero) + 1))
               : towards_zero;
}
constexpr __nv_bfloat16 __float2bfloat16_ru(float value) {
  const __nv_bfloat16 towards_zero = __float2bfloat16_rz(value);
  const bool higher = static_cast<float>(towards_zero) < value;
  return higher ? __ushort_as_bfloat16(static_cast<unsigned short>(__bfloat16_as_ushort(towards_zero) + 1))
                : towards_zero;
}

constexpr __nv_bfloat16 __int2bfloat16_rn(int value) {
  return value;
}
constexpr __nv_bfloat16 __uint2bfloat16_rn(unsigned value) {
  return value;
}
constexpr int __bfloat162int_rz(__nv_bfloat16 value) {
  return static_cast<int>(static_cast<float>(value));
}

constexpr __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) {
  return {low, high};
}
constexpr __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) {
  return {x, y};
}
constexpr __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 value) {
  return {value, value};
}
constexpr __nv_bfloat162 __float2bfloat162_rn(float value) {
  return {value, value};
}
constexpr __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
  return {low, high};
}
constexpr __nv_bfloat162 __float22bfloat162_rn(float2 value) {
  return {value.x, value.y};
}
constexpr float2 __bfloat1622float2(__nv_bfloat162 value) {
  return {value.x, value.y};
}
constexpr float __low2float(__nv_bfloat162 value) {
  return value.x;
}
constexpr float __high2float(__nv_bfloat162 value) {
  return value.y;
}
constexpr __nv_bfloat16 __low2bfloat16(__nv_bfloat162 value) {
  return value.x;
}
constexpr __nv_bfloat16 __high2bfloat16(__nv_bfloat162 value) {
  return value.y;
}
constexpr __nv_bfloat162 __low2bfloat162(__nv_bfloat162 value) {
  return {value.x, value.x};
}
constexpr __nv_bfloat162 __high2bfloat162(__nv_bfloat162 value) {
  return {value.y, value.y};
}
constexpr __nv_bfloat162 __lowhigh2highlow(__nv_bfloat162 value) {
  return {value.y, value.x};
}
constexpr __nv_bfloat162 __lows2bfloat162(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {a.x, b.x};
}
constexpr __nv_bfloat162 __highs2bfloat162(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {a.y, b.y};
}

constexpr __nv_bfloat16 __hadd(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) + static_cast<float>(b);
}

}  // namespace weft::simt
