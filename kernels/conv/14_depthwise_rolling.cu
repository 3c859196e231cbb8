// conv2d, depthwise-rolling, in each of the three passes: depthwise that reads each element once. The formula and its
// costs stand in conv.h, the walk in depthwise_walk.h.

#include <algorithm>

#include "kernels/conv/depthwise_walk.h"
#include "kernels/conv/filter_slices.h"

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
// A filter's gradient: the forward walk, on which a thread adds dy times what lies under each tap to sums of its own
// channels, kWalkedTaps of them for each. dy is read once, x once. A block goes through some pictures, its threads'
// sums are added at the end, and the blocks' in the order of their numbers (split_k.h).
template <int kVector, class T>
__global__ void __launch_bounds__(kBlock, 2)
    depthwise_filter_rolling(DepthwiseWalk<T, false> walk, Rolling rolling, const T* __restrict__ dy,
                             float* __restrict__ to, int64_t pitch, int pictures) {
  const ConvShape& z = walk.z;
  const Strip strip = {static_cast<int>(blockIdx.x) * rolling.packs * kVector, rolling.packs};
  const auto rings = walk.template rings<kVector>(dynamic_shared<unsigned char>(), strip, rolling.depth);
  float sums[kWalkedTaps][kVector] = {};
  add_under_taps<kVector>(walk, rings, rolling, strip, dy, pictures_of_block(z.N, pictures), sums);
  float totals[kWalkedTaps];
  sum_over_block_rows(sums, rolling.packs, totals);
  const int c = strip.first_channel + static_cast<int>(threadIdx.x);
  if (static_cast<int>(threadIdx.x) >= rolling.packs * kVector || c >= z.C) return;
#pragma unroll
  for (int tap = 0; tap < kWalkedTaps; ++tap)
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
  return z.R * z.S <= kWalkedTaps && walk_fits<false>(problem);
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
