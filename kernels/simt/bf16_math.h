#pragma once
// Arithmetic on bfloat16 as cuda_bf16.h has it: computed in float, rounded once. The float result of a sum, difference
// or product of two bfloat16 numbers is exact enough that its rounding is the correctly rounded one.

#include <cmath>

#include "kernels/simt/bf16.h"

namespace weft::simt {

constexpr __nv_bfloat16 __hsub(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) - static_cast<float>(b);
}
constexpr __nv_bfloat16 __hmul(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) * static_cast<float>(b);
}
constexpr __nv_bfloat16 __hdiv(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) / static_cast<float>(b);
}
/// Exact in double, rounded once.
inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) {
  return std::fma(static_cast<double>(static_cast<float>(a)), static_cast<double>(static_cast<float>(b)),
                  static_cast<double>(static_cast<float>(c)));
}
constexpr __nv_bfloat16 __hneg(__nv_bfloat16 a) {
  return __ushort_as_bfloat16(__bfloat16_as_ushort(a) ^ 0x8000);
}
constexpr __nv_bfloat16 __habs(__nv_bfloat16 a) {
  return __ushort_as_bfloat16(__bfloat16_as_ushort(a) & 0x7fff);
}

constexpr bool __hisnan(__nv_bfloat16 a) {
  return (__bfloat16_as_ushort(a) & 0x7fff) > 0x7f80;
}
constexpr int __hisinf(__nv_bfloat16 a) {
  return __bfloat16_as_ushort(a) == 0x7f80 ? 1 : __bfloat16_as_ushort(a) == 0xff80 ? -1 : 0;
}
/// The number where the other is NaN.
constexpr __nv_bfloat16 __hmax(__nv_bfloat16 a, __nv_bfloat16 b) {
  if (__hisnan(a)) return b;
  return static_cast<float>(a) < static_cast<float>(b) ? b : a;
}
constexpr __nv_bfloat16 __hmin(__nv_bfloat16 a, __nv_bfloat16 b) {
  if (__hisnan(a)) return b;
  return static_cast<float>(b) < static_cast<float>(a) ? b : a;
}

constexpr bool __heq(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) == static_cast<float>(b);
}
constexpr bool __hne(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) != static_cast<float>(b);
}
constexpr bool __hlt(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) < static_cast<float>(b);
}
constexpr bool __hle(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) <= static_cast<float>(b);
}
constexpr bool __hgt(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) > static_cast<float>(b);
}
constexpr bool __hge(__nv_bfloat16 a, __nv_bfloat16 b) {
  return static_cast<float>(a) >= static_cast<float>(b);
}

constexpr __nv_bfloat16 operator+(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hadd(a, b);
}
constexpr __nv_bfloat16 operator-(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hsub(a, b);
}
constexpr __nv_bfloat16 operator*(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hmul(a, b);
}
constexpr __nv_bfloat16 operator/(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hdiv(a, b);
}
constexpr __nv_bfloat16 operator-(__nv_bfloat16 a) {
  return __hneg(a);
}
constexpr __nv_bfloat16& operator+=(__nv_bfloat16& a, __nv_bfloat16 b) {
  return a = __hadd(a, b);
}
constexpr __nv_bfloat16& operator-=(__nv_bfloat16& a, __nv_bfloat16 b) {
  return a = __hsub(a, b);
}
constexpr __nv_bfloat16& operator*=(__nv_bfloat16& a, __nv_bfloat16 b) {
  return a = __hmul(a, b);
}
constexpr __nv_bfloat16& operator/=(__nv_bfloat16& a, __nv_bfloat16 b) {
  return a = __hdiv(a, b);
}
constexpr bool operator==(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __heq(a, b);
}
constexpr bool operator!=(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hne(a, b);
}
constexpr bool operator<(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hlt(a, b);
}
constexpr bool operator<=(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hle(a, b);
}
constexpr bool operator>(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hgt(a, b);
}
constexpr bool operator>=(__nv_bfloat16 a, __nv_bfloat16 b) {
  return __hge(a, b);
}

constexpr __nv_bfloat162 __hadd2(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {__hadd(a.x, b.x), __hadd(a.y, b.y)};
}
constexpr __nv_bfloat162 __hsub2(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {__hsub(a.x, b.x), __hsub(a.y, b.y)};
}
constexpr __nv_bfloat162 __hmul2(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {__hmul(a.x, b.x), __hmul(a.y, b.y)};
}
inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
constexpr __nv_bfloat162 __hmax2(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {__hmax(a.x, b.x), __hmax(a.y, b.y)};
}
constexpr __nv_bfloat162 __hmin2(__nv_bfloat162 a, __nv_bfloat162 b) {
  return {__hmin(a.x, b.x), __hmin(a.y, b.y)};
}
constexpr __nv_bfloat162 __hneg2(__nv_bfloat162 a) {
  return {__hneg(a.x), __hneg(a.y)};
}

}  // namespace weft::simt
