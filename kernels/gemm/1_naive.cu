// gemm, rung 1, naive. The formula and its costs stand in gemm.h.

#include "kernels/gemm/element_sum.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 1, naive. A thread computes one element of y, as the formula says, and elements are handed out down the columns,
// as one may well begin. So the 32 threads of a warp have 32 neighbouring rows m. A warp's read of a, which lies as
// (M, K), touches 32 addresses lda apart: 32 sectors of 32 bytes, of which it uses 4 bytes each. Its read of b is one
// address for all. Its store to y is spread over 32 rows again. And every thread reads 2K numbers for its 2K flops.
template <class T, class Out>
__global__ void gemm_naive_kernel(GemmCall<T, Out> call) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, M N)
  if (element >= call.M * call.N) return;
  const int64_t m = element % call.M, n = element / call.M;  // neighbouring threads: neighbouring rows
  store_sum(call, m, n, element_sum(call, m, n));
}

}  // namespace

template <class T, class Out>
void gemm_naive(const GemmCall<T, Out>& call, Stream stream) {
  launch(gemm_naive_kernel<T, Out>, {.grid = blocks_for(call.M * call.N, kBlock), .block = kBlock, .stream = stream},
         call);
}

template void gemm_naive(const GemmCall<float, float>&, Stream);
template void gemm_naive(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_naive(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
