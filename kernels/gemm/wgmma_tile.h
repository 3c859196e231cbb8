#pragma once
// What the Hopper rungs (11 and on) share: how a tile of an operand lies in shared memory, how TMA brings it there, and
// how the finished sums lie in registers.
//
// A tile is kWidth (along m or n) by 64 (along k) of bfloat16. One copy of TMA brings a box whose rows are 128 bytes,
// as long as the largest swizzle, so a tile's rows are 64 elements of the axis that is contiguous in memory:
//
//   contiguous along k (K-major)          contiguous along m or n (MN-major)
//   one box: kWidth rows of 64 k          kWidth / 64 boxes of 8 KiB: 64 rows (k) of 64 m
//   a step of 16 in k: 32 bytes on        a step of 16 in k: 16 rows, 2048 bytes on
//   the next 64 of m: 64 rows on          the next 64 of m: the next box       (8192 bytes on, either way)
//
// The swizzle (chunk c of row r at c ^ r % 8) is TMA's to write and wgmma's to undo; no thread ever touches a tile.
// What lies outside the matrix is filled with 0 by TMA, which adds nothing to the sums: no edge is looked at until the
// store.

#include "kernels/gemm/epilogue.h"
#include "kernels/launch.h"
#include "kernels/ptx.h"

namespace weft::WEFT_TARGET {

template <int kWidth_, bool kDepthIsContiguous_>
struct WgmmaTile {
  static constexpr int kWidth = kWidth_, kDepth = 64;
  static constexpr bool kDepthIsContiguous = kDepthIsContiguous_;
  static constexpr int kBytes = kWidth * kDepth * 2;
  static constexpr int kSteps = kDepth / 16;                ///< products along k
  static constexpr int kBytesOf64 = 64 * 128;               ///< from 64 of m (or n) to the next 64
  static constexpr bool kTransposed = !kDepthIsContiguous;  ///< as wgmma asks
  static_assert(kWidth % 64 == 0 && kWidth <= 256, "a box has at most 256 rows");

  /// The map by which `kParts` copies, each of an equal part of the width, bring a tile of x: (width, depth) where it
  /// is contiguous along k, else (depth, width), with `pitch` elements from row to row.
  template <int kParts = 1>
  static TensorMap map(const bfloat16* x, int64_t pitch, int64_t width, int64_t depth) {
    static_assert(kWidth / kParts % 64 == 0);
    GlobalTensor tensor;
    tensor.base = x;
    tensor.rank = 2;
    tensor.extents[0] = kDepthIsContiguous ? depth : width;
    tensor.extents[1] = kDepthIsContiguous ? width : depth;
    tensor.strides[1] = pitch * 2;
    tensor.swizzle = Swizzle::bytes128;
    const int box[2] = {64, kDepthIsContiguous ? kWidth / kParts : kDepth};
    return encode_tiled(tensor, box);
  }

#if WEFT_HAS_HOPPER
  /// Starts the copy of part `part` of the tile that begins at `first` (of m or n) and k. `ranks` other than 0: to
  /// these blocks of the cluster.
  template <int kParts = 1>
  __device__ static __forceinline__ void load(unsigned char* tile, const TensorMap& map, int first, int k,
                                              std::uint64_t* full, int part = 0, std::uint16_t ranks = 0) {
    constexpr int kPart = kWidth / kParts;
    const auto copy = [&](int at, int x, int y) {
      unsigned char* const to = tile + at / 64 * kBytesOf64;
      if (ranks == 0)
        tma_load_2d(to, map, x, y, full);
      else
        tma_load_multicast_2d(to, map, x, y, full, ranks);
    };
    if constexpr (kDepthIsContiguous) {
      copy(part * kPart, k, first + part * kPart);
    } else {
#pragma unroll
      for (int i = 0; i < kPart; i += 64) copy(part * kPart + i, first + part * kPart + i, k);
    }
  }

  /// The tile from `first` (a multiple of 64) of its width on, for wgmma.
  __device__ static __forceinline__ std::uint64_t descriptor(const unsigned char* tile, int first) {
    return wgmma_descriptor(tile + first / 64 * kBytesOf64, Swizzle::bytes128, kBytesOf64, 1024);
  }
  /// The same, `step` times 16 further along k.
  __device__ static __forceinline__ std::uint64_t advance(std::uint64_t descriptor, int step) {
    return wgmma_advance(descriptor, static_cast<unsigned>(step * (kDepthIsContiguous ? 32 : 16 * 128)));
  }
#endif
};

#if WEFT_HAS_HOPPER

/// Starts sums (64, 2 kRegisters) += a tile's 64 rows of op(a) times a tile of op(b), all of its depth; `add` false: =
/// instead. A group of its own.
template <class TileA, class TileB, int kRegisters>
__device__ __forceinline__ void multiply_tile(float (&sums)[kRegisters], std::uint64_t a, std::uint64_t b, bool add) {
#pragma unroll
  for (int step = 0; step < TileA::kSteps; ++step)
    wgmma_bf16<TileA::kTransposed, TileB::kTransposed>(sums, TileA::advance(a, step), TileB::advance(b, step),
                                                       add || step > 0);
}

/// Calls store(half, row, column, pair) for a warpgroup's sums (64, 2 kRegisters), which begin at (m0, n0): a lane has
/// pairs of neighbours in a row (ptx/wgmma.h), of two rows: `half` 0, and 8 below it `half` 1.
template <int kRegisters, class Store>
__device__ __forceinline__ void pass_registers(int64_t m0, int64_t n0, float (&sums)[kRegisters], const Store& store) {
  const int thread = static_cast<int>(threadIdx.x) % 128, lane = thread % 32;
  const int64_t m = m0 + thread / 32 * 16 + lane / 4, n = n0 + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < kRegisters; i += 2) {
    const int half = i / 2 % 2;
    float pair[2] = {sums[i], sums[i + 1]};
    store(half, m + half * 8, n + i / 4 * 8, pair);
  }
}

/// Stores a warpgroup's sums (64, 2 kRegisters), which are those of y from (m0, n0) on.
template <class T, class Out, int kRegisters>
__device__ __forceinline__ void store_registers(const GemmCall<T, Out>& call, int64_t m0, int64_t n0,
                                                float (&sums)[kRegisters]) {
  const bool aligned = epilogue_is_aligned<2>(call);
  pass_registers(m0, n0, sums, [&](int, int64_t row, int64_t column, float(&pair)[2]) {
    if (row < call.M) store_sums<2>(call, row, column, aligned, pair);
  });
}

#endif  // WEFT_HAS_HOPPER

/// Calls run.operator()<kTransA, kTransB>() for a call's transpositions.
template <class T, class Out, class Run>
void with_transpositions(const GemmCall<T, Out>& call, const Run& run) {
  if (call.trans_a)
    call.trans_b ? run.template operator()<true, true>() : run.template operator()<true, false>();
  else
    call.trans_b ? run.template operator()<false, true>() : run.template operator()<false, false>();
}

}  // namespace weft::WEFT_TARGET
