// gemm, rung 1, naive. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr int kBlock = 256;

// Rung 1, naive. A thread computes one element of y, as the formula says. Neighbouring threads have neighbouring
// columns n, so where b lies as (K, N) a warp's read of b is 4 sectors, and its read of a is one address for all. But
// every thread reads 2K numbers for its 2K flops: a byte of traffic for every quarter of a flop, and all the reuse
// there is left to the caches. Where b is transposed, a warp's read touches 32 lines.
template <class T, class Out>
__global__ void gemm_naive_kernel(GemmCall<T, Out> call) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, M N)
  if (element >= call.M * call.N) return;
  const int64_t m = element / call.N, n = element % call.N;
  // op(a)[m][k] lies at a + k * a_step, op(b)[k][n] at b + k * b_step.
  const T* a = call.a + (call.trans_a ? m : m * call.lda);
  const T* b = call.b + (call.trans_b ? n * call.ldb : n);
  const int64_t a_step = call.trans_a ? call.lda : 1;
  const int64_t b_step = call.trans_b ? 1 : call.ldb;
  float sum = 0;
  for (int64_t k = 0; k < call.K; ++k) sum += static_cast<float>(a[k * a_step]) * static_cast<float>(b[k * b_step]);
  store_sum(call, m, n, sum);
}

}  // namespace

template <class T, class Out>
void gemm_naive(const GemmCall<T, Out>& call, Stream stream) {
  const auto blocks = static_cast<unsigned>(ceil_div(call.M * call.N, kBlock));
  launch(gemm_naive_kernel<T, Out>, {.grid = dim3(blocks), .block = dim3(kBlock), .stream = stream}, call);
}

template void gemm_naive(const GemmCall<float, float>&, Stream);
template void gemm_naive(const GemmCall<__nv_bfloat16, __nv_bfloat16>&, Stream);
template void gemm_naive(const GemmCall<__nv_bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
