// gemm, rung 11, wgmma and TMA. The formula and its costs stand in gemm.h; tiles and boxes in wgmma_tile.h.

#include "kernels/gemm/wgmma_tile.h"

namespace weft::WEFT_TARGET {
namespace {

/// A block of one warpgroup computes 128 x 128 of y.
constexpr int kBlockM = 128, kBlockN = 128, kThreads = 128;

// Rung 11, wgmma and TMA. Rung 10's warps spent their instructions on carrying: addresses and cp.async for every 16
// bytes, ldmatrix for every fragment, and a mma.sync of 4096 flops for what came of it. Hopper has units for both. One
// thread tells the copy engine (TMA) which box of the matrix it wants, and the engine works out addresses, edges and
// swizzle; four warps together issue wgmma, 64 x 128 x 16 at a time, and the tensor cores fetch both operands from
// shared memory themselves. What is left for the threads is to say when: an mbarrier is passed once the announced bytes
// have landed.
//
// There is one tile of each operand: it is copied, then multiplied, in turns.
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(kThreads)
    gemm_wgmma_tma_kernel(GemmCall<T, Out> call, const __grid_constant__ TensorMap map_a,
                          const __grid_constant__ TensorMap map_b) {
#if WEFT_HAS_HOPPER
  using TileA = WgmmaTile<kBlockM, !kTransA>;
  using TileB = WgmmaTile<kBlockN, kTransB>;
  auto* const tile_a = dynamic_shared<unsigned char>();
  auto* const tile_b = tile_a + TileA::kBytes;
  auto* const full = reinterpret_cast<std::uint64_t*>(tile_b + TileB::kBytes);

  const auto column_blocks = static_cast<unsigned>((call.N + kBlockN - 1) / kBlockN);
  const int m0 = static_cast<int>(blockIdx.x / column_blocks) * kBlockM;  // this block's first row of y
  const int n0 = static_cast<int>(blockIdx.x % column_blocks) * kBlockN;  // and its first column
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();

  float upper[kBlockN / 2], lower[kBlockN / 2];  // sums of rows 0 to 63, and of rows 64 to 127
  const int tiles = static_cast<int>((call.K + TileA::kDepth - 1) / TileA::kDepth);
  for (int tile = 0; tile < tiles; ++tile) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect_tx(full, TileA::kBytes + TileB::kBytes);
      TileA::load(tile_a, map_a, m0, tile * TileA::kDepth, full);
      TileB::load(tile_b, map_b, n0, tile * TileB::kDepth, full);
    }
    mbarrier_wait(full, tile % 2);
    wgmma_fence();
    multiply_tile<TileA, TileB>(upper, TileA::descriptor(tile_a, 0), TileB::descriptor(tile_b, 0), tile > 0);
    multiply_tile<TileA, TileB>(lower, TileA::descriptor(tile_a, 64), TileB::descriptor(tile_b, 0), tile > 0);
    wgmma_commit_group();
    wgmma_wait_group<0>();
    wgmma_keep(upper);
    wgmma_keep(lower);
    __syncthreads();  // all four warps have done with the tile before it is overwritten
  }
  store_registers(call, m0, n0, upper);
  store_registers(call, m0 + 64, n0, lower);
#endif
}

}  // namespace

template <class Out>
void gemm_wgmma_tma(const GemmCall<bfloat16, Out>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const auto blocks = static_cast<unsigned>(ceil_div(call.M, kBlockM) * ceil_div(call.N, kBlockN));
    launch(gemm_wgmma_tma_kernel<kTransA, kTransB, bfloat16, Out>,
           {.grid = dim3(blocks),
            .block = dim3(kThreads),
            .shared_bytes = TileA::kBytes + TileB::kBytes + 8,
            .stream = stream},
           call, TileA::map(call.a, call.lda, call.M, call.K), TileB::map(call.b, call.ldb, call.N, call.K));
  });
}

template void gemm_wgmma_tma(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_wgmma_tma(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
