#pragma once
// What the mma.sync rungs (9 and 10) share: how a tile lies in shared memory, and what a warp does with it.
//
// Fragments. mma.sync multiplies a 16 x 16 piece of op(a) with a 16 x 8 piece of op(b) (bf16; half the depth for tf32)
// and adds it to a 16 x 8 piece of sums, all three spread over the registers of the warp's 32 lanes. With g = lane / 4
// and t = lane % 4:
//
//      16 x 16 of op(a)               16 x 8 of op(b)            16 x 8 of the sums
//   k:  2t 2t+1    2t+8 2t+9            n:     g              n:   2t   2t+1
//   m = g    [ a0 ]     [ a2 ]         k = 2t, 2t+1  [ b0 ]       m = g    s0     s1
//   m = g+8  [ a1 ]     [ a3 ]         k = 2t+8, +9  [ b1 ]       m = g+8  s2     s3
//
// A register a0 holds two neighbours in k. No lane's numbers are neighbours in memory beyond that pair, so loading them
// one by one would cost a lane 4-byte reads without end. ldmatrix does it for the whole warp: four 8 x 8 pieces at
// once, each lane naming the address of one row of 16 bytes, and hands every lane what its place in the fragment wants.
// A piece of tf32 is 8 rows of 4 numbers: the same 16 bytes, and lane (g, t) gets number t of row g, as its fragments
// have it. So a bf16 tile 32 deep and a tf32 tile 16 deep are the same bytes, and the code below counts in 16-byte
// chunks: a tile's row is 4 of them, and a step of mma takes 2.
//
// An operand that is contiguous along m (or n) instead of k lies so in shared memory too, and its pieces come out the
// wrong way round: bf16 has ldmatrix.trans for that, tf32 has nothing, and reads number by number.
//
// Swizzle. Shared memory has 32 banks of 4 bytes; the 8 rows of a piece are 8 x 16 bytes, a whole sweep of the banks if
// they start in 8 different eighths of 128 bytes, and up to 8 sweeps if not. Rows of 64 bytes, one below the other,
// put every second row into the same banks. So chunk c of row r is stored in the place of chunk c ^ f(r):
//
//   row 0   c0 c1 c2 c3 | row 1   c0 c1 c2 c3      f(r) = r / 2 % 4: the 8 rows' chunks c lie
//   row 2   c1 c0 c3 c2 | row 3   c1 c0 c3 c2      in 8 different eighths of 128 bytes, whatever c is
//   row 4   c2 c3 c0 c1 | row 5   c2 c3 c0 c1
//   row 6   c3 c2 c1 c0 | row 7   c3 c2 c1 c0
//
// Unlike padding, it costs no memory and leaves every chunk aligned.

#include "kernels/gemm/epilogue.h"
#include "kernels/ptx.h"

namespace weft::WEFT_TARGET {

/// kWidth (along m or n) by 64 bytes (along k) of an operand in shared memory, 1024-byte aligned, with the axis that is
/// contiguous in memory contiguous here.
template <class T, int kWidth_, bool kDepthIsContiguous_>
struct MmaTile {
  static constexpr bool kDepthIsContiguous = kDepthIsContiguous_;
  static constexpr int kWidth = kWidth_;
  static constexpr int kChunk = 16 / sizeof(T);  ///< elements that are copied together
  static constexpr int kDepth = 4 * kChunk;
  static constexpr int kRows = kDepthIsContiguous ? kWidth : kDepth;
  static constexpr int kRowChunks = (kDepthIsContiguous ? kDepth : kWidth) / kChunk;
  static constexpr int kBytes = kRows * kRowChunks * 16;
  static_assert(kRowChunks == 4 || kRowChunks % 8 == 0, "the swizzles below permute 4 or 8 chunks");

