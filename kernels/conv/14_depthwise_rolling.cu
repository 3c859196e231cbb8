// conv2d, depthwise-rolling, in each of the three passes: depthwise that reads each element once. The formula and its
// costs stand in conv.h, the walk in rolling_rows.h.

#include <algorithm>

#include "kernels/channels.h"
#include "kernels/conv/epilogue.h"
#include "kernels/conv/filter_slices.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/rolling_rows.h"

namespace weft::WEFT_TARGET {
namespace {

// Depthwise rolling. The rung depthwise read each element of x nine times under a 3x3 filter, eight of them from L1 and
// L2, 2 or 4 bytes a thread: a request of 64 bytes in bfloat16, and an address and two comparisons for each tap of each
// element. Such a layer does 18 flops for each element that it reads and writes, so what counts is how it reads. A
// depthwise convolution is a pool with weights, and here it is walked as pools are: a block takes 128 bytes of a
// picture's channels, 16 a thread, and goes down the picture with the rows under a few rows of the result in a ring in
// shared memory. Each element is read once, and the channels' filters once a block. One filter a channel, as in every
// net in use; others stay with depthwise.
//
// Forward and backward data are one walk: the rows come from x or from dy, and a tap's source is row_in() or row_out().

/// What a walk needs to know of the convolution. T is the operands' type.
template <class T, bool kBackward>
struct DepthwiseWalk {
  ConvShape z;
  const T* from;             ///< x, or dy
  const T* weight;           ///< (C, R, S); null where only `from` is gathered
  ConvEpilogue<T> epilogue;  ///< to y, or to dx

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
  /// which the epilogue's pointers lead.
  struct Rings {
    RowRing<T> rows;
    float* taps;
    ConvEpilogue<T> epilogue;
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
  /// The walk's first barriers stand between this and the use of what it loads.
  template <int kVector>
  __device__ Rings rings(unsigned char* shared, const Strip& strip, int depth) const {
    const int elements = strip.packs * kVector, window = z.R * z.S, thread = static_cast<int>(threadIdx.x);
    auto* const taps = reinterpret_cast<float*>(shared + row_bytes(depth, elements));
    Rings rings = {row_ring<kVector>(reinterpret_cast<T*>(shared), depth, in().width, strip), taps, epilogue};
    if (weight == nullptr) return rings;
    for (int i = thread; i < window * elements; i += kBlock) {  // read as they lie
      const int c = strip.first_channel + i / window;
      if (c < z.C) taps[i % window * elements + i / window] = to_float(weight[int64_t{c} * window + i % window]);
    }
    float* of_channels = taps + window * elements;  // a scale and a shift, or a bias
    const auto keep = [&]<class Number>(const Number*& each) {
      if (each == nullptr) return;
      auto* const kept = reinterpret_cast<Number*>(of_channels);
      for (int i = thread; i < elements && strip.first_channel + i < z.C; i += kBlock)
        kept[i] = each[strip.first_channel + i];
      each = kept - strip.first_channel;
      of_channels += elements;
    };
    keep(rings.epilogue.scale);
    keep(rings.epilogue.shift);
    keep(rings.epilogue.bias);
    return rings;
  }
  template <int kVector>
  __device__ void fetch(const Plane<T>& planes, const Rings& rings, const Strip& strip, Range rows) const {
    fetch_rows<kVector>(planes, rings.rows, rows, in().width, strip, z.C);
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

// A filter's gradient: the forward walk, on which a thread adds dy times what lies under each tap to sums of its own
// channels, kTaps of them for each. dy is read once, x once. A block goes through some pictures, its threads' sums are
// added at the end, and the blocks' in the order of their numbers (split_k.h).
constexpr int kTaps = 9;

template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 2)
    depthwise_filter_rolling(DepthwiseWalk<T, false> walk, Rolling rolling, const T* __restrict__ dy,
                             float* __restrict__ to, int64_t pitch, int pictures) {
  const ConvShape& z = walk.z;
  const Strip strip = {static_cast<int>(blockIdx.x) * rolling.packs * kVector, rolling.packs};
  const auto rings = walk.template rings<kVector>(dynamic_shared<unsigned char>(), strip, rolling.depth);
  const int begin = static_cast<int>(blockIdx.y) * pictures, end = begin + pictures < z.N ? begin + pictures : z.N;
  float sums[kTaps][kVector] = {};
  for (int n = begin; n < end; ++n) {
    const Plane<T> gradients = whole_plane(dy, n, walk.out(), z.C);
    walk_rows<kVector>(walk, walk.planes(n), rings, rolling, strip, [&](int row, int column, int c) {
      const Vector<T, kVector> gradient = gradients.template load<kVector>(row, column, c);
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {  // by number, so that the sums stay in registers
        const int h = z.row_in(row, tap / z.S), w = z.column_in(column, tap % z.S);
        if (tap >= z.R * z.S || h < 0 || h >= z.H || w < 0 || w >= z.W) continue;
        const Vector<T, kVector> values = rings.rows.template load<kVector>(h, w, c);
#pragma unroll
        for (int v = 0; v < kVector; ++v) sums[tap][v] += to_float(gradient.values[v]) * to_float(values.values[v]);
      }
    });
  }
  float totals[kTaps];
  sum_over_block_rows(sums, rolling.packs, totals);
  const int c = strip.first_channel + static_cast<int>(threadIdx.x);
  if (static_cast<int>(threadIdx.x) >= rolling.packs * kVector || c >= z.C) return;
#pragma unroll
  for (int tap = 0; tap < kTaps; ++tap)
    if (tap < z.R * z.S) to[(int64_t{blockIdx.y} * z.K + c) * pitch + tap] = totals[tap];
}

/// How a filter's gradient is cut: slices of `pictures` pictures, as many as give some two blocks to an SM.
struct PictureSlices {
  int count, pictures;

