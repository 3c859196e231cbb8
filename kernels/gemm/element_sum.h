#pragma once
// gemm's inner sum as the formula has it, for the rungs in which a thread computes one element.

#include "kernels/element.h"
#include "kernels/gemm/gemm.h"

namespace weft::WEFT_TARGET {

/// sum over k of op(a)[m][k] op(b)[k][n].
template <class T, class Out>
__device__ __forceinline__ float element_sum(const GemmCall<T, Out>& call, int64_t m, int64_t n) {
  // op(a)[m][k] lies at a + k * a_step, op(b)[k][n] at b + k * b_step.
  const T* a = call.a + (call.trans_a ? m : m * call.lda);
  const T* b = call.b + (call.trans_b ? n * call.ldb : n);
  const int64_t a_step = call.trans_a ? call.lda : 1;
  const int64_t b_step = call.trans_b ? 1 : call.ldb;
  float sum = 0;
  for (int64_t k = 0; k < call.K; ++k) sum += to_float(a[k * a_step]) * to_float(b[k * b_step]);
  return sum;
}

}  // namespace weft::WEFT_TARGET
