#pragma once
// What the rungs with tiles share: how a block's and a thread's part of y are found, how an operand's tile is fetched,
// and the multiplications.

#include "kernels/element.h"
#include "kernels/gemm/gemm.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {

/// A block computes kBlockM x kBlockN of y in steps of kBlockK; a thread kThreadM x kThreadN of that.
template <int kBlockM_, int kBlockN_, int kBlockK_, int kThreadM_, int kThreadN_>
struct Tiling {
  static constexpr int kBlockM = kBlockM_, kBlockN = kBlockN_, kBlockK = kBlockK_;
  static constexpr int kThreadM = kThreadM_, kThreadN = kThreadN_;
  static constexpr int kThreadsM = kBlockM / kThreadM, kThreadsN = kBlockN / kThreadN;
  static constexpr int kThreads = kThreadsM * kThreadsN;
  static_assert(kBlockM % kThreadM == 0 && kBlockN % kThreadN == 0, "threads must cover the tile");
  static_assert(kThreads % kBlockK == 0 && kThreads % kBlockM == 0 && kThreads % kBlockN == 0,
                "a thread's loads lie a whole number of rows apart");
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
};

/// Floats after each row of a tile in shared memory: rows stay aligned for float4, and of the stores of a warp that
/// turns an operand round few meet in a bank, not 32.
inline constexpr int kPad = 4;

/// Where the block's tile begins in y. Blocks go along the rows of tiles.
struct TileOrigin {
  int64_t m, n;
};
template <class Tile, class T, class Out>
__device__ __forceinline__ TileOrigin tile_origin(const GemmCall<T, Out>& call) {
  const auto across = static_cast<unsigned>(ceil_div(call.N, Tile::kBlockN));  // at most the grid's extent, 2^31 - 1
  return {int64_t{blockIdx.x / across} * Tile::kBlockM, int64_t{blockIdx.x % across} * Tile::kBlockN};
}
template <class Tile, class T, class Out>
unsigned tile_count(const GemmCall<T, Out>& call) {
  return blocks_for(ceil_div(call.M, Tile::kBlockM) * ceil_div(call.N, Tile::kBlockN), 1);
}

/// Copies op(x)[first ... first + kWidth) x [k0 ... k0 + kDepth) to tile[k][i], with 0 for what lies outside. Element
/// (i, k) of op(x) lies at x[i * step + k] where k is the contiguous axis, else at x[k * step + i].
template <int kWidth, int kDepth, int kThreads, bool kDepthIsContiguous, int kPitch, class T>
__device__ __forceinline__ void load_tile(const T* __restrict__ x, int64_t step, int64_t first, int64_t width,
                                          int64_t k0, int64_t depth, float (&tile)[kDepth][kPitch]) {
  const int thread = static_cast<int>(threadIdx.x);
  const int rest_width = static_cast<int>(width - first < kWidth ? width - first : kWidth);
  const int rest_depth = static_cast<int>(depth - k0 < kDepth ? depth - k0 : kDepth);
  if constexpr (kDepthIsContiguous) {
    const int k = thread % kDepth;  // a warp's 32 threads read 32 / kDepth runs of kDepth neighbours
    const T* source = x + first * step + k0 + k;
#pragma unroll
    for (int i = thread / kDepth; i < kWidth; i += kThreads / kDepth)
      tile[k][i] = i < rest_width && k < rest_depth ? to_float(source[i * step]) : 0.0f;
  } else {
    const int i = thread % kWidth;  // a warp's 32 threads read 32 neighbours
    const T* source = x + k0 * step + first + i;
#pragma unroll
    for (int k = thread / kWidth; k < kDepth; k += kThreads / kWidth)
      tile[k][i] = i < rest_width && k < rest_depth ? to_float(source[k * step]) : 0.0f;
  }
}

