// gemm, rung 12, warp specialised. The formula and its costs stand in gemm.h; the ring in wgmma_ring.h.

#include "kernels/gemm/wgmma_ring.h"

namespace weft::WEFT_TARGET {
namespace {

/// A block computes 128 x 128 of y: two consumer warpgroups of 64 x 128, and a producer.
constexpr int kBlockM = 128, kBlockN = 128, kStages = 4;

// Rung 12, warp specialised. Rung 11 copied and multiplied in turns, so either the copy engine or the tensor cores
// stood still. Rung 10 had overlapped the two by hand, every thread doing a bit of both in an order worked out in
// advance. Here warps take roles: one thread of the producer warpgroup does nothing but ask for tiles, four stages
// ahead; two consumer warpgroups do nothing but multiply. They meet only at the stages' mbarriers, so whoever is late
// holds up nobody that does not need him. And as the roles need different numbers of registers, the producer gives most
// of its own away.
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(kRingThreads, 1)
    gemm_warp_specialised_kernel(GemmCall<T, Out> call, const __grid_constant__ TensorMap map_a,
                                 const __grid_constant__ TensorMap map_b) {
#if WEFT_HAS_HOPPER
  using TileA = WgmmaTile<kBlockM, !kTransA>;
  using TileB = WgmmaTile<kBlockN, kTransB>;
  const Ring<TileA, TileB, kStages> ring{dynamic_shared<unsigned char>()};

  const auto column_blocks = static_cast<unsigned>((call.N + kBlockN - 1) / kBlockN);
  const int m0 = static_cast<int>(blockIdx.x / column_blocks) * kBlockM;  // this block's first row of y
  const int n0 = static_cast<int>(blockIdx.x % column_blocks) * kBlockN;  // and its first column
  const int tiles = static_cast<int>((call.K + TileA::kDepth - 1) / TileA::kDepth);
  if (threadIdx.x == 0) ring.initialise(2);
  __syncthreads();

  RingPosition<kStages> at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) ring.produce(at, map_a, map_b, m0, n0, tiles);
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;  // rows 64 group and on
    float sums[kBlockN / 2];
    for (int tile = 0; tile < tiles; ++tile, at.next()) {
      mbarrier_wait(ring.full(at.stage), at.parity);
      wgmma_fence();
      multiply_tile<TileA, TileB>(sums, TileA::descriptor(ring.a(at.stage), group * 64),
                                  TileB::descriptor(ring.b(at.stage), 0), tile > 0);
      wgmma_commit_group();
      wgmma_wait_group<0>();
      wgmma_keep(sums);
      if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty(at.stage));
    }
    store_registers(call, m0 + group * 64, n0, sums);
  }
#endif
}

}  // namespace

template <class Out>
void gemm_warp_specialised(const GemmCall<bfloat16, Out>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const auto blocks = static_cast<unsigned>(ceil_div(call.M, kBlockM) * ceil_div(call.N, kBlockN));
    launch(gemm_warp_specialised_kernel<kTransA, kTransB, bfloat16, Out>,
           {.grid = dim3(blocks),
            .block = dim3(kRingThreads),
            .shared_bytes = Ring<TileA, TileB, kStages>::kSharedBytes,
            .stream = stream},
           call, TileA::map(call.a, call.lda, call.M, call.K), TileB::map(call.b, call.ldb, call.N, call.K));
  });
}

template void gemm_warp_specialised(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_warp_specialised(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
