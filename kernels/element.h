#pragma once
// Elements in a kernel: storage is float or bfloat16, arithmetic is float.

#include <cstdint>

#include "kernels/target.h"

namespace weft::WEFT_TARGET {

using bfloat16 = __nv_bfloat16;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

__device__ inline float to_float(float value) {
  return value;
}
__device__ inline float to_float(bfloat16 value) {
  return __bfloat162float(value);
}

/// Rounds to nearest even.
template <class T>
__device__ inline T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline bfloat16 from_float<bfloat16>(float value) {
  return __float2bfloat16(value);
}

/// 16 bytes of elements, the most that one instruction loads or stores: 4 floats or 8 bfloat16. Its address must be a
/// multiple of 16.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T values[kSize];
};

template <class T>
__device__ inline Pack<T> load_pack(const T* from, int64_t pack) {
  return reinterpret_cast<const Pack<T>*>(from)[pack];
}
template <class T>
__device__ inline void store_pack(T* to, int64_t pack, const Pack<T>& values) {
  reinterpret_cast<Pack<T>*>(to)[pack] = values;
}

}  // namespace weft::WEFT_TARGET