  /// Where a chunk lies, in bytes.
  __device__ static __forceinline__ int offset(int row, int chunk) {
    return (row * kRowChunks + (chunk ^ swizzle(row))) * 16;
  }
  /// What is the same for all rows that are a multiple of this apart.
  static constexpr int kSwizzleRows = !kDepthIsContiguous && sizeof(T) == 4 ? 4 : 8;
  __device__ static __forceinline__ int swizzle(int row) {
    if (kDepthIsContiguous) return row / 2 % 4;  // as drawn above
    if (sizeof(T) == 4) return row % 4 * 2;      // read by number: 4 rows of 8 neighbours, two chunks each
    return row % 8;                              // rows of 256 bytes: 8 rows, 8 eighths
  }
};

/// How much of an operand can be fetched at once: 16 bytes, 4, or an element. The same for all of a launch.
enum class Access : int { element, word, chunk };

template <class T>
__device__ __forceinline__ Access access_of(const T* x, int64_t pitch) {
  const auto address = reinterpret_cast<std::uintptr_t>(x) | static_cast<std::uintptr_t>(pitch * sizeof(T));
  return address % 16 == 0 ? Access::chunk : address % 4 == 0 ? Access::word : Access::element;
}

/// A thread's share of copying an operand's tiles: the same chunk of every few rows. What does not change from tile to
/// tile is worked out once.
template <class Tile, int kThreads, class T>
class TileCopy {
 public:
  /// Element (i, k) of op(x) lies at x[i * pitch + k], or at x[k * pitch + i] where the depth is not contiguous. Tiles
  /// begin at `first` of `width` along i.
  __device__ TileCopy(const T* x, int64_t pitch, int64_t first, int64_t width)
      : x_(x), pitch_(pitch), access_(access_of(x, pitch)) {
    const int row = static_cast<int>(threadIdx.x) / Tile::kRowChunks;
    const int column = static_cast<int>(threadIdx.x) % Tile::kRowChunks * Tile::kChunk;  // neighbours read side by side
    const int rest = width - first < Tile::kWidth ? static_cast<int>(width - first) : Tile::kWidth;
    place_ = Tile::offset(row, column / Tile::kChunk);
    from_ = Tile::kDepthIsContiguous ? (first + row) * pitch + column : row * pitch + first + column;
    along_ = Tile::kDepthIsContiguous ? column : row;
    across_ = rest - (Tile::kDepthIsContiguous ? row : column);
  }

  /// Calls Copy::copy<access>(where in `tile`, where in x, elements that exist) for each of the thread's chunks of the
  /// tile that begins at depth k0, of which `depth` are left. Of a chunk that lies outside no element exists, and x
  /// itself stands for its address. Whole chunks are what is fast; the rest is kept short.
  template <class Copy>
  __device__ __forceinline__ void run(unsigned char* tile, int64_t k0, int64_t depth) const {
    if (access_ == Access::chunk) {
#pragma unroll
      for (int i = 0; i < Tile::kRows; i += kRowStep) copy_chunk<Copy, Access::chunk>(tile, k0, depth, i);
    } else if (access_ == Access::word) {
#pragma unroll 1
      for (int i = 0; i < Tile::kRows; i += kRowStep) copy_chunk<Copy, Access::word>(tile, k0, depth, i);
    } else {
#pragma unroll 1
      for (int i = 0; i < Tile::kRows; i += kRowStep) copy_chunk<Copy, Access::element>(tile, k0, depth, i);
    }
  }

 private:
  static constexpr int kRowStep = kThreads / Tile::kRowChunks;
  static_assert(kThreads % Tile::kRowChunks == 0 && Tile::kRows % kRowStep == 0, "each thread copies as many chunks");
  static_assert(kRowStep % Tile::kSwizzleRows == 0, "all of a thread's chunks are swizzled alike");

  /// The chunk i rows below the thread's first.
  template <class Copy, Access kAccess>
  __device__ __forceinline__ void copy_chunk(unsigned char* tile, int64_t k0, int64_t depth, int i) const {
    const int rest = (depth < Tile::kDepth ? static_cast<int>(depth) : Tile::kDepth) - along_;  // from the first on
    const int row = Tile::kDepthIsContiguous ? across_ : rest;  // rows, and elements of the chunk's row, that exist
    const int column = Tile::kDepthIsContiguous ? rest : across_;
    const int elements = i >= row || column < 0 ? 0 : column < Tile::kChunk ? column : Tile::kChunk;
    const T* const from = x_ + from_ + (Tile::kDepthIsContiguous ? k0 : k0 * pitch_) + i * pitch_;
    Copy::template copy<kAccess>(tile + place_ + i * Tile::kRowChunks * 16, elements > 0 ? from : x_, elements);
  }

