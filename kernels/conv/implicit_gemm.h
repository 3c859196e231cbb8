#pragma once
// The three passes as products whose patches are gathered on the way into shared memory (5_implicit_gemm.cu), by slices
// of the depth too (6_split_k.cu). The loop is gemm's rung 7 (gemm/7_warp_tile.cu); a pass tells where its operands'
// tiles come from and where its sums go.
//
//   pass      rows M          columns N       depth                        groups
//   forward   pixels of y     filters         taps, channels of x          blockIdx.z
//   data      pixels of dx    channels        taps, filters (patches.h)    blockIdx.z
//   filter    filters         taps, channels  pixels of y                  blockIdx.z

#include "kernels/conv/epilogue.h"
#include "kernels/conv/patches.h"
#include "kernels/conv/statistics.h"
#include "kernels/gemm/warp_tile.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {

/// A tile's row of patches: the source's pixel under tap (0, 0), were it there, and its row and column.
struct alignas(16) PatchRow {
  int pixel, h, w;
};

/// Fetches tiles of patches whose depth is taps and channels: tile[k][i] is column k of row i. kFours: the channels are
/// whole fours, aligned.
template <class Tile, bool kFours>
struct GatherRows {
  static constexpr int kWidth = kFours ? 4 : 1, kPerRow = Tile::kBlockK / kWidth;
  static_assert(Tile::kThreads % kPerRow == 0);
  TapChannel at;  ///< of the thread's columns in the next tile

  /// Finds the block's rows, each once, by all threads: a barrier must follow.
  __device__ __forceinline__ GatherRows(const Patches& patches, int64_t first, PatchRow (&rows)[Tile::kBlockM])
      : at(patches, static_cast<int>(threadIdx.x) % kPerRow * kWidth) {
    for (int i = static_cast<int>(threadIdx.x); i < Tile::kBlockM; i += Tile::kThreads) {
      const bool exists = first + i < patches.height();
      const Pixel pixel(patches, exists ? first + i : 0);
      // A row that does not exist lies outside whatever the tap.
      rows[i].h = exists ? patches.rows.origin + pixel.i * patches.rows.step : INT32_MIN / 2;
      rows[i].w = patches.columns.origin + pixel.j * patches.columns.step;
      rows[i].pixel = exists ? source_pixel(patches, pixel.n, rows[i].h, rows[i].w) : 0;
    }
  }

  /// `source` begins at the group's first channel.
  template <int kPitch>
  __device__ __forceinline__ void fetch(const Patches& patches, const float* __restrict__ source,
                                        const PatchRow (&rows)[Tile::kBlockM], float (&tile)[Tile::kBlockK][kPitch]) {
    const int k = static_cast<int>(threadIdx.x) % kPerRow * kWidth;
    const int h = at.r * patches.rows.tap_step, w = at.s * patches.columns.tap_step;
    const bool exists = at.r < patches.rows.taps;
    const int tap = source_pixel(patches, 0, h, w);
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x) / kPerRow; i < Tile::kBlockM; i += Tile::kThreads / kPerRow) {
      const PatchRow row = rows[i];
      const bool inside = exists && is_inside(patches, row.h + h, row.w + w);
      const float* const from = source + source_offset(patches, row.pixel + tap, at.c);
      if constexpr (kFours) {
        const float4 four = inside ? *reinterpret_cast<const float4*>(from) : float4{0, 0, 0, 0};
        tile[k][i] = four.x, tile[k + 1][i] = four.y, tile[k + 2][i] = four.z, tile[k + 3][i] = four.w;
      } else {
        tile[k][i] = inside ? *from : 0.0f;
      }
    }
    at.advance(patches, Tile::kBlockK);
  }
};

/// The forward pass. kFours: C' is whole fours, and x aligned. kGathers: y's moments too (statistics.h).
template <class Tile_, bool kFours, bool kGathers = false>
struct ForwardPass {
  using Tile = Tile_;
  static constexpr int kRows = Tile::kBlockM;
  Patches patches;
  const float* x;
  const float* weight;
  ConvEpilogue<float> epilogue;
  int filters;  ///< of a group
  bool fours_of_y;
  ChunkMoments moments = {};

  __host__ __device__ int64_t M() const { return patches.height(); }
  __host__ __device__ int64_t N() const { return filters; }
  __device__ int64_t depth_begin() const { return 0; }
  __device__ int64_t depth_end() const { return patches.depth(); }

