#pragma once
// A convolution's result and, of each channel, its mean and variance: what batch norm wants to know of its input before
// it reads it. The rungs that have finished sums in registers gather them there, by chunks of 64 pixels, and
// statistics.cu puts the chunks together, always in the same order.

#include "kernels/conv/conv.h"
#include "kernels/element.h"
#include "kernels/ptx.h"
#include "kernels/reduce.h"

namespace weft::WEFT_TARGET {

/// Where a chunk's mean and sum of (y - mean)^2 go: (chunks, K).
struct ChunkMoments {
  static constexpr int kRows = 64;

  float2* at = nullptr;  ///< null: nothing is gathered
  int64_t rows = 0;      ///< pixels in all
  int K = 0;

  __host__ __device__ int64_t chunks() const { return ceil_div(rows, kRows); }
  /// Pixels of the chunk that begins at `row`; 0 or less where that is beyond the last.
  __device__ __forceinline__ int count(int64_t row) const {
    return rows - row < kRows ? static_cast<int>(rows - row) : kRows;
  }
};

/// y as it is written.
template <class T>
__device__ __forceinline__ float rounded(float sum) {
  return to_float(from_float<T>(sum));
}

/// The sum over the lanes that hold the same column of a fragment of sums: every fourth.
__device__ __forceinline__ float sum_over_rows(float value) {
#pragma unroll
  for (int lanes = 4; lanes < 32; lanes *= 2) value += __shfl_xor_sync(kWholeWarp, value, lanes);
  return value;
}

/// The moments of a warp's sums as mma.sync leaves them (gemm/mma_tile.h): 64 rows, which begin at `row`, of 8 kN
/// columns, which begin at `column` and exist up to `end`. All lanes call it.
template <class T, int kN>
__device__ __forceinline__ void gather_fragments(const ChunkMoments& to, int64_t row, int column, int end,
                                                 const float (&sums)[ChunkMoments::kRows / 16][kN][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, count = to.count(row);
  if (count <= 0) return;
  float2* const chunk = to.at + row / ChunkMoments::kRows * to.K;
#pragma unroll
  for (int j = 0; j < kN; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const auto over_rows = [&](const auto& term) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < ChunkMoments::kRows / 8; ++i)
          if (8 * i + lane / 4 < count) sum += term(rounded<T>(sums[i / 2][j][i % 2 * 2 + e]));
        return sum_over_rows(sum);
      };
      const float mean = over_rows([](float y) { return y; }) / static_cast<float>(count);
      const float squares = over_rows([mean](float y) { return (y - mean) * (y - mean); });
      const int k = column + 8 * j + lane % 4 * 2 + e;
      if (lane < 4 && k < end) chunk[k] = make_float2(mean, squares);
    }
  }
}

/// The moments of a thread's sums as gemm's warp-tile leaves them (gemm/warp_tile.h): a warp has the 64 rows of a
/// chunk, of which the thread's begin at `row`; its columns begin at `column` and exist up to `end`. All lanes call it.
template <class Tile>
__device__ __forceinline__ void gather_tile(const ChunkMoments& to, int64_t row, int column, int end,
                                            const float (&sums)[Tile::kThreadM][Tile::kThreadN]) {
  static_assert(Tile::kWarpM == ChunkMoments::kRows);
  const int mine = static_cast<int>(row % ChunkMoments::kRows);
  const int64_t first = row - mine;
  const int count = to.count(first);
  if (count <= 0) return;
  float2* const chunk = to.at + first / ChunkMoments::kRows * to.K;
#pragma unroll
  for (int j = 0; j < Tile::kThreadN; ++j) {
    const auto over_rows = [&](const auto& term) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < Tile::kThreadM; ++i)
        if (mine + i / 4 * Tile::kApartM + i % 4 < count) sum += term(sums[i][j]);
      // Bits 1, 3 and 4 of a lane count rows.
      for (const int lanes : {2, 8, 16}) sum += __shfl_xor_sync(kWholeWarp, sum, lanes);
      return sum;
    };
    const float mean = over_rows([](float y) { return y; }) / static_cast<float>(count);
    const float squares = over_rows([mean](float y) { return (y - mean) * (y - mean); });
    const int k = column + j / 4 * Tile::kApartN + j % 4;
    if (mine == 0 && k < end) chunk[k] = make_float2(mean, squares);
  }
}

