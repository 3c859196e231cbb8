#pragma once
// gemm: y = alpha op(a) op(b) + beta y [+ bias].   y is (M, N), op(a) is (M, K), op(b) is (K, N), bias is (N).
// 2MNK flops; 4(MK + KN + MN) bytes in float32: bound by arithmetic from some hundred rows and columns on, as each
// element that is read once serves N or M multiplications. What a rung gains, it gains by reading less often.
//
//   1_naive.cu           a thread an element, reading its operands from global memory
//   2_shared_tile.cu     a block keeps a square tile of each operand in shared memory
//   3_register_tile.cu   a thread keeps a small tile of the result in registers
//   gemm.cu              the catalogue's entry, and the choice
//
// This header is what the rungs share, and how other ops (conv/) call them.

#include "kernels/catalogue.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// One product. op(a) is a as it lies, (M, K), or its transpose where trans_a: a then lies as (K, M). The same for b.
/// The sum is kept in float whatever T is. y is not read where beta is 0.
template <class T, class Out>
struct GemmCall {
  const T* a;
  const T* b;
  const T* bias;  ///< (N), or null
  Out* y;
  int64_t M, N, K;
  bool trans_a = false, trans_b = false;
  float alpha = 1, beta = 0;
};

template <class T, class Out>
void gemm_naive(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_shared_tile(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_register_tile(const GemmCall<T, Out>& call, Stream stream);

/// The launcher's choice among the above. T and Out are float, __nv_bfloat16, or T bfloat16 with Out float.
template <class T, class Out>
void gemm_best(const GemmCall<T, Out>& call, Stream stream);

/// Writes one element of the result from its finished sum.
template <class T, class Out>
__device__ __forceinline__ void gemm_store(const GemmCall<T, Out>& call, int64_t m, int64_t n, float sum) {
  Out& y = call.y[m * call.N + n];
  float value = call.alpha * sum;
  if (call.beta != 0) value += call.beta * static_cast<float>(y);
  if (call.bias != nullptr) value += static_cast<float>(call.bias[n]);
  y = static_cast<Out>(value);
}

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace weft::WEFT_TARGET
