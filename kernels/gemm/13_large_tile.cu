// gemm, rung 13, large tile. The formula and its costs stand in gemm.h; the ring in wgmma_ring.h.

#include "kernels/gemm/wgmma_ring.h"

namespace weft::WEFT_TARGET {
namespace {

/// A block computes 128 x 256 of y: two consumer warpgroups of 64 x 256, and a producer.
constexpr int kBlockM = 128, kBlockN = 256, kStages = 4;

// Rung 13, large tile. Two things held rung 12 back. A tile of 128 x 128 multiplies each number that it reads 128
// times: the two operands' tiles are read from shared memory about as fast as the tensor cores take them, and no
// faster. At 128 x 256 a number of op(a) serves 256 products, and a third fewer bytes cross both L2 and shared memory
// for each flop; the sums take 128 registers of each consumer thread, which is what the producer's gift was for. And
// rung 12 waited for each tile's products before it issued the next ones, so the tensor cores idled from the end of one
// to the start of the other; here one group is under way while the next is issued (Ring::consume).
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(kRingThreads, 1)
    gemm_large_tile_kernel(GemmCall<T, Out> call, const __grid_constant__ TensorMap map_a,
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
    ring.consume(at, group, tiles, sums, [&](int stage) {
      if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty(stage));
    });
    store_registers(call, m0 + group * 64, n0, sums);
  }
#endif
}

}  // namespace

template <class Out>
void gemm_large_tile(const GemmCall<bfloat16, Out>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const auto blocks = static_cast<unsigned>(ceil_div(call.M, kBlockM) * ceil_div(call.N, kBlockN));
    launch(gemm_large_tile_kernel<kTransA, kTransB, bfloat16, Out>,
           {.grid = dim3(blocks),
            .block = dim3(kRingThreads),
            .shared_bytes = Ring<TileA, TileB, kStages>::kSharedBytes,
            .stream = stream},
           call, TileA::map(call.a, call.lda, call.M, call.K), TileB::map(call.b, call.ldb, call.N, call.K));
  });
}

template void gemm_large_tile(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_large_tile(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