  struct Loader {
    GatherRows<Tile, kFours> gather;
    __device__ __forceinline__ Loader(const ForwardPass& pass, int64_t m0, int64_t, PatchRow (&rows)[kRows])
        : gather(pass.patches, m0, rows) {}
    template <int kPitchA, int kPitchB>
    __device__ __forceinline__ void fetch(const ForwardPass& pass, int64_t, int64_t n0, int64_t k0,
                                          PatchRow (&rows)[kRows], float (&a)[Tile::kBlockK][kPitchA],
                                          float (&b)[Tile::kBlockK][kPitchB]) {
      const int group = static_cast<int>(blockIdx.z), depth = pass.patches.depth();
      gather.fetch(pass.patches, pass.x + group * pass.patches.channels, rows, a);
      const float* weight = pass.weight + int64_t{group} * pass.filters * depth;
      load_tile_float4<Tile::kBlockN, Tile::kBlockK, Tile::kThreads, true>(weight, depth, n0, pass.filters, k0, depth,
                                                                           rows_are_aligned(weight, depth), b);
    }
  };

  __device__ __forceinline__ void store(int64_t m, int64_t n, float (&four)[4]) const {
    const int k = static_cast<int>(blockIdx.z) * filters + static_cast<int>(n);
    store_conv_sums<4>(epilogue, m, k, filters - static_cast<int>(n), fours_of_y, four);
  }

  /// The thread's sums begin at row m and column n.
  __device__ __forceinline__ void gather(int64_t m, int64_t n,
                                         const float (&sums)[Tile::kThreadM][Tile::kThreadN]) const requires kGathers {
    const int first = static_cast<int>(blockIdx.z) * filters;
    gather_tile<Tile>(moments, m, first + static_cast<int>(n), first + filters, sums);
  }
};

/// Backward data, of one class of pixels (patches.h). kFours: K' is whole fours, and dy aligned.
template <class Tile_, bool kFours>
struct DataPass {
  using Tile = Tile_;
  static constexpr int kRows = Tile::kBlockM;
  Patches patches;  ///< of dy
  const float* dy;
  const float* weight;
  ConvEpilogue<float> epilogue;
  ConvShape shape;
  bool fours_of_dx;

  __host__ __device__ int64_t M() const { return patches.height(); }
  __host__ __device__ int64_t N() const { return shape.channels(); }
  __device__ int64_t depth_begin() const { return 0; }
  __device__ int64_t depth_end() const { return patches.depth(); }

  struct Loader {
    static constexpr int kPerRow = Tile::kBlockN / 4, kRowStep = Tile::kThreads / kPerRow;
    static_assert(Tile::kThreads % kPerRow == 0 && Tile::kBlockK % kRowStep == 0);
    GatherRows<Tile, kFours> gather;
    TapChannel at;  // of the thread's next row of b: a tap and a filter
    __device__ __forceinline__ Loader(const DataPass& pass, int64_t m0, int64_t, PatchRow (&rows)[kRows])
        : gather(pass.patches, m0, rows), at(pass.patches, static_cast<int>(threadIdx.x) / kPerRow) {}
    template <int kPitchA, int kPitchB>
    __device__ __forceinline__ void fetch(const DataPass& pass, int64_t, int64_t n0, int64_t, PatchRow (&rows)[kRows],
                                          float (&a)[Tile::kBlockK][kPitchA], float (&b)[Tile::kBlockK][kPitchB]) {
      const Patches& patches = pass.patches;
      const int group = static_cast<int>(blockIdx.z), channels = pass.shape.channels();
      gather.fetch(patches, pass.dy + group * patches.channels, rows, a);
      const float* weight = pass.weight + int64_t{group} * patches.channels * pass.shape.patch();
      const bool aligned = rows_are_aligned(weight, channels);
      const int thread = static_cast<int>(threadIdx.x), n = static_cast<int>(n0) + thread % kPerRow * 4;
#pragma unroll
      for (int k = thread / kPerRow; k < Tile::kBlockK; k += kRowStep) {
        const int r = patches.rows.first_tap + at.r * patches.rows.every_tap;
        const int s = patches.columns.first_tap + at.s * patches.columns.every_tap;
        const float* from = weight + ((int64_t{at.c} * pass.shape.R + r) * pass.shape.S + s) * channels + n;
        const int count = at.r < patches.rows.taps ? channels - n : 0;
        *reinterpret_cast<float4*>(&b[k][thread % kPerRow * 4]) = load_four(from, count, aligned);
        at.advance(patches, kRowStep);
      }
    }
  };

