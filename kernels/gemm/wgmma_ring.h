#pragma once
// The ring of tiles between a producer and its consumers, which rungs 12 and on share.
//
// A stage holds one tile of each operand, and two mbarriers. `full` is passed when the bytes that the producer asked
// TMA for have landed; `empty`, when every consumer has done with them. Both sides go round the stages in the same
// order, so neither needs to tell the other which one it means, and each barrier's phase tells the rounds apart:
//
//   producer   wait empty[s] (of the round before) | announce bytes on full[s], start copies | s + 1 ...
//   consumer   wait full[s] | wgmma | arrive at empty[s] | s + 1 ...
//
// In the first round nothing has to be emptied: a fresh barrier lets a wait for the phase before its first one pass.

#include "kernels/gemm/wgmma_tile.h"

namespace weft::WEFT_TARGET {

/// Which stage, and which round: they go on together.
template <int kStages>
struct RingPosition {
  int stage = 0;
  unsigned parity = 0;  ///< of the round

  __device__ __forceinline__ void next() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

/// kStages pairs of tiles in dynamic shared memory, then their barriers, then what a rung wants beside (kMore bytes).
template <class TileA_, class TileB_, int kStages_, int kMore = 0>
struct Ring {
  using TileA = TileA_;
  using TileB = TileB_;
  static constexpr int kStages = kStages_;
  static constexpr int kStageBytes = TileA::kBytes + TileB::kBytes;
  static constexpr unsigned kSharedBytes = kStages * kStageBytes + kMore + kStages * 16;
  static_assert(kSharedBytes <= 227 * 1024, "what a block of sm_90 can have");
  using Position = RingPosition<kStages>;

  unsigned char* memory;

  __device__ __forceinline__ unsigned char* a(int stage) const { return memory + stage * kStageBytes; }
  __device__ __forceinline__ unsigned char* b(int stage) const { return a(stage) + TileA::kBytes; }
  __device__ __forceinline__ unsigned char* more() const { return memory + kStages * kStageBytes; }
  __device__ __forceinline__ std::uint64_t* full(int stage) const {
    return reinterpret_cast<std::uint64_t*>(more() + kMore) + stage;
  }
  __device__ __forceinline__ std::uint64_t* empty(int stage) const { return full(kStages + stage); }

#if WEFT_HAS_HOPPER
  /// One thread does it; a barrier follows. `consumers` is how many arrive at each `empty`.
  __device__ __forceinline__ void initialise(unsigned consumers) const {
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(full(stage), 1);
      mbarrier_init(empty(stage), consumers);
    }
    fence_mbarrier_init();
  }

  /// One thread of the producer: waits until the stage is empty, and announces the bytes of its tiles.
  __device__ __forceinline__ void announce(const Position& at) const {
    mbarrier_wait(empty(at.stage), at.parity ^ 1);
    mbarrier_arrive_expect_tx(full(at.stage), kStageBytes);
  }

  /// One thread of the producer: the tiles of `tiles` steps along k, for rows m and columns n of y.
  __device__ __forceinline__ void produce(Position& at, const TensorMap& map_a, const TensorMap& map_b, int m, int n,
                                          int tiles) const {
    for (int tile = 0; tile < tiles; ++tile, at.next()) {
      announce(at);
      TileA::load(a(at.stage), map_a, m, tile * TileA::kDepth, full(at.stage));
      TileB::load(b(at.stage), map_b, n, tile * TileB::kDepth, full(at.stage));
    }
  }

  /// A consumer warpgroup, for the 64 rows from 64 `group` of op(a)'s tile on, and the 2 kRegisters columns from
  /// `column` (a multiple of 64) of op(b)'s: sums = the product of `tiles` pairs of tiles. One group of
  /// products stays under way while the next is issued, so the tensor cores never run dry; a stage is given back
  /// (release(stage), by every thread) when the group after it has been issued.
  template <int kRegisters, class Release>
  __device__ __forceinline__ void consume(Position& at, int group, int tiles, float (&sums)[kRegisters],
                                          const Release& release, int column = 0) const {
    int before = 0;
    for (int tile = 0; tile < tiles; ++tile, at.next()) {
      mbarrier_wait(full(at.stage), at.parity);
      wgmma_fence();
      multiply_tile<TileA, TileB>(sums, TileA::descriptor(a(at.stage), group * 64),
                                  TileB::descriptor(b(at.stage), column), tile > 0);
      wgmma_commit_group();
      wgmma_wait_group<1>();
      if (tile > 0) release(before);
      before = at.stage;
    }
    wgmma_wait_group<0>();
    wgmma_keep(sums);
    release(before);
  }
#endif
};

/// Registers a thread of a block of one producer and two consumer warpgroups: 168 each to begin with, as 65536 / 384 in
/// eights. The producer needs few, and the consumers' sums alone take 128.
inline constexpr unsigned kProducerRegisters = 40, kConsumerRegisters = 232;
inline constexpr int kRingThreads = 3 * 128;

}  // namespace weft::WEFT_TARGET