  const T* x_;
  int64_t pitch_, from_;
  Access access_;
  int place_, along_, across_;
};

/// The operands of one step of mma (32 bytes along k) for a warp that computes 16 kM by 8 kN sums.
template <int kM, int kN>
struct MmaFragments {
  std::uint32_t a[kM][4];
  std::uint32_t b[kN][2];
};

/// A number as mma takes it: bf16 pairs as they are, floats rounded to tf32.
template <class T>
__device__ __forceinline__ std::uint32_t mma_operand(std::uint32_t bits) {
  return sizeof(T) == 4 ? cvt_rna_tf32(__uint_as_float(bits)) : bits;
}

/// The four 8 x 8 pieces (of tf32: 8 x 4) of a tile from `across` along m or n, a multiple of 16, and from chunk 2
/// `step` along k. In which order they come: the piece 8 further across second, and those a chunk further along k third
/// and fourth, as op(a)'s fragments want it; the other way round where kDepthFirst, as two neighbours of op(b) do.
template <class T, class Tile, bool kDepthFirst>
__device__ __forceinline__ void load_pieces(const unsigned char* tile, int across, int step,
                                            std::uint32_t (&pieces)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (Tile::kDepthIsContiguous || sizeof(T) == 2) {
    // The row that this lane names: number lane % 8 of piece lane / 8. Its swizzle does not depend on `across` or
    // `step`, which are multiples of 8 rows, so the sums below are worked out once for all of a warp's pieces.
    const int piece = lane / 8;
    const int further_across = kDepthFirst ? piece / 2 : piece % 2, further_along = kDepthFirst ? piece % 2 : piece / 2;
    const int swizzle = Tile::swizzle(lane % 8);
    if constexpr (Tile::kDepthIsContiguous) {
      const int row = 8 * further_across + lane % 8, chunk = (2 * step + further_along) ^ swizzle;
      ldmatrix_x4(pieces, tile + (row * Tile::kRowChunks + chunk) * 16 + across * Tile::kRowChunks * 16);
    } else {
      const int row = 8 * further_along + lane % 8, chunk = (across / 8 + further_across) ^ swizzle;
      ldmatrix_x4_trans(pieces, tile + (row * Tile::kRowChunks + chunk) * 16 + step * 16 * Tile::kRowChunks * 16);
    }
  } else {
#pragma unroll
    for (int piece = 0; piece < 4; ++piece) {
      const int further_across = kDepthFirst ? piece / 2 : piece % 2;
      const int further_along = kDepthFirst ? piece % 2 : piece / 2;
      const int row = 8 * step + 4 * further_along + lane % 4, column = across + 8 * further_across + lane / 4;
      pieces[piece] = *reinterpret_cast<const std::uint32_t*>(tile + Tile::offset(row, column / 4) + column % 4 * 4);
    }
  }
#pragma unroll
  for (std::uint32_t& piece : pieces) piece = mma_operand<T>(piece);
}

/// Loads what a warp whose sums begin at (m, n) of the block's needs for step `step`, 0 or 1, of the tiles.
template <class T, class TileA, class TileB, int kM, int kN>
__device__ __forceinline__ void load_fragments(const unsigned char* tile_a, const unsigned char* tile_b, int m, int n,
                                               int step, MmaFragments<kM, kN>& fragments) {
  static_assert(kN % 2 == 0, "op(b)'s fragments are loaded two at a time");
#pragma unroll
  for (int i = 0; i < kM; ++i) load_pieces<T, TileA, false>(tile_a, m + 16 * i, step, fragments.a[i]);
#pragma unroll
  for (int j = 0; j < kN; j += 2) {
    std::uint32_t pair[4];
    load_pieces<T, TileB, true>(tile_b, n + 8 * j, step, pair);
    fragments.b[j][0] = pair[0], fragments.b[j][1] = pair[1];
    fragments.b[j + 1][0] = pair[2], fragments.b[j + 1][1] = pair[3];
  }
}

/// sums += the fragments' product, each fragment of op(a) with each of op(b).
template <class T, int kM, int kN>
__device__ __forceinline__ void multiply_fragments(const MmaFragments<kM, kN>& fragments, float (&sums)[kM][kN][4]) {
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int j = 0; j < kN; ++j) {
      if constexpr (sizeof(T) == 2)
        mma_m16n8k16_bf16(sums[i][j], fragments.a[i], fragments.b[j], sums[i][j]);
      else
        mma_m16n8k8_tf32(sums[i][j], fragments.a[i], fragments.b[j], sums[i][j]);
    }
}