  PictureSlices(const ConvShape& z, const Rolling& rolling) {
    constexpr int kBlocksWanted = 264;
    pictures = static_cast<int>(ceil_div(z.N, std::clamp(kBlocksWanted / rolling.groups, 1, z.N)));
    count = static_cast<int>(ceil_div(z.N, pictures));
  }
};

template <bool kBackward, class T>
DepthwiseWalk<T, kBackward> walk_of(const ConvShape& z, const void* from, const void* weight,
                                    const ConvEpilogue<T>& epilogue = {}) {
  return {z, static_cast<const T*>(from), static_cast<const T*>(weight), epilogue};
}

template <bool kBackward>
bool walk_fits(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  if (z.channels() != 1 || z.filters() != 1) return false;
  bool fits = false;
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    fits = rolling_of<kVector, true>(walk_of<kBackward, T>(z, nullptr, nullptr)).packs > 0;
  });
  return fits;
}

}  // namespace

bool conv2d_depthwise_rolling_takes(const Problem& problem) {
  return walk_fits<false>(problem);
}
bool conv2d_backward_data_depthwise_rolling_takes(const Problem& problem) {
  return walk_fits<true>(problem);
}
bool conv2d_backward_filter_depthwise_rolling_takes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return z.R * z.S <= kTaps && walk_fits<false>(problem);
}
bool depthwise_rolling_fills(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return rolling_fills(z.N, z.C, static_cast<int64_t>(width(problem)));
}

void conv2d_depthwise_rolling(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    launch_rolling_rows<kVector>(
        walk_of<false, T>(z, operands[kConvX], operands[kConvWeight], conv_epilogue<T>(problem, operands)), stream);
  });
}

void conv2d_backward_data_depthwise_rolling(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    launch_rolling_rows<kVector>(
        walk_of<true, T>(z, operands[kDataDy], operands[kDataWeight], data_epilogue<T>(problem, operands)), stream);
  });
}

int64_t conv2d_backward_filter_depthwise_rolling_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  int64_t bytes = 0;
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    const Rolling rolling = rolling_of<kVector, true>(walk_of<false, T>(z, nullptr, nullptr));
    bytes = PictureSlices(z, rolling).count * z.K * slice_pitch(z.R * z.S) * static_cast<int64_t>(sizeof(float));
  });
  return bytes;
}

void conv2d_backward_filter_depthwise_rolling(const Problem& problem, void* const* operands, void* workspace,
                                              Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    const DepthwiseWalk<T, false> walk = walk_of<false, T>(z, operands[0], nullptr);
    const Rolling rolling = rolling_of<kVector, true>(walk);
    const PictureSlices slices(z, rolling);
    auto* sums = static_cast<float*>(workspace);
    launch(depthwise_filter_rolling<kVector, T>,
           {.grid = dim3(static_cast<unsigned>(rolling.groups), static_cast<unsigned>(slices.count)),
            .block = kBlock,
            .shared_bytes = rolling.shared_bytes,
            .stream = stream},
           walk, rolling, as<const T>(operands[1]), sums, slice_pitch(z.R * z.S), slices.pictures);
    add_filter_slices(z, sums, slices.count, as<T>(operands[2]), stream);
  });
}

}  // namespace weft::WEFT_TARGET
