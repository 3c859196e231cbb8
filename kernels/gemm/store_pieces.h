#pragma once
// How a warpgroup's result leaves through shared memory and the copy engine, in gemm's rung 16 and the convolutions'
// implicit-persistent: in pieces of 64 x 64 bfloat16, through one of two buffers in turn, so that a piece is on its way
// while the next is made.

#include "kernels/gemm/wgmma_tile.h"

namespace weft::WEFT_TARGET {

inline constexpr int kPiece = 64, kPieceBytes = kPiece * kPiece * 2, kPieceBuffers = 2;
/// Shared memory of a warpgroup's own, beginning at a multiple of 1024.
inline constexpr int kPieceBuffersBytes = kPieceBuffers * kPieceBytes;

/// The map of a result (M, N) with `pitch` elements from row to row, a multiple of 8.
inline TensorMap piece_map(const bfloat16* y, int64_t pitch, int64_t M, int64_t N) {
  GlobalTensor tensor;
  tensor.base = y;
  tensor.rank = 2;
  tensor.extents[0] = N;
  tensor.extents[1] = M;
  tensor.strides[1] = pitch * 2;
  tensor.swizzle = Swizzle::bytes128;
  const int box[2] = {kPiece, kPiece};
  return encode_tiled(tensor, box);
}

#if WEFT_HAS_HOPPER

/// Writes columns kPiece * piece and on of a warpgroup's sums to `buffer`, finished and rounded, as a box of TMA with
/// the 128-byte swizzle. A lane holds pairs of neighbours in rows; stmatrix takes four 8 x 8 tiles of them, 16 columns,
/// at once.
template <int kRegisters, class Finish>
__device__ __forceinline__ void write_piece(int64_t m0, int64_t n0, int piece, float (&sums)[kRegisters],
                                            unsigned char* buffer, const Finish& finish) {
  const int thread = static_cast<int>(threadIdx.x) % 128, lane = thread % 32;
  const int row =
      thread / 32 * 16 + lane % 16;  // whose address this lane gives: lanes 0-15 columns 0-7, 16-31 columns 8-15
  const int64_t m = m0 + thread / 32 * 16 + lane / 4, n = n0 + piece * kPiece + lane % 4 * 2;
#pragma unroll
  for (int column = 0; column < kPiece; column += 16) {
    std::uint32_t tiles[4];
#pragma unroll
    for (int tile = 0; tile < 4; ++tile) {  // upper and lower eight rows of the left, then of the right columns
      const int i = (piece * kPiece + column) / 8 * 4 + tile * 2;
      float pair[2] = {sums[i], sums[i + 1]};
      finish(m + tile % 2 * 8, n + column + tile / 2 * 8, pair);
      const __nv_bfloat162 rounded = __floats2bfloat162_rn(pair[0], pair[1]);
      tiles[tile] = __bfloat16_as_ushort(rounded.x) | static_cast<std::uint32_t>(__bfloat16_as_ushort(rounded.y)) << 16;
    }
    const int chunk = (column / 8 + lane / 16) ^ (row % 8);
    stmatrix_x4(buffer + row * 128 + chunk * 16, tiles);
  }
}

/// Sends a warpgroup's sums (64, 2 kRegisters), which are those of y from (m0, n0) on, on their way to y, each pair
/// finished by finish(row, column, pair); what lies outside y is dropped, and finish() must read nothing for it.
/// `buffers` is kPieceBuffersBytes, `barrier` a named barrier of the warpgroup's own. Before the block ends, its first
/// thread waits for the buffers to be read: bulk_wait_group_read<0>().
template <int kRegisters, class Finish>
__device__ __forceinline__ void store_pieces(const TensorMap& map_y, int64_t m0, int64_t n0, float (&sums)[kRegisters],
                                             unsigned char* buffers, unsigned barrier, const Finish& finish) {
  const bool stores = threadIdx.x % 128 == 0;  // the thread that issues the warpgroup's stores
#pragma unroll
  for (int piece = 0; piece < 2 * kRegisters / kPiece; ++piece) {
    unsigned char* const buffer = buffers + piece % kPieceBuffers * kPieceBytes;
    // The last store out of this buffer has read it. One piece a tile uses one buffer, so there it is the last of all.
    if (stores) bulk_wait_group_read<(2 * kRegisters > kPiece ? kPieceBuffers - 1 : 0)>();
    named_barrier_sync(barrier, 128);
    write_piece(m0, n0, piece, sums, buffer, finish);
    fence_proxy_async();
    named_barrier_sync(barrier, 128);
    if (stores) {
      tma_store_2d(map_y, static_cast<int>(n0) + piece * kPiece, static_cast<int>(m0), buffer);
      bulk_commit_group();
    }
  }
}

#endif

}  // namespace weft::WEFT_TARGET
