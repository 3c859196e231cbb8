// gemm, rung 14, persistent. The formula and its costs stand in gemm.h; the ring in wgmma_ring.h, the order in
// tile_order.h.

#include <algorithm>

#include "kernels/gemm/tile_order.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr int kBlockM = 128, kBlockN = 256, kStages = 4;

// Rung 14, persistent. A block of rung 13 computed one tile and ended: before its first product it waited for its first
// copies, and while it wrote its result its multiprocessor multiplied nothing, as there is room for one block only.
// Here a block stays and takes tile after tile. The ring goes on across tiles: while the consumers write one tile's
// result, the producer already fetches the next one's operands. And as it is now known which tiles are computed at the
// same time, their order is chosen so that they share what they read (tile_order.h).
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(kRingThreads, 1)
    gemm_persistent_kernel(GemmCall<T, Out> call, TileOrder order, const __grid_constant__ TensorMap map_a,
                           const __grid_constant__ TensorMap map_b) {
#if WEFT_HAS_HOPPER
  using TileA = WgmmaTile<kBlockM, !kTransA>;
  using TileB = WgmmaTile<kBlockN, kTransB>;
  const Ring<TileA, TileB, kStages> ring{dynamic_shared<unsigned char>()};
  const int tiles = static_cast<int>((call.K + TileA::kDepth - 1) / TileA::kDepth);
  if (threadIdx.x == 0) ring.initialise(2);
  __syncthreads();

  RingPosition<kStages> at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const int first = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) {
      for (int index = first; index < order.count(); index += step) {
        const TilePlace place = order.place(index);
        ring.produce(at, map_a, map_b, place.row * kBlockM, place.column * kBlockN, tiles);
      }
    }
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;  // rows 64 group and on
    for (int index = first; index < order.count(); index += step) {
      const TilePlace place = order.place(index);
      float sums[kBlockN / 2];
      ring.consume(at, group, tiles, sums, [&](int stage) {
        if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty(stage));
      });
      store_registers(call, int64_t{place.row} * kBlockM + group * 64, int64_t{place.column} * kBlockN, sums);
    }
  }
#endif
}

}  // namespace

template <class Out>
void gemm_persistent(const GemmCall<bfloat16, Out>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const TileOrder order{static_cast<int>(ceil_div(call.M, kBlockM)), static_cast<int>(ceil_div(call.N, kBlockN))};
    launch(gemm_persistent_kernel<kTransA, kTransB, bfloat16, Out>,
           {.grid = dim3(static_cast<unsigned>(std::min(order.count(), multiprocessor_count()))),
            .block = dim3(kRingThreads),
            .shared_bytes = Ring<TileA, TileB, kStages>::kSharedBytes,
            .stream = stream},
           call, order, TileA::map(call.a, call.lda, call.M, call.K), TileB::map(call.b, call.ldb, call.N, call.K));
  });
}

template void gemm_persistent(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_persistent(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
