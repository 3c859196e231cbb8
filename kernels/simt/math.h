#pragma once
// Floating-point intrinsics. The fast ones (__expf and its kin) are the exact functions here: a GPU's approximation is
// within its documented bound of them. expf, sqrtf, tanhf and the rest of <cmath> are found in the global namespace.

#include <cmath>
#include <limits>

#include "kernels/simt/integer_math.h"

namespace weft::simt {

// Inline, where the C library's are calls. A NaN loses, as in IEEE 754-2008's maxNum.
constexpr float fmaxf(float a, float b) {
  return a != a || a < b ? b : a;
}
constexpr float fminf(float a, float b) {
  return a != a || b < a ? b : a;
}
constexpr double fmax(double a, double b) {
  return a != a || a < b ? b : a;
}
constexpr double fmin(double a, double b) {
  return a != a || b < a ? b : a;
}

inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline float rcbrtf(float x) {
  return 1.0f / std::cbrt(x);
}
inline float sinpif(float x) {
  return static_cast<float>(std::sin(x * 3.14159265358979323846));
}
inline float cospif(float x) {
  return static_cast<float>(std::cos(x * 3.14159265358979323846));
}
inline float normcdff(float x) {
  return 0.5f * std::erfc(x * -0.70710678118654752440f);
}
inline float exp10f(float x) {
  return static_cast<float>(std::pow(10.0, static_cast<double>(x)));
}

inline float __expf(float x) {
  return std::exp(x);
}
inline float __exp10f(float x) {
  return exp10f(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __log2f(float x) {
  return std::log2(x);
}
inline float __log10f(float x) {
  return std::log10(x);
}
inline float __powf(float x, float y) {
  return std::pow(x, y);
}
inline float __sinf(float x) {
  return std::sin(x);
}
inline float __cosf(float x) {
  return std::cos(x);
}
inline float __tanf(float x) {
  return std::tan(x);
}
inline void __sincosf(float x, float* sine, float* cosine) {
  *sine = std::sin(x);
  *cosine = std::cos(x);
}
constexpr float __fdividef(float x, float y) {
  return x / y;
}
/// Between 0 and 1; NaN becomes 0.
constexpr float __saturatef(float x) {
  return !(x > 0) ? 0.0f : x > 1 ? 1.0f : x;
}

constexpr float __fadd_rn(float a, float b) {
  return a + b;
}
constexpr float __fsub_rn(float a, float b) {
  return a - b;
}
constexpr float __fmul_rn(float a, float b) {
  return a * b;
}
constexpr float __fdiv_rn(float a, float b) {
  return a / b;
}
constexpr float __frcp_rn(float a) {
  return 1.0f / a;
}
inline float __fsqrt_rn(float a) {
  return std::sqrt(a);
}
inline float __frsqrt_rn(float a) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a)));
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
constexpr double __dadd_rn(double a, double b) {
  return a + b;
}
constexpr double __dmul_rn(double a, double b) {
  return a * b;
}
inline double __fma_rn(double a, double b, double c) {
  return std::fma(a, b, c);
}

/// Out of range becomes the nearest limit, NaN 0: as the GPU converts, where C++ leaves it undefined.
template <class Integer>
constexpr Integer saturating_cast(double value) {
  if (value != value) return 0;
  constexpr auto low = std::numeric_limits<Integer>::min(), high = std::numeric_limits<Integer>::max();
  if (value <= static_cast<double>(low)) return low;
  if (value >= static_cast<double>(high)) return high;
  return static_cast<Integer>(value);
}
inline int __float2int_rn(float x) {
  return saturating_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) {
  return saturating_cast<int>(std::trunc(x));
}
inline int __float2int_rd(float x) {
  return saturating_cast<int>(std::floor(x));
}
inline int __float2int_ru(float x) {
  return saturating_cast<int>(std::ceil(x));
}
inline unsigned __float2uint_rn(float x) {
  return saturating_cast<unsigned>(std::nearbyint(x));
}
inline unsigned __float2uint_rz(float x) {
  return saturating_cast<unsigned>(std::trunc(x));
}
inline unsigned __float2uint_rd(float x) {
  return saturating_cast<unsigned>(std::floor(x));
}
inline unsigned __float2uint_ru(float x) {
  return saturating_cast<unsigned>(std::ceil(x));
}
inline long long __float2ll_rn(float x) {
  return saturating_cast<long long>(std::nearbyint(x));
}
inline int __double2int_rn(double x) {
  return saturating_cast<int>(std::nearbyint(x));
}
inline int __double2int_rz(double x) {
  return saturating_cast<int>(std::trunc(x));
}
constexpr float __int2float_rn(int x) {
  return static_cast<float>(x);
}
constexpr float __uint2float_rn(unsigned x) {
  return static_cast<float>(x);
}
constexpr float __ll2float_rn(long long x) {
  return static_cast<float>(x);
}
constexpr float __ull2float_rn(unsigned long long x) {
  return static_cast<float>(x);
}
constexpr double __int2double_rn(int x) {
  return x;
}
constexpr double __uint2double_rn(unsigned x) {
  return x;
}
constexpr float __double2float_rn(double x) {
  return static_cast<float>(x);
}

}  // namespace weft::simt