  __device__ __forceinline__ void store(int64_t m, int64_t n, float (&four)[4]) const {
    const int channels = shape.channels(), c = static_cast<int>(blockIdx.z) * channels + static_cast<int>(n);
    store_conv_sums<4>(epilogue, data_pixel(shape, patches, m), c, channels - static_cast<int>(n), fours_of_dx, four);
  }
};

/// Backward filter, of the slice blockIdx.y of the pixels. kFours: C' is whole fours, and x aligned.
template <class Tile_, bool kFours>
struct FilterPass {
  using Tile = Tile_;
  static constexpr int kRows = 1;  // of the table of rows, which this pass does not use
  Patches patches;                 ///< of x
  const float* x;
  const float* dy;
  float* sums;     ///< (slices, K, pitch)
  int64_t pitch;   ///< at least R S C'
  int64_t slice;   ///< pixels of a slice
  int filters, K;  ///< of a group; of all

  __host__ __device__ int64_t M() const { return filters; }
  __host__ __device__ int64_t N() const { return patches.depth(); }
  __device__ int64_t depth_begin() const { return blockIdx.y * slice; }
  __device__ int64_t depth_end() const {
    return depth_begin() + slice < patches.height() ? depth_begin() + slice : patches.height();
  }

  struct Loader {
    static constexpr int kWidth = kFours ? 4 : 1, kPerRow = Tile::kBlockN / kWidth, kRowStep = Tile::kThreads / kPerRow;
    static_assert(Tile::kThreads % kPerRow == 0 && Tile::kBlockK % kRowStep == 0);
    TapChannel at;  // of the thread's columns
    Pixel pixel;    // of its next row
    __device__ __forceinline__ Loader(const FilterPass& pass, int64_t, int64_t n0, PatchRow (&)[kRows])
        : at(pass.patches, static_cast<int>(n0) + static_cast<int>(threadIdx.x) % kPerRow * kWidth),
          pixel(pass.patches, pass.depth_begin() + static_cast<int>(threadIdx.x) / kPerRow) {}
    template <int kPitchA, int kPitchB>
    __device__ __forceinline__ void fetch(const FilterPass& pass, int64_t m0, int64_t, int64_t k0, PatchRow (&)[kRows],
                                          float (&a)[Tile::kBlockK][kPitchA], float (&b)[Tile::kBlockK][kPitchB]) {
      const Patches& patches = pass.patches;
      const int group = static_cast<int>(blockIdx.z);
      const float* dy = pass.dy + group * pass.filters;
      load_tile_float4<Tile::kBlockM, Tile::kBlockK, Tile::kThreads, false>(
          dy, pass.K, m0, pass.filters, k0, pass.depth_end(), rows_are_aligned(dy, pass.K), a);
      const int i = static_cast<int>(threadIdx.x) % kPerRow * kWidth;
      const int first = static_cast<int>(threadIdx.x) / kPerRow;
      const float* source = pass.x + group * patches.channels;
      const int h0 = patches.rows.origin + at.r * patches.rows.tap_step;
      const int w0 = patches.columns.origin + at.s * patches.columns.tap_step;
      const bool exists = at.r < patches.rows.taps;
#pragma unroll
      for (int k = first; k < Tile::kBlockK; k += kRowStep) {
        const int h = h0 + pixel.i * patches.rows.step, w = w0 + pixel.j * patches.columns.step;
        const bool inside = exists && k0 + k < pass.depth_end() && is_inside(patches, h, w);
        const float* from = source + source_offset(patches, source_pixel(patches, pixel.n, h, w), at.c);
        if constexpr (kFours)
          *reinterpret_cast<float4*>(&b[k][i]) = inside ? *reinterpret_cast<const float4*>(from) : float4{0, 0, 0, 0};
        else
          b[k][i] = inside ? *from : 0.0f;
        pixel.advance(patches, kRowStep);
      }
    }
  };

  __device__ __forceinline__ void store(int64_t m, int64_t n, float (&four)[4]) const {
    float* to = sums + (int64_t{blockIdx.y} * K + int64_t{blockIdx.z} * filters + m) * pitch + n;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (n + i < N()) to[i] = four[i];
  }
};

