#pragma once
// Implicit im2col: the matrix of patches as a rule for finding its elements, never written down.
//
// The three passes are products of matrices, of which one is made of patches of a picture, the "source":
//
//   forward           y (N P Q, K)      = patches of x (N P Q, R S C)   times weight (K, R S C) transposed
//   backward data     dx (N H W, C)     = patches of dy (N H W, R S K)  times weight, as (R S K, C)
//   backward filter   dweight (K, R S C) = dy (N P Q, K) transposed      times patches of x (N P Q, R S C)
//
// Along each axis of the picture, pixel i of the result and tap j of the filter meet at the source's position
//
//   origin + i step + j tap_step,
//
// which is padding where it lies outside. Forward that is -pad + p stride + r dilation. Backward it is what solves
// h = p stride - pad + r dilation for p: no whole number for most h and r where there is a stride. But pixels with the
// same remainder of h + pad by the stride meet the same taps, each stride / gcd(stride, dilation)-th one; among them
// the rule has the form above with a step of 1. So backward data is stride_h x stride_w problems, one for each class
// of remainders, none of which has a tap in vain. (Looking up every tap and finding no p would multiply zeros: three
// quarters of all products at a stride of 2.)

#include <numeric>

#include "kernels/conv/conv.h"
#include "kernels/gemm/mma_tile.h"
#include "kernels/ptx.h"

namespace weft::WEFT_TARGET {

/// One axis of a matrix of patches.
struct PatchAxis {
  int extent;                      ///< of the source
  int count, first, every;         ///< pixel i of [0, count) is number first + i every of the result's axis
  int taps, first_tap, every_tap;  ///< tap j of [0, taps) is the filter's first_tap + j every_tap
  int origin, step, tap_step;      ///< they meet at origin + i step + j tap_step, if that is within [0, extent)
};

inline PatchAxis forward_axis(int extent, int outputs, int taps, int stride, int pad, int dilation) {
  return {.extent = extent,
          .count = outputs,
          .first = 0,
          .every = 1,
          .taps = taps,
          .first_tap = 0,
          .every_tap = 1,
          .origin = -pad,
          .step = stride,
          .tap_step = dilation};
}

/// Backward data's axis for the class of pixels h of [0, extent) with (h + pad) % stride == remainder. The source is
/// dy, of `outputs` positions. count or taps may be 0.
inline PatchAxis data_axis(int extent, int outputs, int taps, int stride, int pad, int dilation, int remainder) {
  const int common = std::gcd(stride, dilation), every_tap = stride / common;
  int first_tap = 0;
  while (first_tap < every_tap && (remainder - int64_t{first_tap} * dilation) % stride != 0) ++first_tap;
  const int first = ((remainder - pad) % stride + stride) % stride;
  const bool meets = first_tap < every_tap && first_tap < taps;
  return {.extent = outputs,
          .count = first < extent ? (extent - 1 - first) / stride + 1 : 0,
          .first = first,
          .every = stride,
          .taps = meets ? (taps - 1 - first_tap) / every_tap + 1 : 0,
          .first_tap = first_tap,
          .every_tap = every_tap,
          .origin = meets ? (first + pad - first_tap * dilation) / stride : 0,
          .step = 1,
          .tap_step = -(dilation / common)};
}

/// A matrix of patches: a row a pixel of the result, (images, rows.count, columns.count); a column a tap and a channel
/// of the group, (rows.taps, columns.taps, channels).
struct Patches {
  PatchAxis rows, columns;
  int images;
  int channels;  ///< of a group
  int pitch;     ///< channels of a pixel of the source, all groups'

