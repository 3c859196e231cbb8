#pragma once
// The loop of the multistage rungs, gemm's rung 10 and the convolutions' of the same kind: tiles on their way by
// cp.async while others are multiplied. What a tile holds, and where it is fetched from, is the caller's.

#include "kernels/gemm/mma_tile.h"

namespace weft::WEFT_TARGET {

/// Tiles of each operand in shared memory: one that is multiplied, the others on their way.
inline constexpr int kMmaStages = 4;

/// Starts the copy of a chunk to shared memory, with 0 for the elements that do not exist. cp.async copies 4 bytes at
/// least: an operand of bf16 that starts at an odd element, or whose rows do, goes through registers.
struct CopyAsync {
  template <Access kAccess, class T>
  __device__ static __forceinline__ void copy(unsigned char* shared, const T* global, int elements) {
    const int bytes = elements * static_cast<int>(sizeof(T));
    if constexpr (kAccess == Access::chunk) {
      cp_async_cg(shared, global, bytes);
    } else if constexpr (kAccess == Access::word) {
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        const int rest = bytes - 4 * word;
        const int here = rest >= 4 ? 4 : rest > 0 ? rest : 0;
        const T* const source = here > 0 ? global + word * 4 / static_cast<int>(sizeof(T)) : global;
        cp_async_ca<4>(shared + 4 * word, source, here);
      }
    } else {
      Pack<T> chunk;
#pragma unroll
      for (int i = 0; i < Pack<T>::kSize; ++i) chunk.values[i] = i < elements ? global[i] : from_float<T>(0);
      *reinterpret_cast<Pack<T>*>(shared) = chunk;
    }
  }
};

/// sums += the product of `tiles` pairs of tiles, for a warp whose sums begin at (m, n) of the block's. fetch(tile,
/// stage) starts the thread's copies of a pair of tiles into the stage's places behind `tiles_a` and `tiles_b`; it is
/// called once for each, in order. At the return nothing is on its way and no thread reads a tile any more.
template <class T, class TileA, class TileB, int kM, int kN, class Fetch>
__device__ __forceinline__ void multiply_stages(const unsigned char* tiles_a, const unsigned char* tiles_b, int m,
                                                int n, int64_t tiles, const Fetch& fetch, float (&sums)[kM][kN][4]) {
  // There is a group for each tile, empty behind the last, so that the same number of groups may be pending at every
  // wait.
  const auto start = [&](int64_t tile, int stage) {
    if (tile < tiles) fetch(tile, stage);
    cp_async_commit_group();
  };
  MmaFragments<kM, kN> fragments[2];  // of step 0 and of step 1
  const auto load = [&](int stage, int step) {
    load_fragments<T, TileA, TileB>(tiles_a + stage * TileA::kBytes, tiles_b + stage * TileB::kBytes, m, n, step,
                                    fragments[step]);
  };

#pragma unroll
  for (int stage = 0; stage < kMmaStages - 1; ++stage) start(stage, stage);
  cp_async_wait_group<kMmaStages - 2>();  // tile 0: this thread's copies
  __syncthreads();                        // and everyone's
  if (tiles > 0) load(0, 0);

  int stage = 0;  // of the tile that is multiplied
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int before = stage == 0 ? kMmaStages - 1 : stage - 1, next = stage == kMmaStages - 1 ? 0 : stage + 1;
    start(tile + kMmaStages - 1, before);
    load(stage, 1);
    multiply_fragments<T>(fragments[0], sums);
    cp_async_wait_group<kMmaStages - 2>();  // tile + 1: this thread's copies
    __syncthreads();  // everyone's, and everyone has read what the next turn overwrites: this tile
    if (tile + 1 < tiles) load(next, 0);
    multiply_fragments<T>(fragments[1], sums);
    stage = next;
  }
}

}  // namespace weft::WEFT_TARGET
