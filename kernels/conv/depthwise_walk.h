#pragma once
// A depthwise convolution as a walk down its pictures (rolling_rows.h): what 14 and 15 share. Forward and backward data
// are one walk: the rows come from x or from dy, and a tap's source is row_in() or row_out(). A filter's gradient goes
// the forward way, and looks at dy as it comes by.

#include "kernels/channels.h"
#include "kernels/conv/epilogue.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/rolling_rows.h"

namespace weft::WEFT_TARGET {

/// What a walk needs to know of the convolution. T is the operands' type.
template <class T, bool kBackward>
struct DepthwiseWalk {
  ConvShape z;
  const T* from;             ///< x, or dy
  const T* weight;           ///< (C, R, S); null where only `from` is gathered
  ConvEpilogue<T> epilogue;  ///< to y, or to dx
  bool skips;                ///< a stride, or dilation, leaves out pixels of x

  __host__ __device__ int64_t pictures() const { return z.N; }
  __host__ __device__ int channels() const { return z.C; }
  __host__ __device__ Extent2d in() const { return kBackward ? windows() : pixels(); }
  __host__ __device__ Extent2d out() const { return kBackward ? pixels() : windows(); }
  __host__ __device__ Range in_rows(int row) const {
    const int reach = (z.R - 1) * z.dilation_h;
    if constexpr (kBackward) {
      const int before = row + z.pad_h - reach, last = (row + z.pad_h) / z.stride_h + 1;
      return {before <= 0 ? 0 : (before + z.stride_h - 1) / z.stride_h, last < z.P ? last : z.P};
    } else {
      const int begin = z.row_in(row, 0), end = begin + reach + 1;
      return {begin > 0 ? begin : 0, end < z.H ? end : z.H};
    }
  }

  /// The rows, and behind them the strip's filters as float, tap by tap (R S, channels), and its scale and bias, to
  /// which the epilogue's pointers lead: `numbers` floats in all.
  struct Rings {
    RowRing<T> rows;
    float* taps;
    ConvEpilogue<T> epilogue;
    int numbers;
  };
  /// Bytes of the rows, and so where the filters begin.
  __host__ __device__ int64_t row_bytes(int depth, int64_t elements) const {
    return ceil_div(int64_t{depth} * in().width * elements * static_cast<int64_t>(sizeof(T)), 16) * 16;
  }
  int64_t ring_bytes(int depth, int64_t elements) const {
    constexpr auto kNumber = static_cast<int64_t>(sizeof(float));
    return row_bytes(depth, elements) + (int64_t{z.R} * z.S + 2) * kNumber * elements;
  }
  __device__ Plane<T> planes(int64_t n) const { return whole_plane(from, n, in(), z.C); }
  /// The walk's first barriers stand between this and the use of what it loads. Without `load` the numbers are still to
  /// come.
  template <int kVector>
  __device__ Rings rings(unsigned char* shared, const Strip& strip, int depth, bool load = true) const {
    const int elements = strip.packs * kVector, window = z.R * z.S, thread = static_cast<int>(threadIdx.x);
    auto* const taps = reinterpret_cast<float*>(shared + row_bytes(depth, elements));
    Rings rings = {row_ring<kVector>(reinterpret_cast<T*>(shared), depth, in().width, strip), taps, epilogue, 0};
    if (weight == nullptr) return rings;
    const int of_strip = z.C - strip.first_channel < elements ? z.C - strip.first_channel : elements;
    for (int i = thread; load && i < window * of_strip; i += kBlock)  // read as they lie
      taps[i % window * elements + i / window] = to_float(weight[int64_t{strip.first_channel} * window + i]);
    rings.numbers = window * elements;
    const auto keep = [&]<class Number>(const Number*& each) {  // a scale and a shift, or a bias
      if (each == nullptr) return;
      auto* const kept = reinterpret_cast<Number*>(taps + rings.numbers);
      for (int i = thread; load && i < of_strip; i += kBlock) kept[i] = each[strip.first_channel + i];
      each = kept - strip.first_channel;
      rings.numbers += elements;
    };
    keep(rings.epilogue.scale);
    keep(rings.epilogue.shift);
    keep(rings.epilogue.bias);
    return rings;
  }
  template <int kVector>
  __device__ void fetch(const Plane<T>& planes, const Rings& rings, const Strip& strip, Range rows) const {
    fetch_rows<kVector>(planes, rings.rows, rows, in().width, strip, z.C,
                        [&](int row, int column) { return !skips || (z.meets_row(row) && z.meets_column(column)); });
  }