  __host__ __device__ int64_t height() const { return int64_t{images} * rows.count * columns.count; }
  __host__ __device__ int depth() const { return rows.taps * columns.taps * channels; }
};

inline Patches forward_patches(const ConvShape& z) {
  return {forward_axis(z.H, z.P, z.R, z.stride_h, z.pad_h, z.dilation_h),
          forward_axis(z.W, z.Q, z.S, z.stride_w, z.pad_w, z.dilation_w), z.N, z.C / z.groups, z.C};
}

/// Backward data's class number `of_class` of stride_h stride_w.
inline Patches data_patches(const ConvShape& z, int of_class) {
  return {data_axis(z.H, z.P, z.R, z.stride_h, z.pad_h, z.dilation_h, of_class / z.stride_w),
          data_axis(z.W, z.Q, z.S, z.stride_w, z.pad_w, z.dilation_w, of_class % z.stride_w), z.N, z.K / z.groups, z.K};
}

/// The classes that a launch computes, one for each blockIdx.y: 1 forward, up to 4 backward.
struct PatchClasses {
  static constexpr int kMost = 4;
  Patches at[kMost];
};

/// Calls run(classes, count, the largest height of one) for backward data's classes that have pixels, kMost at a time:
/// all that a stride of 2 has.
template <class Run>
void for_data_classes(const ConvShape& z, const Run& run) {
  PatchClasses classes{};
  int count = 0;
  int64_t height = 0;
  const int all = z.stride_h * z.stride_w;
  for (int of_class = 0; of_class < all; ++of_class) {
    const Patches patches = data_patches(z, of_class);
    if (patches.height() > 0) classes.at[count++] = patches;
    height = height < patches.height() ? patches.height() : height;
    if (count == 0 || (count < PatchClasses::kMost && of_class + 1 < all)) continue;
    run(classes, count, height);
    count = 0;
    height = 0;
  }
}

/// A pixel of the result.
struct Pixel {
  int n, i, j;  ///< image, and numbers along the two axes of Patches

  __device__ __forceinline__ Pixel(const Patches& patches, int64_t row) {
    const int64_t in_image = int64_t{patches.rows.count} * patches.columns.count;
    n = static_cast<int>(row / in_image);
    const int rest = static_cast<int>(row % in_image);
    i = rest / patches.columns.count;
    j = rest % patches.columns.count;
  }
  /// On by `rows` rows of the matrix; cheap for few.
  __device__ __forceinline__ void advance(const Patches& patches, int by) {
    j += by;
    while (j >= patches.columns.count) {
      j -= patches.columns.count;
      if (++i == patches.rows.count) i = 0, ++n;
    }
  }
};

/// The pixel of dx, counted through (N, H, W), that row `row` of a class of backward data is.
__device__ __forceinline__ int64_t data_pixel(const ConvShape& z, const Patches& patches, int64_t row) {
  const Pixel at(patches, row);
  return (int64_t{at.n} * z.H + patches.rows.first + at.i * patches.rows.every) * z.W + patches.columns.first +
         at.j * patches.columns.every;
}

/// A column of the matrix: a tap and a channel.
struct TapChannel {
  int c = 0, s = 0, r = 0;

  __device__ __forceinline__ TapChannel(const Patches& patches, int column) : c(column) { settle(patches); }
  /// On by `by` columns; cheap where a tap's channels are not much fewer.
  __device__ __forceinline__ void advance(const Patches& patches, int by) {
    c += by;
    settle(patches);
  }

 private:
  __device__ __forceinline__ void settle(const Patches& patches) {
    while (c >= patches.channels) {
      c -= patches.channels;
      if (++s == patches.columns.taps) s = 0, ++r;
    }
  }
};

/// The number of the source's pixel (h, w) of an image: rungs on patches take fewer than 2^30 pixels.
__device__ __forceinline__ int source_pixel(const Patches& patches, int n, int h, int w) {
  return (n * patches.rows.extent + h) * patches.columns.extent + w;
}
/// Where channel c of a pixel lies.
__device__ __forceinline__ int64_t source_offset(const Patches& patches, int pixel, int c) {
  return int64_t{pixel} * patches.pitch + c;
}
__device__ __forceinline__ bool is_inside(const Patches& patches, int h, int w) {
  return static_cast<unsigned>(h) < static_cast<unsigned>(patches.rows.extent) &&
         static_cast<unsigned>(w) < static_cast<unsigned>(patches.columns.extent);
}

/// A thread's share of fetching tiles of patches whose depth is the taps and channels (forward, backward data). It
/// fetches the same chunk of columns of a few rows: kWhole where a tap's channels are whole chunks of 16 bytes, which
/// are then copied as they lie or, on padding, filled with zeros by cp.async. Else element by element.
template <class Tile, int kThreads, class T, bool kWhole>
class PatchRows {
 public:
  /// `source` begins at the group's first channel. Tiles begin at row `first` of the matrix.
  __device__ __forceinline__ PatchRows(const Patches& patches, const T* source, int64_t first)
      : source_(source), at_(patches, static_cast<int>(threadIdx.x) % Tile::kRowChunks * Tile::kChunk) {
    const int row = static_cast<int>(threadIdx.x) / Tile::kRowChunks;
    place_ = Tile::offset(row, static_cast<int>(threadIdx.x) % Tile::kRowChunks);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int64_t m = first + row + i * kRowStep;
      const Pixel pixel(patches, m < patches.height() ? m : 0);
      // A row that does not exist lies outside whatever the tap.
      h_[i] = m < patches.height() ? patches.rows.origin + pixel.i * patches.rows.step : INT32_MIN / 2;
      w_[i] = patches.columns.origin + pixel.j * patches.columns.step;
      pixel_[i] = m < patches.height() ? source_pixel(patches, pixel.n, h_[i], w_[i]) : 0;
    }
  }

