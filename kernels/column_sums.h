#pragma once
// How the sums over the rows of a (rows, C) matrix are shared out, for bias and batch norm: blocks of 32 x 8 threads,
// 32 channels side by side, 8 rows at a time, and the rows cut into chunks so that there are enough blocks.

#include <algorithm>

#include "kernels/element.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

inline constexpr int kColumns = 32;  // a warp side by side on a row: 128 bytes of float32
inline constexpr int kRows = 8;

/// Blocks (channel group, chunk of rows). A pure function of the shape: the order of the additions, and so the bits,
/// are the same on every device.
struct RowChunks {
  int64_t count;
  int64_t rows_in_chunk;
  dim3 grid;
};

inline RowChunks row_chunks(int64_t rows, int64_t C) {
  constexpr int64_t kBlocks = 1024;    // about eight for each SM of an H100
  constexpr int64_t kFewestRows = 64;  // of a chunk: 8 a thread, so that its result is worth writing down
  const int64_t groups = ceil_div(C, kColumns);
  const int64_t wanted = std::clamp<int64_t>(kBlocks / groups, 1, ceil_div(rows, kFewestRows));
  const int64_t rows_in_chunk = ceil_div(ceil_div(rows, wanted), kRows) * kRows;
  const int64_t count = ceil_div(rows, rows_in_chunk);
  return {count, rows_in_chunk, dim3(static_cast<unsigned>(groups), static_cast<unsigned>(count))};
}

/// The sum of `value` over threadIdx.y, in the threads with threadIdx.y = 0. The block is (kColumns, kRows), and every
/// thread of it must call. Each of the eight rows adds in turn: the order is fixed.
__device__ inline float sum_over_rows(float value) {
  __shared__ float values[kRows][kColumns];
  __syncthreads();  // the array may still be read from a call before
  values[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  float sum = 0;
  if (threadIdx.y == 0)
    for (int r = 0; r < kRows; ++r) sum += values[r][threadIdx.x];
  return sum;
}

}  // namespace weft::WEFT_TARGET
