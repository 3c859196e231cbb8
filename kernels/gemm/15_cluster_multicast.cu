// gemm, rung 15, cluster multicast. The formula and its costs stand in gemm.h; how a pair of blocks works in
// cluster_pair.h.

#include "kernels/gemm/cluster_pair.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr int kBlockM = 128, kBlockN = 256, kStages = 4;

// Rung 15, cluster multicast. Neighbouring blocks of rung 14 each fetched the same tile of op(b), two thirds of all
// that they read, and L2 had to hand it out to each of them. A cluster of two blocks fetches it once: half each,
// written to both (cluster_pair.h). For each tile of 128 x 256 a block now asks L2 for 128 + 128 rows instead of 128 +
// 256.
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(kRingThreads, 1)
    gemm_cluster_multicast_kernel(GemmCall<T, Out> call, TileOrder order, const __grid_constant__ TensorMap map_a,
                                  const __grid_constant__ TensorMap map_b) {
#if WEFT_HAS_HOPPER
  using TileA = WgmmaTile<kBlockM, !kTransA>;
  using TileB = WgmmaTile<kBlockN, kTransB>;
  using TileRing = Ring<TileA, TileB, kStages>;
  const TileRing ring{dynamic_shared<unsigned char>()};
  const int tiles = static_cast<int>((call.K + TileA::kDepth - 1) / TileA::kDepth);
  begin_pair(ring);

  RingPosition<kStages> at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const int first = static_cast<int>(blockIdx.x / kClusterBlocks), step = static_cast<int>(gridDim.x / kClusterBlocks);
  const auto row_of = [&](TilePlace place) {
    return (place.row * static_cast<int>(kClusterBlocks) + static_cast<int>(cluster_rank())) * kBlockM;
  };
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) {
      for (int index = first; index < order.count(); index += step) {
        const TilePlace place = order.place(index);
        produce_pair(ring, at, map_a, map_b, row_of(place), place.column * kBlockN, tiles);
      }
    }
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;  // rows 64 group and on
    for (int index = first; index < order.count(); index += step) {
      const TilePlace place = order.place(index);
      float sums[kBlockN / 2];
      ring.consume(at, group, tiles, sums, [&](int stage) { release_pair(ring, stage); });
      store_registers(call, int64_t{row_of(place)} + group * 64, int64_t{place.column} * kBlockN, sums);
    }
  }
  __syncwarp();    // a warp comes to the cluster's barrier as one: it is .aligned
  cluster_sync();  // the other block may still write here, and arrive
#endif
}

}  // namespace

template <class Out>
void gemm_cluster_multicast(const GemmCall<bfloat16, Out>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const PairOrder pairs = pair_order<kBlockM, kBlockN>(call);
    launch(gemm_cluster_multicast_kernel<kTransA, kTransB, bfloat16, Out>,
           {.grid = dim3(pairs.blocks),
            .block = dim3(kRingThreads),
            .shared_bytes = Ring<TileA, TileB, kStages>::kSharedBytes,
            .stream = stream,
            .cluster = dim3(kClusterBlocks)},
           call, pairs.order, TileA::map(call.a, call.lda, call.M, call.K),
           TileB::template map<kClusterBlocks>(call.b, call.ldb, call.N, call.K));
  });
}

template void gemm_cluster_multicast(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_cluster_multicast(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
