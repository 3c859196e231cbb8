// conv2d_backward_filter, depthwise-cluster: a depthwise filter's gradient whose blocks add their sums within a
// cluster. The formula and its costs stand in conv.h, the walk in depthwise_walk.h.

#include <algorithm>
#include <bit>

#include "kernels/conv/depthwise_walk.h"
#include "kernels/conv/filter_slices.h"
#include "kernels/ptx.h"

namespace weft::WEFT_TARGET {
namespace {

// Depthwise cluster. To fill a GPU the pictures are cut into slices, and of each slice depthwise-rolling writes a sum
// for every tap of every channel to memory, in float32, and reads it back. Of large pictures that is nothing. But of 32
// pictures of 7 x 7 in bfloat16 a channel has 6,272 bytes of x and dy, and 16 slices' sums are 9 taps times 4 bytes,
// written and read: 1,152 bytes, 18% more. Hopper's blocks can read each other's shared memory: eight of them, a
// cluster, take a slice each, put their sums there, and each adds an eighth of them, in the order of the ranks. One
// cluster's sums are the result; where one for each group of channels would leave SMs idle, there are more, but only as
// many as keep what they write below a hundredth of what is read.

constexpr int kMostBlocks = 8;  // of a cluster that every Hopper GPU takes

/// Of dynamic shared memory, as a cluster's blocks all have it at one address: the rings, the warps' sums, and the
/// block's sums for the others to read, channel by channel and tap by tap as dweight has them.
template <int kVector, class T>
struct ClusterMemory {
  using Sums = WarpSums<kWalkedTaps>;
  int64_t of_warps, exchange;
  unsigned bytes;

  __host__ __device__ ClusterMemory(const Rolling& rolling, int window)
      : of_warps(ceil_div(int64_t{rolling.shared_bytes}, 16) * 16),
        exchange(of_warps + static_cast<int64_t>(sizeof(Sums))),
        bytes(static_cast<unsigned>(exchange +
                                    int64_t{window} * rolling.packs * kVector * static_cast<int64_t>(sizeof(float)))) {}
};

/// `to` is dweight, or in float the sums of cluster blockIdx.y / cluster_size(): (clusters, C, pitch).
template <int kVector, class T, class To>
__global__ void __launch_bounds__(kBlock, 2)
    depthwise_filter_cluster([[maybe_unused]] DepthwiseWalk<T, false> walk, [[maybe_unused]] Rolling rolling,
                             [[maybe_unused]] const T* __restrict__ dy, [[maybe_unused]] To* __restrict__ to,
                             [[maybe_unused]] int64_t pitch, [[maybe_unused]] int pictures) {
#if WEFT_HAS_HOPPER
  const ConvShape& z = walk.z;
  const int window = z.R * z.S, thread = static_cast<int>(threadIdx.x);
  const ClusterMemory<kVector, T> memory(rolling, window);
  auto* const shared = dynamic_shared<unsigned char>();
  auto& of_warps = *reinterpret_cast<typename ClusterMemory<kVector, T>::Sums*>(shared + memory.of_warps);
  auto* const exchange = reinterpret_cast<float*>(shared + memory.exchange);

  const Strip strip = {static_cast<int>(blockIdx.x) * rolling.packs * kVector, rolling.packs};
  const auto rings = walk.template rings<kVector>(shared, strip, rolling.depth);
  const int begin = static_cast<int>(blockIdx.y) * pictures, end = begin + pictures < z.N ? begin + pictures : z.N;
  float sums[kWalkedTaps][kVector] = {};
  add_under_taps<kVector>(walk, rings, rolling, strip, dy, {begin, end}, sums);
  float totals[kWalkedTaps];
  sum_over_block_rows(sums, rolling.packs, totals, of_warps);
  const int channels = rolling.packs * kVector;
  if (thread < channels) {
#pragma unroll
    for (int tap = 0; tap < kWalkedTaps; ++tap)
      if (tap < window) exchange[thread * window + tap] = totals[tap];
  }
  cluster_sync();  // all blocks' sums are there
  const auto ranks = static_cast<int>(cluster_size());
  const int first = static_cast<int>(cluster_rank()) * kBlock + thread;
  for (int i = first; i < channels * window; i += ranks * kBlock) {
    const int c = strip.first_channel + i / window;
    if (c >= z.C) break;
    float total = 0;
    for (int rank = 0; rank < ranks; ++rank) total += map_shared_rank(exchange, static_cast<unsigned>(rank))[i];
    to[(int64_t{static_cast<int>(blockIdx.y) / ranks} * z.C + c) * pitch + i % window] = from_float<To>(total);
  }
  cluster_sync();  // the others have read this block's sums
#endif
}

/// `clusters` of `blocks` blocks for each group of channels, `pictures` pictures a block.
struct ClusteredPictures {
  int blocks, clusters, pictures;

  ClusteredPictures(const ConvShape& z, const Rolling& rolling, int64_t element_bytes) {
    constexpr int kBlocksWanted = 264;  // two for each of an H100's SMs
    constexpr int64_t kShare = 100;     // of what is read, what may be written and read again
    const int wanted = std::clamp(kBlocksWanted / rolling.groups, 1, z.N);
    blocks = std::min(kMostBlocks, static_cast<int>(std::bit_floor(static_cast<unsigned>(wanted))));
    const int64_t read = (pixels_met(z) * z.N + z.pixels_out()) * z.C * element_bytes;
    const int64_t sums = 2 * z.C * slice_pitch(z.R * z.S) * static_cast<int64_t>(sizeof(float));
    const int64_t most = std::clamp<int64_t>(read / (kShare * sums), 1, wanted / blocks);
    pictures = static_cast<int>(ceil_div(z.N, most * blocks));
    clusters = static_cast<int>(ceil_div(ceil_div(z.N, pictures), blocks));
  }
};

}  // namespace

int64_t conv2d_backward_filter_depthwise_cluster_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  int64_t bytes = 0;
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    const Rolling rolling = rolling_of<kVector, true>(walk_of<false, T>(z, nullptr, nullptr));
    const ClusteredPictures cut(z, rolling, sizeof(T));
    if (cut.clusters > 1)
      bytes = int64_t{cut.clusters} * z.C * slice_pitch(z.R * z.S) * static_cast<int64_t>(sizeof(float));
  });
  return bytes;
}

void conv2d_backward_filter_depthwise_cluster(const Problem& problem, void* const* operands, void* workspace,
                                              Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    const DepthwiseWalk<T, false> walk = walk_of<false, T>(z, operands[0], nullptr);
    const Rolling rolling = rolling_of<kVector, true>(walk);
    const ClusteredPictures cut(z, rolling, sizeof(T));
    const auto run = [&]<class To>(To* to, int64_t pitch) {
      launch(depthwise_filter_cluster<kVector, T, To>,
             {.grid = dim3(static_cast<unsigned>(rolling.groups), static_cast<unsigned>(cut.clusters * cut.blocks)),
              .block = kBlock,
              .shared_bytes = ClusterMemory<kVector, T>(rolling, z.R * z.S).bytes,
              .stream = stream,
              .cluster = dim3(1, static_cast<unsigned>(cut.blocks))},
             walk, rolling, as<const T>(operands[1]), to, pitch, cut.pictures);
    };
    if (cut.clusters == 1) return run(as<T>(operands[2]), z.R * z.S);
    auto* const sums = as<float>(workspace);
    run(sums, slice_pitch(z.R * z.S));
    add_filter_slices(z, sums, cut.clusters, as<T>(operands[2]), stream);
  });
}

}  // namespace weft::WEFT_TARGET
