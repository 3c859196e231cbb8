#pragma once
// Threads over packs of channels, for batch norm, global pooling and the gradients of biases and depthwise filters. A
// block of kBlock threads lies over (rows, C) as
// `lanes` threads side by side, a power of two, with kVector channels each, and kBlock / lanes rows below each other.
// With 8 lanes of 16 bytes a row is a line of 128 bytes, four whole sectors; a channel's own numbers are read once a
// block, into shared memory. Where C is no multiple of a pack's elements, rows do not begin at multiples of 16 bytes,
// and kVector is 1.

#include <algorithm>

#include "kernels/element.h"
#include "kernels/launch_math.h"
#include "kernels/reduce.h"
#include "kernels/target.h"
#include "kernels/vector.h"

namespace weft::WEFT_TARGET {

inline constexpr int kMostChannels = 64;  // of a block: 8 lanes of 8 bfloat16

/// Where a thread stands in its block.
struct Place {
  int64_t channel;  ///< the first of its kVector
  int row, rows_at_once;
  bool inside;  ///< false: its channels lie behind the last
};

template <int kVector>
__device__ inline Place place_of_thread(int lanes, int64_t group, int64_t C) {
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t channel = (group * lanes + thread % lanes) * kVector;
  return {channel, thread / lanes, kBlock / lanes, channel < C};
}

/// Rows of a thread among [begin, end).
__device__ inline int rows_of_thread(const Place& at, int64_t begin, int64_t end) {
  if (!at.inside || begin + at.row >= end) return 0;
  return static_cast<int>((end - begin - at.row - 1) / at.rows_at_once + 1);
}

/// Shared memory that sum_over_block_rows wants: each warp's sums.
template <int kSums>
using WarpSums = float[kSums][kBlock / 32][kMostChannels];

/// The sums over the block's rows of kSums values for each of a thread's channels. Thread c, c < lanes kVector, gets
/// those of the block's channel c. Every thread calls; a barrier has to lie between two calls. The order is fixed.
template <int kSums, int kVector>
__device__ inline void sum_over_block_rows(const float (&values)[kSums][kVector], int lanes, float (&sums)[kSums],
                                           WarpSums<kSums>& of_warp) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  for (int s = 0; s < kSums; ++s)
    for (int v = 0; v < kVector; ++v) {
      float value = values[s][v];
      for (int mask = 16; mask >= lanes; mask /= 2) value += __shfl_xor_sync(kWholeWarp, value, mask);
      if (lane < lanes) of_warp[s][warp][lane * kVector + v] = value;
    }
  __syncthreads();
  for (int s = 0; s < kSums; ++s) {
    sums[s] = 0;
    if (static_cast<int>(threadIdx.x) < lanes * kVector)
      for (int w = 0; w < kBlock / 32; ++w) sums[s] += of_warp[s][w][threadIdx.x];
  }
}

/// The same with shared memory of its own, for kernels whose blocks are no clusters: those keep to dynamic memory.
template <int kSums, int kVector>
__device__ inline void sum_over_block_rows(const float (&values)[kSums][kVector], int lanes, float (&sums)[kSums]) {
  __shared__ WarpSums<kSums> of_warp;
  sum_over_block_rows(values, lanes, sums, of_warp);
}

/// Lanes that cover `packs` packs of a row, `most` at most, a power of two.
inline int lanes_for(int64_t packs, int most) {
  while (most / 2 >= packs) most /= 2;
  return most;
}

/// How a grid lies over (rows, C): blocks (group of channels, chunk of rows). A pure function of the shape: the order
/// of the additions, and so the bits, are the same on every device.
struct VectorChunks {
  int lanes;
  int64_t chunks, rows_in_chunk;
  dim3 grid;
};

template <int kVector>
VectorChunks vector_chunks(int64_t rows, int64_t C) {
  constexpr int64_t kBlocks = 1024;     // about eight for each SM of an H100
  constexpr int64_t kFewestRows = 256;  // so that what a block reads and writes for each channel is 1% of what it moves
  const int64_t packs = C / kVector;
  const int lanes = lanes_for(packs, kVector == 1 ? 32 : 8);
  const int64_t groups = ceil_div(packs, lanes);
  const int64_t wanted = std::clamp<int64_t>(kBlocks / groups, 1, std::max<int64_t>(rows / kFewestRows, 1));
  const int64_t rows_in_chunk = ceil_div(rows, wanted), chunks = ceil_div(rows, rows_in_chunk);
  return {lanes, chunks, rows_in_chunk, dim3(static_cast<unsigned>(groups), static_cast<unsigned>(chunks))};
}

}  // namespace weft::WEFT_TARGET
