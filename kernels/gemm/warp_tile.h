#pragma once
// How a block's tile of y is dealt out to warps and lanes, for the rungs from warp-tile on. The reasons stand in
// 7_warp_tile.cu.

#include "kernels/gemm/tile.h"

namespace weft::WEFT_TARGET {

/// A block's kWarpsM x kWarpsN warps compute kBlockM x kBlockN of y in steps of kBlockK. In a warp 8 x 4 lanes compute
/// kWarpM x kWarpN; a lane kThreadM x kThreadN of that, in pieces of 4 x 4 that lie kApartM rows and kApartN columns
/// apart.
template <int kWarpsM_, int kWarpsN_, int kThreadM_, int kThreadN_, int kBlockK_>
struct WarpTiling {
  static constexpr int kLanesM = 8, kLanesN = 4;
  static constexpr int kThreadM = kThreadM_, kThreadN = kThreadN_, kBlockK = kBlockK_;
  static constexpr int kWarpsN = kWarpsN_;
  static constexpr int kApartM = kLanesM * 4, kApartN = kLanesN * 4;
  static constexpr int kWarpM = kLanesM * kThreadM, kWarpN = kLanesN * kThreadN;
  static constexpr int kBlockM = kWarpsM_ * kWarpM, kBlockN = kWarpsN_ * kWarpN;
  static constexpr int kThreads = kWarpsM_ * kWarpsN_ * 32;
  static_assert(kThreadM % 4 == 0 && kThreadN % 4 == 0, "shared memory is read four floats at a time");
  static_assert(kThreads <= 1024);
};

/// A thread's first row and column within the block's tile.
struct ThreadOrigin {
  int m, n;
};
template <class Tile>
__host__ __device__ __forceinline__ ThreadOrigin thread_origin(int thread) {
  static_assert(Tile::kLanesM == 8 && Tile::kLanesN == 4, "the bits of a lane's number are dealt out for 8 x 4");
  const int warp = thread / 32, lane = thread % 32;
  // Bits 0 and 2 of the lane count columns, bits 1, 3 and 4 rows.
  const int lane_n = (lane & 1) | (lane >> 1 & 2), lane_m = (lane >> 1 & 1) | (lane >> 2 & 6);
  return {warp / Tile::kWarpsN * Tile::kWarpM + lane_m * 4, warp % Tile::kWarpsN * Tile::kWarpN + lane_n * 4};
}

}  // namespace weft::WEFT_TARGET
