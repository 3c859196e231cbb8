// conv2d, the rung for groups of one channel: depthwise. The formula and its costs stand in conv.h.

#include "kernels/conv/epilogue.h"
#include "kernels/conv/filter_slices.h"
#include "kernels/conv/patches.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

// Depthwise. With one channel a group there is no sum over channels, and so no matrix product worth its name: an
// implicit GEMM of C groups fills one column of a tile of 64. A 3x3 layer does 18 flops for each element that it reads
// and writes, 2 flops a byte: bound by memory. What the direct loops waste is the filters: neighbouring threads differ
// in k, and read numbers R S apart, a sector each for 4 bytes, for every tap of every pixel. Here a block has 32
// channels side by side and keeps their filters in shared memory, turned round so that the 32 numbers of a tap are
// neighbours; a warp's reads of x, dy and its writes are 32 neighbours too. Each element of x is read R S / stride^2
// times, but from L1: a row of 4 neighbouring pixels a warp, 8 rows a block.
constexpr int kLanes = 32, kRows = 8, kThreads = kLanes * kRows;
constexpr int kEach = 4;               // pixels a thread computes, neighbours
constexpr int kPitch = kLanes + 1;     // of a tap in shared memory: turned round on its way, each store hits a bank
constexpr int kMostShared = 48 << 10;  // bytes, without asking for more

/// Bytes of the filters of 32 channels with `filters` filters each.
int shared_bytes(const ConvShape& z, int filters) {
  return z.R * z.S * filters * kPitch * static_cast<int>(sizeof(float));
}

/// Fills taps[(tap filters + f)][lane] with weight[(first + lane) filters + f][tap], and 0 where there is no such
/// channel of `count`.
template <class T>
__device__ __forceinline__ void load_taps(const T* __restrict__ weight, int window, int filters, int first, int count,
                                          float* taps) {
  const int of_channel = window * filters;
  for (int i = static_cast<int>(threadIdx.x); i < of_channel * kLanes; i += kThreads) {
    const int lane = i / of_channel, f = i % of_channel / window, tap = i % window;
    const bool exists = first + lane < count;
    taps[(tap * filters + f) * kPitch + lane] = exists ? to_float(weight[int64_t{first} * of_channel + i]) : 0.0f;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) depthwise_kernel(ConvShape z, Patches patches, const T* __restrict__ x,
                                                             const T* __restrict__ weight, ConvEpilogue<T> epilogue) {
  auto* taps = dynamic_shared<float>();
  const int lane = static_cast<int>(threadIdx.x) % kLanes, first = static_cast<int>(blockIdx.y) * kLanes;
  const int k = first + lane;
  load_taps(weight, z.R * z.S, 1, first, z.K, taps);
  __syncthreads();
  int64_t m = (int64_t{blockIdx.x} * kRows + threadIdx.x / kLanes) * kEach;
  if (k >= z.K || m >= patches.height()) return;
  const int c = k / z.filters();
  Pixel pixel(patches, m);
  for (int j = 0; j < kEach && m < patches.height(); ++j, ++m, pixel.advance(patches, 1)) {
    float sum = 0;
    for (int r = 0; r < z.R; ++r) {
      const int h = z.row_in(pixel.i, r);
      if (h < 0 || h >= z.H) continue;
      for (int s = 0; s < z.S; ++s) {
        const int w = z.column_in(pixel.j, s);
        if (w < 0 || w >= z.W) continue;
        const T value = x[source_offset(patches, source_pixel(patches, pixel.n, h, w), c)];
        sum += to_float(value) * taps[(r * z.S + s) * kPitch + lane];
      }
    }
    store_conv_sum(epilogue, m, k, sum);
  }
}

// A channel's gradient gathers from all of its filters: K / C of them, one in the usual layer.
template <class T>
__global__ void __launch_bounds__(kThreads)
    depthwise_backward_data_kernel(ConvShape z, const T* __restrict__ dy, const T* __restrict__ weight,
                                   ConvEpilogue<T> epilogue) {
  auto* taps = dynamic_shared<float>();
  const int lane = static_cast<int>(threadIdx.x) % kLanes, first = static_cast<int>(blockIdx.y) * kLanes;
  const int c = first + lane, filters = z.filters();
  load_taps(weight, z.R * z.S, filters, first, z.C, taps);
  __syncthreads();
  const int64_t begin = (int64_t{blockIdx.x} * kRows + threadIdx.x / kLanes) * kEach;
  if (c >= z.C) return;
  for (int64_t pixel = begin; pixel < begin + kEach && pixel < z.pixels_in(); ++pixel) {
    const int n = static_cast<int>(pixel / (z.H * z.W)), rest = static_cast<int>(pixel % (z.H * z.W));
    const int h = rest / z.W, w = rest % z.W;
    float sum = 0;
    for (int r = 0; r < z.R; ++r) {
      const int p = z.row_out(h, r);
      if (p < 0) continue;
      for (int s = 0; s < z.S; ++s) {
        const int q = z.column_out(w, s);
        if (q < 0) continue;
        const T* gradient = dy + ((int64_t{n} * z.P + p) * z.Q + q) * z.K + int64_t{c} * filters;
        for (int f = 0; f < filters; ++f)
          sum += to_float(gradient[f]) * taps[((r * z.S + s) * filters + f) * kPitch + lane];
      }
    }
    store_conv_sum(epilogue, pixel, c, sum);
  }
}

// A filter's gradient: blockIdx.x counts slices of the pixels, blockIdx.y filters in 32s and blockIdx.z taps in nines.
// A thread keeps nine sums of its filter over every eighth pixel of the slice, so dy is read once for a 3x3; the eight
// threads' sums are added in shared memory, and the slices' in the order of their numbers (split_k.h).
constexpr int kTaps = 9;

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    depthwise_backward_filter_kernel(ConvShape z, Patches patches, const T* __restrict__ x, const T* __restrict__ dy,
                                     float* __restrict__ sums, int64_t pitch, int64_t slice) {
  __shared__ float part[kRows][kTaps][kLanes];
  const int lane = static_cast<int>(threadIdx.x) % kLanes, row = static_cast<int>(threadIdx.x) / kLanes;
  const int k = static_cast<int>(blockIdx.y) * kLanes + lane, c = k / z.filters();
  const int first_tap = static_cast<int>(blockIdx.z) * kTaps, window = z.R * z.S;
  const int64_t begin = blockIdx.x * slice;
  const int64_t end = begin + slice < patches.height() ? begin + slice : patches.height();
  float sum[kTaps] = {};
  if (k < z.K && begin + row < end) {
    Pixel pixel(patches, begin + row);
    for (int64_t m = begin + row; m < end; m += kRows, pixel.advance(patches, kRows)) {
      const float gradient = to_float(dy[m * z.K + k]);
#pragma unroll
      for (int t = 0; t < kTaps; ++t) {
        const int tap = first_tap + t;
        const int h = z.row_in(pixel.i, tap / z.S), w = z.column_in(pixel.j, tap % z.S);
        if (tap < window && is_inside(patches, h, w))
          sum[t] += gradient * to_float(x[source_offset(patches, source_pixel(patches, pixel.n, h, w), c)]);
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTaps; ++t) part[row][t][lane] = sum[t];
  __syncthreads();
  for (int t = row; t < kTaps; t += kRows) {
    if (k >= z.K || first_tap + t >= window) continue;
    float total = 0;
    for (int i = 0; i < kRows; ++i) total += part[i][t][lane];
    sums[(int64_t{blockIdx.x} * z.K + k) * pitch + first_tap + t] = total;
  }
}

Slices depthwise_slices(const ConvShape& z) {
  return slices_of(z.K, z.R * z.S, z.pixels_out(), kLanes, kTaps, kRows);
}

dim3 grid_for(int64_t pixels, int channels) {
  return dim3(blocks_for(pixels, kRows * kEach), static_cast<unsigned>(ceil_div(channels, kLanes)));
}

// Of the channels in 32s, an extent of the grid.
constexpr int kMostChannels = 65535 * kLanes;

bool is_depthwise(const ConvShape& z) {
  return z.channels() == 1 && z.K <= kMostChannels && z.numbers_pixels();
}

}  // namespace

bool conv2d_depthwise_takes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return is_depthwise(z) && int64_t{z.R} * z.S * kPitch * 4 <= kMostShared;
}

bool conv2d_backward_data_depthwise_takes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return is_depthwise(z) && int64_t{z.R} * z.S * z.filters() * kPitch * 4 <= kMostShared;
}

