// gemm, rung 16, TMA store. The formula and its costs stand in gemm.h; how a pair of blocks works in cluster_pair.h.

#include "kernels/gemm/cluster_pair.h"
#include "kernels/gemm/store_pieces.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr int kBlockM = 128, kBlockN = 256, kStages = 4;

// Rung 16, TMA store. A consumer of rung 15 wrote each pair of its sums straight to y: 4 bytes a lane, eight rows of 16
// bytes an instruction, 64 times over, and until the last one was on its way the tensor cores had nothing to do. Here a
// piece of 64 x 64 goes to shared memory with four stmatrix, and the copy engine carries it off, whole lines at a time
// and nothing beyond y's edge, while the next piece is made and while the next tile is multiplied: a buffer is waited
// for only when it is to be written again.
template <bool kTransA, bool kTransB, class T>
__global__ void __launch_bounds__(kRingThreads, 1)
    gemm_tma_store_kernel(GemmCall<T, bfloat16> call, TileOrder order, const __grid_constant__ TensorMap map_a,
                          const __grid_constant__ TensorMap map_b, const __grid_constant__ TensorMap map_y) {
#if WEFT_HAS_HOPPER
  using TileA = WgmmaTile<kBlockM, !kTransA>;
  using TileB = WgmmaTile<kBlockN, kTransB>;
  const Ring<TileA, TileB, kStages, 2 * kPieceBuffersBytes> ring{dynamic_shared<unsigned char>()};
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
    unsigned char* const buffers = ring.more() + group * kPieceBuffersBytes;
    const unsigned barrier = 1 + static_cast<unsigned>(group);
    const bool aligned = epilogue_is_aligned<2>(call);
    const bool plain = call.beta == 0 && call.bias == nullptr && call.residual == nullptr && !call.relu;
    for (int index = first; index < order.count(); index += step) {
      const TilePlace place = order.place(index);
      const int m0 = row_of(place) + group * 64, n0 = place.column * kBlockN;
      float sums[kBlockN / 2];
      ring.consume(at, group, tiles, sums, [&](int stage) { release_pair(ring, stage); });
      if (plain)  // nothing to finish but alpha, which spares each pair the questions whether there is
        store_pieces(map_y, m0, n0, sums, buffers, barrier, [&](int64_t, int64_t, float(&pair)[2]) {
          pair[0] *= call.alpha;
          pair[1] *= call.alpha;
        });
      else
        store_pieces(map_y, m0, n0, sums, buffers, barrier, [&](int64_t row, int64_t column, float(&pair)[2]) {
          if (row < call.M) finish_sums<2>(call, row, column, aligned, pair);
        });
    }
    if (threadIdx.x % 128 == 0) bulk_wait_group_read<0>();  // the buffers go with the block
  }
  __syncwarp();    // a warp comes to the cluster's barrier as one: it is .aligned
  cluster_sync();  // the other block may still write here, and arrive
#endif
}

}  // namespace

void gemm_tma_store(const GemmCall<bfloat16, bfloat16>& call, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    using TileA = WgmmaTile<kBlockM, !kTransA>;
    using TileB = WgmmaTile<kBlockN, kTransB>;
    const PairOrder pairs = pair_order<kBlockM, kBlockN>(call);
    launch(gemm_tma_store_kernel<kTransA, kTransB, bfloat16>,
           {.grid = dim3(pairs.blocks),
            .block = dim3(kRingThreads),
            .shared_bytes = Ring<TileA, TileB, kStages, 2 * kPieceBuffersBytes>::kSharedBytes,
            .stream = stream,
            .cluster = dim3(kClusterBlocks)},
           call, pairs.order, TileA::map(call.a, call.lda, call.M, call.K),
           TileB::template map<kClusterBlocks>(call.b, call.ldb, call.N, call.K),
           piece_map(call.y, call.ldy, call.M, call.N));
  });
}

}  // namespace weft::WEFT_TARGET