  /// Calls run(tap, row, column) for the taps under which an element of the input lies.
  template <class Run>
  __device__ void for_taps(int row, int column, const Run& run) const {
    for (int r = 0; r < z.R; ++r) {
      const int i = kBackward ? z.row_out(row, r) : z.row_in(row, r);
      if (i < 0 || i >= in().height) continue;
      for (int s = 0; s < z.S; ++s) {
        const int j = kBackward ? z.column_out(column, s) : z.column_in(column, s);
        if (j >= 0 && j < in().width) run(r * z.S + s, i, j);
      }
    }
  }

  template <int kVector>
  __device__ void at(const Rings& rings, const PicturePixel& pixel, int c) const {
    const float* const taps = rings.taps + (c - rings.rows.first_channel);
    float sums[kVector] = {};
    for_taps(pixel.row, pixel.column, [&](int tap, int row, int column) {
      const Vector<T, kVector> values = rings.rows.template load<kVector>(row, column, c);
      const Vector<float, kVector> weights = load_vector<kVector>(taps, tap * rings.rows.pixel_pitch);
#pragma unroll
      for (int v = 0; v < kVector; ++v) sums[v] += to_float(values.values[v]) * weights.values[v];
    });
    store_conv_sums<kVector>(rings.epilogue, (pixel.n * out().height + pixel.row) * out().width + pixel.column, c,
                             kVector, conv_epilogue_is_aligned<kVector>(epilogue), sums);
  }

 private:
  __host__ __device__ Extent2d pixels() const {
    return {z.H, z.W};
  }
  __host__ __device__ Extent2d windows() const {
    return {z.P, z.Q};
  }
};

template <bool kBackward, class T>
DepthwiseWalk<T, kBackward> walk_of(const ConvShape& z, const void* from, const void* weight,
                                    const ConvEpilogue<T>& epilogue = {}) {
  const bool skips = !kBackward && pixels_met(z) < int64_t{z.H} * z.W;
  return {z, static_cast<const T*>(from), static_cast<const T*>(weight), epilogue, skips};
}

/// The pictures of the calling block, of which blockIdx.y counts those that share channels.
__device__ inline Range pictures_of_block(int N, int pictures) {
  const int begin = static_cast<int>(blockIdx.y) * pictures;
  return {begin < N ? begin : N, begin + pictures < N ? begin + pictures : N};
}

/// Taps of the largest filter whose gradient is walked: a thread has a sum for each, of each of its channels.
inline constexpr int kWalkedTaps = 9;

/// A filter's gradient: adds dy times what lies under each tap to the thread's sums, over pictures [first, last). Each
/// element of dy and of x is read once.
template <int kVector, class T>
__device__ inline void add_under_taps(const DepthwiseWalk<T, false>& walk,
                                      const typename DepthwiseWalk<T, false>::Rings& rings, const Rolling& rolling,
                                      const Strip& strip, const T* dy, Range pictures,
                                      float (&sums)[kWalkedTaps][kVector]) {
  const ConvShape& z = walk.z;
  for (int n = pictures.first; n < pictures.last; ++n) {
    const Plane<T> gradients = whole_plane(dy, n, walk.out(), z.C);
    walk_rows<kVector>(walk, walk.planes(n), rings, rolling, strip, [&](int row, int column, int c) {
      const Vector<T, kVector> gradient = gradients.template load<kVector>(row, column, c);
#pragma unroll
      for (int tap = 0; tap < kWalkedTaps; ++tap) {  // by number, so that the sums stay in registers
        const int h = z.row_in(row, tap / z.S), w = z.column_in(column, tap % z.S);
        if (tap >= z.R * z.S || h < 0 || h >= z.H || w < 0 || w >= z.W) continue;
        const Vector<T, kVector> values = rings.rows.template load<kVector>(h, w, c);
#pragma unroll
        for (int v = 0; v < kVector; ++v) sums[tap][v] += to_float(gradient.values[v]) * to_float(values.values[v]);
      }
    });
  }
}

}  // namespace weft::WEFT_TARGET