  /// Starts the copies of the next tile along the depth.
  __device__ __forceinline__ void fetch_next(const Patches& patches, unsigned char* tile) {
    if constexpr (kWhole) {
      const int h = at_.r * patches.rows.tap_step, w = at_.s * patches.columns.tap_step;
      const bool exists = at_.r < patches.rows.taps;
      const int tap = source_pixel(patches, 0, h, w);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const bool inside = exists && is_inside(patches, h_[i] + h, w_[i] + w);
        cp_async_cg(tile + place_ + i * kRowStep * Tile::kRowChunks * 16,
                    inside ? source_ + source_offset(patches, pixel_[i] + tap, at_.c) : source_, inside ? 16 : 0);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        TapChannel at = at_;
        auto* const to = reinterpret_cast<T*>(tile + place_ + i * kRowStep * Tile::kRowChunks * 16);
#pragma unroll 1
        for (int e = 0; e < Tile::kChunk; ++e, at.advance(patches, 1)) {
          const int h = at.r * patches.rows.tap_step, w = at.s * patches.columns.tap_step;
          const bool inside = at.r < patches.rows.taps && is_inside(patches, h_[i] + h, w_[i] + w);
          to[e] = inside ? source_[source_offset(patches, pixel_[i] + source_pixel(patches, 0, h, w), at.c)]
                         : from_float<T>(0);
        }
      }
    }
    at_.advance(patches, Tile::kDepth);
  }

 private:
  static constexpr int kRowStep = kThreads / Tile::kRowChunks, kRows = Tile::kRows / kRowStep;
  static_assert(Tile::kDepthIsContiguous && Tile::kRows % kRowStep == 0 && kRowStep % Tile::kSwizzleRows == 0);

  const T* source_;
  int pixel_[kRows];  // the source's under tap (0, 0), if that were inside
  int h_[kRows], w_[kRows];
  int place_;
  TapChannel at_;  // the chunk's first column
};

/// The same for tiles whose depth is the pixels (backward filter): a thread keeps its tap and channels, and goes from
/// pixel to pixel.
template <class Tile, int kThreads, class T, bool kWhole>
class PatchColumns {
 public:
  /// Tiles begin at column `first` of the matrix, and the first of them at row `row` of [0, height).
  __device__ __forceinline__ PatchColumns(const Patches& patches, const T* source, int first, int64_t row,
                                          int64_t height)
      : source_(source),
        at_(patches, first + static_cast<int>(threadIdx.x) % Tile::kRowChunks * Tile::kChunk),
        pixel_(patches, row + static_cast<int>(threadIdx.x) / Tile::kRowChunks),
        rest_(height - row - static_cast<int>(threadIdx.x) / Tile::kRowChunks),
        place_(Tile::offset(static_cast<int>(threadIdx.x) / Tile::kRowChunks,
                            static_cast<int>(threadIdx.x) % Tile::kRowChunks)) {}