/// Bytes of shared memory that gather_registers needs for each warpgroup.
constexpr int gather_bytes(int columns) {
  return 2 * 4 * columns * 4;
}

#if WEFT_HAS_HOPPER

/// The same of a warpgroup's sums as wgmma leaves them (ptx/wgmma.h): each of its four warps has 16 of the 64 rows.
/// `scratch` is gather_bytes(2 kRegisters) of its own, `barrier` a named barrier of its own.
template <class T, int kRegisters>
__device__ __forceinline__ void gather_registers(const ChunkMoments& to, int64_t row, int column, int end,
                                                 const float (&sums)[kRegisters], float* scratch, unsigned barrier) {
  constexpr int kColumns = 2 * kRegisters;
  const int thread = static_cast<int>(threadIdx.x) % 128, warp = thread / 32, lane = thread % 32;
  const int count = to.count(row);
  if (count <= 0) return;
  float *const totals = scratch, *const squares = scratch + 4 * kColumns;  // (warp, column)
  const auto over_rows = [&](int i, const auto& term) {  // of column i of the lane's, and the one 8 rows below
    float sum = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (16 * warp + 8 * half + lane / 4 < count) sum += term(rounded<T>(sums[i / 2 * 4 + 2 * half + i % 2]));
    return sum_over_rows(sum);
  };
  const auto column_of = [&](int i) { return i / 2 * 8 + lane % 4 * 2 + i % 2; };
  const auto of_warps = [](const float* sums_of_warps, int n) {
    return sums_of_warps[n] + sums_of_warps[kColumns + n] + sums_of_warps[2 * kColumns + n] +
           sums_of_warps[3 * kColumns + n];
  };
#pragma unroll
  for (int i = 0; i < kRegisters / 2; ++i) {
    const float total = over_rows(i, [](float y) { return y; });
    if (lane < 4) totals[warp * kColumns + column_of(i)] = total;
  }
  named_barrier_sync(barrier, 128);  // all four warps' totals
#pragma unroll
  for (int i = 0; i < kRegisters / 2; ++i) {
    const float mean = of_warps(totals, column_of(i)) / static_cast<float>(count);
    const float sum = over_rows(i, [mean](float y) { return (y - mean) * (y - mean); });
    if (lane < 4) squares[warp * kColumns + column_of(i)] = sum;
  }
  named_barrier_sync(barrier, 128);  // all four warps' squares
  for (int n = thread; n < kColumns && column + n < end; n += 128)
    to.at[row / ChunkMoments::kRows * to.K + column + n] =
        make_float2(of_warps(totals, n) / static_cast<float>(count), of_warps(squares, n));
}

#endif

// The implicit GEMMs' rungs of conv2d_statistics: as those of conv2d, with the moments gathered into `chunks`.
void conv2d_statistics_implicit_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_statistics_implicit_gemm_wide(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_statistics_implicit_mma(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_statistics_implicit_wgmma(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_statistics_implicit_persistent(const Problem&, void* const* operands, void* workspace, Stream stream);

/// conv2d_statistics' operands by position.
enum StatisticsOperand : int { kStatisticsX, kStatisticsWeight, kStatisticsY, kStatisticsMean, kStatisticsVar };

/// Where the chunks' moments of a call go, with `workspace` as its memory.
inline ChunkMoments chunk_moments(const ConvShape& z, void* workspace) {
  return {static_cast<float2*>(workspace), z.pixels_out(), z.K};
}

/// mean (K) and biased variance var (K) from the chunks' moments.
void merge_chunk_moments(const ChunkMoments& chunks, float* mean, float* var, Stream stream);

}  // namespace weft::WEFT_TARGET
