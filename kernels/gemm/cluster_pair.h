#pragma once
// Two blocks that share what they read, which rungs 15 and 16 have in common.
//
// The two blocks of a cluster compute tiles of y one below the other, so both need the same tile of op(b). Each fetches
// half of it and has the copy engine write that half into both blocks' shared memory (multicast). What a block's `full`
// barrier waits for is unchanged: its own tile of op(a), and both halves of op(b), one of which the other block asked
// for. But whoever fetches a half overwrites a stage of both blocks, and so must know that the consumers of both have
// done with it: each consumer warpgroup arrives at the `empty` barrier of its own block and at the other's.
//
//   block 0   tile of op(a), rows m0       half 0 of op(b) ----> blocks 0 and 1
//   block 1   tile of op(a), rows m0+128   half 1 of op(b) ----> blocks 0 and 1

#include <algorithm>

#include "kernels/gemm/tile_order.h"

namespace weft::WEFT_TARGET {

inline constexpr unsigned kClusterBlocks = 2;

#if WEFT_HAS_HOPPER

/// All threads of both blocks: barriers made, and seen by the other block.
template <class Ring>
__device__ __forceinline__ void begin_pair(const Ring& ring) {
  if (threadIdx.x == 0) ring.initialise(2 * kClusterBlocks);
  __syncwarp();              // a warp comes to the cluster's barrier as one: it is .aligned
  cluster_arrive_relaxed();  // the initialisation has its own fence
  cluster_wait();
}

/// As Ring::produce, but of op(b) one half, for both blocks.
template <class Ring>
__device__ __forceinline__ void produce_pair(const Ring& ring, typename Ring::Position& at, const TensorMap& map_a,
                                             const TensorMap& map_b, int m, int n, int tiles) {
  constexpr std::uint16_t kBoth = 0b11;
  const int rank = static_cast<int>(cluster_rank());
  for (int tile = 0; tile < tiles; ++tile, at.next()) {
    std::uint64_t* const full = ring.full(at.stage);
    mbarrier_wait(ring.empty(at.stage), at.parity ^ 1);
    mbarrier_arrive_expect_tx(full, Ring::kStageBytes);
    Ring::TileA::load(ring.a(at.stage), map_a, m, tile * Ring::TileA::kDepth, full);
    Ring::TileB::template load<kClusterBlocks>(ring.b(at.stage), map_b, n, tile * Ring::TileB::kDepth, full, rank,
                                               kBoth);
  }
}

/// A thread of a consumer warpgroup has done with a stage: two threads of two warps tell one block each. The products
/// that read it are complete and nothing was written, so there is nothing to release.
template <class Ring>
__device__ __forceinline__ void release_pair(const Ring& ring, int stage) {
  const unsigned thread = threadIdx.x % 128;
  if (thread % 32 == 0 && thread / 32 < kClusterBlocks) mbarrier_arrive_cluster_relaxed(ring.empty(stage), thread / 32);
}

#endif

/// Pairs of tiles of y, and how many blocks work on them.
struct PairOrder {
  TileOrder order;
  unsigned blocks;
};
template <int kBlockM, int kBlockN, class T, class Out>
PairOrder pair_order(const GemmCall<T, Out>& call) {
  const TileOrder order{static_cast<int>(ceil_div(call.M, kClusterBlocks * kBlockM)),
                        static_cast<int>(ceil_div(call.N, kBlockN))};
  const int pairs = std::min(order.count(), std::max(1, multiprocessor_count() / static_cast<int>(kClusterBlocks)));
  return {order, static_cast<unsigned>(pairs) * kClusterBlocks};
}

}  // namespace weft::WEFT_TARGET