/// True where any four neighbours of a matrix, from a column that is a multiple of 4 on, can be read at once.
__device__ __forceinline__ bool rows_are_aligned(const float* x, int64_t pitch) {
  return reinterpret_cast<uintptr_t>(x) % 16 == 0 && pitch % 4 == 0;
}

/// Four neighbours, of which the first `count` exist; 0 for the others.
__device__ __forceinline__ float4 load_four(const float* from, int count, bool aligned) {
  if (aligned && count >= 4) return *reinterpret_cast<const float4*>(from);
  return {count > 0 ? from[0] : 0, count > 1 ? from[1] : 0, count > 2 ? from[2] : 0, count > 3 ? from[3] : 0};
}

/// load_tile() with four floats a read. `aligned` is rows_are_aligned(x, step); k0 and first are multiples of 4.
template <int kWidth, int kDepth, int kThreads, bool kDepthIsContiguous, int kPitch>
__device__ __forceinline__ void load_tile_float4(const float* __restrict__ x, int64_t step, int64_t first,
                                                 int64_t width, int64_t k0, int64_t depth, bool aligned,
                                                 float (&tile)[kDepth][kPitch]) {
  static_assert(kWidth % 4 == 0 && kDepth % 4 == 0 && kPitch % 4 == 0);
  static_assert(kThreads % (kWidth / 4) == 0 && kThreads % (kDepth / 4) == 0);
  const int thread = static_cast<int>(threadIdx.x);
  const int rest_width = static_cast<int>(width - first < kWidth ? width - first : kWidth);
  const int rest_depth = static_cast<int>(depth - k0 < kDepth ? depth - k0 : kDepth);
  if constexpr (kDepthIsContiguous) {
    const int k = thread % (kDepth / 4) * 4;  // kDepth / 4 threads read a row's kDepth neighbours
    const float* source = x + first * step + k0 + k;
#pragma unroll
    for (int i = thread / (kDepth / 4); i < kWidth; i += kThreads / (kDepth / 4)) {
      const float4 four = load_four(source + i * step, i < rest_width ? rest_depth - k : 0, aligned);
      tile[k][i] = four.x;
      tile[k + 1][i] = four.y;
      tile[k + 2][i] = four.z;
      tile[k + 3][i] = four.w;
    }
  } else {
    const int i = thread % (kWidth / 4) * 4;  // kWidth / 4 threads read kWidth neighbours
    const float* source = x + k0 * step + first + i;
#pragma unroll
    for (int k = thread / (kWidth / 4); k < kDepth; k += kThreads / (kWidth / 4))
      *reinterpret_cast<float4*>(&tile[k][i]) =
          load_four(source + k * step, k < rest_depth ? rest_width - i : 0, aligned);
  }
}

/// kCount numbers, four at a time, the fours kApart apart.
template <int kApart, int kCount>
__device__ __forceinline__ void load_fours(const float* from, float (&to)[kCount]) {
  static_assert(kCount % 4 == 0 && kApart % 4 == 0);
#pragma unroll
  for (int i = 0; i < kCount; i += 4)
    *reinterpret_cast<float4*>(to + i) = *reinterpret_cast<const float4*>(from + i / 4 * kApart);
}

/// sums[i][j] += a[i] b[j].
template <int kM, int kN>
__device__ __forceinline__ void add_outer_product(const float (&a)[kM], const float (&b)[kN], float (&sums)[kM][kN]) {
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int j = 0; j < kN; ++j) sums[i][j] += a[i] * b[j];
}

/// run<trans_a, trans_b>() with the call's transpositions as constants: each is a kernel of its own.
template <class T, class Out, class Run>
void with_transpositions(const GemmCall<T, Out>& call, Run&& run) {
  if (call.trans_a)
    call.trans_b ? run.template operator()<true, true>() : run.template operator()<true, false>();
  else
    call.trans_b ? run.template operator()<false, true>() : run.template operator()<false, false>();
}

}  // namespace weft::WEFT_TARGET