/// Shared memory that a warp stages its sums in, in bytes: 16 rows of 8 kN.
template <int kN>
constexpr int kStageBytes = 16 * 8 * kN * 4;

/// Calls store(row, column, values) for a warp's sums, which begin at (m, n): kWidth neighbours in a row at once, rows
/// and columns within the result or not. A lane has pairs of neighbours from many rows, which as they are would be
/// written 8 bytes at a time; so 16 rows at once pass through `stage`, kStageBytes<kN> of shared memory of the warp's
/// own, and come out as pieces of rows. In the stage 8 neighbours keep together, swizzled.
template <int kWidth, int kM, int kN, class Store>
__device__ __forceinline__ void pass_fragments(int64_t m, int64_t n, float (&sums)[kM][kN][4], unsigned char* stage,
                                               const Store& store) {
  constexpr int kLanes = 8 * kN / kWidth;  // lanes that share a row
  static_assert(32 % kLanes == 0 && (kN == 4 || kN == 8));
  const int lane = static_cast<int>(threadIdx.x) % 32;
  auto* const staged = reinterpret_cast<float*>(stage);
  const auto place = [staged](int row, int column) {  // of sums [row][column] of the 16 x 8 kN
    return staged + row * 8 * kN + (column / 8 ^ row % kN) * 8 + column % 8;
  };
#pragma unroll
  for (int i = 0; i < kM; ++i) {
#pragma unroll
    for (int j = 0; j < kN; ++j) {
      *reinterpret_cast<float2*>(place(lane / 4, 8 * j + lane % 4 * 2)) = make_float2(sums[i][j][0], sums[i][j][1]);
      *reinterpret_cast<float2*>(place(lane / 4 + 8, 8 * j + lane % 4 * 2)) = make_float2(sums[i][j][2], sums[i][j][3]);
    }
    __syncwarp();
#pragma unroll 1
    for (int row = lane / kLanes; row < 16; row += 32 / kLanes) {
      const int column = lane % kLanes * kWidth;
      alignas(16) float values[kWidth];
#pragma unroll
      for (int four = 0; four < kWidth; four += 4)
        *reinterpret_cast<float4*>(values + four) = *reinterpret_cast<const float4*>(place(row, column + four));
      store(m + 16 * i + row, n + column, values);
    }
    __syncwarp();  // before the next 16 rows take their place
  }
}

/// Hands a warp's sums, which begin at (m, n) of y, to the epilogue, in pieces of 16 bytes.
template <class T, class Out, int kM, int kN>
__device__ __forceinline__ void store_fragments(const GemmCall<T, Out>& call, int64_t m, int64_t n,
                                                float (&sums)[kM][kN][4], unsigned char* stage) {
  constexpr int kWidth = Pack<Out>::kSize;
  const bool aligned = epilogue_is_aligned<kWidth>(call);
  pass_fragments<kWidth>(m, n, sums, stage, [&](int64_t row, int64_t column, float(&values)[kWidth]) {
    if (row < call.M && column < call.N) store_sums<kWidth>(call, row, column, aligned, values);
  });
}

}  // namespace weft::WEFT_TARGET