  __device__ __forceinline__ void fetch_next(const Patches& patches, unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < Tile::kRows; i += kRowStep) {
      unsigned char* const to = tile + place_ + i * Tile::kRowChunks * 16;
      const int h0 = patches.rows.origin + pixel_.i * patches.rows.step;
      const int w0 = patches.columns.origin + pixel_.j * patches.columns.step;
      const auto offset = [&](const TapChannel& at, bool& inside) {
        const int h = h0 + at.r * patches.rows.tap_step, w = w0 + at.s * patches.columns.tap_step;
        inside = rest_ > 0 && at.r < patches.rows.taps && is_inside(patches, h, w);
        return inside ? source_offset(patches, source_pixel(patches, pixel_.n, h, w), at.c) : 0;
      };
      bool inside;
      if constexpr (kWhole) {
        const int64_t from = offset(at_, inside);
        cp_async_cg(to, source_ + from, inside ? 16 : 0);
      } else {
        TapChannel at = at_;
#pragma unroll 1
        for (int e = 0; e < Tile::kChunk; ++e, at.advance(patches, 1)) {
          const int64_t from = offset(at, inside);
          reinterpret_cast<T*>(to)[e] = inside ? source_[from] : from_float<T>(0);
        }
      }
      pixel_.advance(patches, kRowStep);
      rest_ -= kRowStep;
    }
  }

 private:
  static constexpr int kRowStep = kThreads / Tile::kRowChunks;
  static_assert(!Tile::kDepthIsContiguous && Tile::kRows % kRowStep == 0 && kRowStep % Tile::kSwizzleRows == 0);

  const T* source_;
  TapChannel at_;
  Pixel pixel_;
  int64_t rest_;  // rows of the matrix from the pixel on
  int place_;
};

/// A thread's share of fetching tiles of the filters for backward data: the depth is taps and filters, and a row of a
/// tile the channels that one tap of one filter has.
template <class Tile, int kThreads, class T, bool kWhole>
class FilterRows {
 public:
  /// `weight` begins at the group's first filter, of which each has filter_taps of `channels` numbers, filter_columns
  /// of those taps side by side. Tiles begin at channel `first`.
  __device__ __forceinline__ FilterRows(const Patches& patches, const ConvShape& z, const T* weight, int first)
      : weight_(weight),
        column_(first + static_cast<int>(threadIdx.x) % Tile::kRowChunks * Tile::kChunk),
        at_(patches, static_cast<int>(threadIdx.x) / Tile::kRowChunks),
        rest_(z.C / z.groups - column_),
        place_(Tile::offset(static_cast<int>(threadIdx.x) / Tile::kRowChunks,
                            static_cast<int>(threadIdx.x) % Tile::kRowChunks)) {}

  __device__ __forceinline__ void fetch_next(const Patches& patches, const ConvShape& z, unsigned char* tile) {
    const int channels = z.C / z.groups;
#pragma unroll
    for (int i = 0; i < Tile::kRows; i += kRowStep) {
      unsigned char* const to = tile + place_ + i * Tile::kRowChunks * 16;
      const int r = patches.rows.first_tap + at_.r * patches.rows.every_tap;
      const int s = patches.columns.first_tap + at_.s * patches.columns.every_tap;
      const bool exists = at_.r < patches.rows.taps;
      const int64_t from = ((int64_t{at_.c} * z.R + r) * z.S + s) * channels + column_;
      if constexpr (kWhole) {
        const bool inside = exists && rest_ > 0;
        cp_async_cg(to, inside ? weight_ + from : weight_, inside ? 16 : 0);
      } else {
#pragma unroll 1
        for (int e = 0; e < Tile::kChunk; ++e)
          reinterpret_cast<T*>(to)[e] = exists && e < rest_ ? weight_[from + e] : from_float<T>(0);
      }
      at_.advance(patches, kRowStep);
    }
  }

 private:
  static constexpr int kRowStep = kThreads / Tile::kRowChunks;
  static_assert(!Tile::kDepthIsContiguous && Tile::kRows % kRowStep == 0 && kRowStep % Tile::kSwizzleRows == 0);

  const T* weight_;
  int column_;     // the chunk's first channel
  TapChannel at_;  // its channel is the filter: the channel of dy
  int rest_;       // channels from the chunk's first on
  int place_;
};

}  // namespace weft::WEFT_TARGET