/// The loop that all three share: a block computes kBlockM x kBlockN sums of one group.
template <class Pass>
__global__ void __launch_bounds__(Pass::Tile::kThreads, 512 / Pass::Tile::kThreads)
    conv2d_implicit_gemm_kernel(const Pass pass) {
  using Tile = typename Pass::Tile;
  alignas(16) __shared__ float tile_a[Tile::kBlockK][Tile::kBlockM + kPad];
  alignas(16) __shared__ float tile_b[Tile::kBlockK][Tile::kBlockN + kPad];
  __shared__ PatchRow rows[Pass::kRows];

  const auto across = static_cast<unsigned>(ceil_div(pass.N(), Tile::kBlockN));
  const int64_t m0 = int64_t{blockIdx.x / across} * Tile::kBlockM, n0 = int64_t{blockIdx.x % across} * Tile::kBlockN;
  const auto [m1, n1] = thread_origin<Tile>(static_cast<int>(threadIdx.x));

  typename Pass::Loader loader(pass, m0, n0, rows);
  __syncthreads();  // the rows are known to all
  float sums[Tile::kThreadM][Tile::kThreadN] = {};
  for (int64_t k0 = pass.depth_begin(); k0 < pass.depth_end(); k0 += Tile::kBlockK) {
    loader.fetch(pass, m0, n0, k0, rows, tile_a, tile_b);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < Tile::kBlockK; ++k) {
      float a[Tile::kThreadM], b[Tile::kThreadN];
      load_fours<Tile::kApartM>(&tile_a[k][m1], a);
      load_fours<Tile::kApartN>(&tile_b[k][n1], b);
      add_outer_product(a, b, sums);
    }
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
  if constexpr (requires { pass.gather(m0, n0, sums); }) pass.gather(m0 + m1, n0 + n1, sums);
#pragma unroll
  for (int i = 0; i < Tile::kThreadM; ++i) {
    const int64_t m = m0 + m1 + i / 4 * Tile::kApartM + i % 4;
    if (m >= pass.M()) continue;
#pragma unroll
    for (int j = 0; j < Tile::kThreadN; j += 4) {
      const int64_t n = n0 + n1 + j / 4 * Tile::kApartN;
      float four[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
      if (n < pass.N()) pass.store(m, n, four);
    }
  }
}

template <class Pass>
void launch_implicit_gemm(const Pass& pass, int slices, int groups, Stream stream) {
  using Tile = typename Pass::Tile;
  if (pass.M() == 0) return;
  const unsigned tiles = blocks_for(ceil_div(pass.M(), Tile::kBlockM) * ceil_div(pass.N(), Tile::kBlockN), 1);
  launch(conv2d_implicit_gemm_kernel<Pass>,
         {.grid = dim3(tiles, static_cast<unsigned>(slices), static_cast<unsigned>(groups)),
          .block = Tile::kThreads,
          .stream = stream},
         pass);
}

/// The tile for many sums and that for few, which gives four times as many blocks.
using WideTile = WarpTiling<2, 4, 8, 8, 16>;
using NarrowTile = WarpTiling<1, 2, 8, 8, 16>;
static_assert(WideTile::kBlockM == 128 && WideTile::kBlockN == 128);
static_assert(NarrowTile::kBlockM == 64 && NarrowTile::kBlockN == 64);

/// Backward filter over `count` slices of `pixels` pixels each: sums (count, K, pitch), row k holding dweight[k].
struct PixelSlices {
  int count;
  int64_t pixels;
};
template <class Tile>
void launch_filter_slices(const ConvShape& z, const float* x, const float* dy, float* sums, int64_t pitch,
                          const PixelSlices& slices, Stream stream) {
  const auto run = [&]<bool kFours>() {
    const FilterPass<Tile, kFours> pass = {.patches = forward_patches(z),
                                           .x = x,
                                           .dy = dy,
                                           .sums = sums,
                                           .pitch = pitch,
                                           .slice = slices.pixels,
                                           .filters = z.filters(),
                                           .K = z.K};
    launch_implicit_gemm(pass, slices.count, z.groups, stream);
  };
  z.channels() % 4 == 0 && aligned({x}) ? run.template operator()<true>() : run.template operator()<false>();
}

}  // namespace weft::WEFT_TARGET
