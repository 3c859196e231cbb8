// gemm, rung 2, coalesced. The formula and its costs stand in gemm.h.

#include "kernels/gemm/element_sum.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 2, coalesced. The naive warp fetched 32 sectors for each of its reads of a. Handing out elements along the rows
// mends that with one line: the threads of a warp have one row m and 32 neighbouring columns n. Now the read of a is
// one address for all, the read of b 32 neighbours, 4 whole sectors, and so is the store to y. (Where b is transposed,
// its read is the one that is spread.) Still every thread reads 2K numbers for its 2K flops, a byte of traffic for
// every quarter of a flop, and all the reuse there is is left to the caches.
template <class T, class Out>
__global__ void gemm_coalesced_kernel(GemmCall<T, Out> call) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, M N)
  if (element >= call.M * call.N) return;
  const int64_t m = element / call.N, n = element % call.N;  // neighbouring threads: neighbouring columns
  store_sum(call, m, n, element_sum(call, m, n));
}

}  // namespace

template <class T, class Out>
void gemm_coalesced(const GemmCall<T, Out>& call, Stream stream) {
  launch(gemm_coalesced_kernel<T, Out>,
         {.grid = blocks_for(call.M * call.N, kBlock), .block = kBlock, .stream = stream}, call);
}

template void gemm_coalesced(const GemmCall<float, float>&, Stream);
template void gemm_coalesced(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_coalesced(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