bool conv2d_backward_filter_depthwise_takes(const Problem& problem) {
  return is_depthwise(conv_shape(problem));
}

void conv2d_depthwise(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(depthwise_kernel<T>,
           {.grid = grid_for(z.pixels_out(), z.K),
            .block = kThreads,
            .shared_bytes = static_cast<unsigned>(shared_bytes(z, 1)),
            .stream = stream},
           z, forward_patches(z), as<const T>(operands[kConvX]), as<const T>(operands[kConvWeight]),
           conv_epilogue<T>(problem, operands));
  });
}

void conv2d_backward_data_depthwise(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(depthwise_backward_data_kernel<T>,
           {.grid = grid_for(z.pixels_in(), z.C),
            .block = kThreads,
            .shared_bytes = static_cast<unsigned>(shared_bytes(z, z.filters())),
            .stream = stream},
           z, as<const T>(operands[kDataDy]), as<const T>(operands[kDataWeight]), data_epilogue<T>(problem, operands));
  });
}

int64_t conv2d_backward_filter_depthwise_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return depthwise_slices(z).count * z.K * slice_pitch(z.R * z.S) * static_cast<int64_t>(sizeof(float));
}

void conv2d_backward_filter_depthwise(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const Slices slices = depthwise_slices(z);
  with_type(problem.dtype, [&]<class T>() {
    auto* sums = static_cast<float*>(workspace);
    launch(depthwise_backward_filter_kernel<T>,
           {.grid = dim3(static_cast<unsigned>(slices.count), static_cast<unsigned>(ceil_div(z.K, kLanes)),
                         static_cast<unsigned>(ceil_div(z.R * z.S, kTaps))),
            .block = kThreads,
            .stream = stream},
           z, forward_patches(z), as<const T>(operands[0]), as<const T>(operands[1]), sums, slice_pitch(z.R * z.S),
           slices.depth);
    add_filter_slices(z, sums, slices.count, as<T>(operands[2]), stream);
  });
}

}  // namespace weft::WEFT_TARGET
