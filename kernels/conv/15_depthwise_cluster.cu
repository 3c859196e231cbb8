// conv2d, depthwise-cluster, in each of the three passes: what depthwise-rolling's blocks read or write for each
// filter, a cluster of blocks reads or writes. The formula and its costs stand in conv.h, the walk in depthwise_walk.h.

#include <algorithm>
#include <bit>

#include "kernels/conv/depthwise_walk.h"
#include "kernels/conv/filter_slices.h"
#include "kernels/ptx.h"

namespace weft::WEFT_TARGET {
namespace {

// Depthwise cluster. A block of depthwise-rolling takes a picture, and reads its channels' filters for it: beside 56 x
// 56 pixels that is nothing. But beside 7 x 7, read and written, 9 taps are 9% more, and a scale and a bias another 4%
// in bfloat16. Caches serve them, at the price of what else they might hold. And backward filter, which cuts the
// pictures into slices to fill a GPU, writes a float32 sum for every tap of every channel and slice to memory, and
// reads it back: of 32 pictures of 7 x 7 in bfloat16 a channel has 6,272 bytes of x and dy, and 16 slices' sums are
// 1,344 (9 floats written, 12 read), 21% more.
//
// Hopper's blocks can read each other's shared memory. Eight of them, a cluster, take eight pictures, or slices, of the
// same channels: one reads the filters, and the others have them from it. Of backward filter each puts its sums where
// the others see them, and adds an eighth of them, in the order of the ranks: one cluster's are the result. Where one
// for each group of channels would leave SMs idle there are more, as many as keep what they write below a hundredth of
// what is read.

constexpr int kMostBlocks = 8;          // of a cluster that every Hopper GPU takes
constexpr int kBlocksWanted = 264;      // two for each of an H100's SMs
constexpr int64_t kMostInGrid = 65528;  // whole clusters of blocks
constexpr int64_t kShare = 100;         // of what is read and written: what may be read or written besides

/// `blocks` to a cluster, `clusters` for each group of channels, `pictures` pictures a block.
struct ClusteredPictures {
  int blocks, clusters, pictures;

  /// Of N pictures, each block with `each` of them: the last cluster's last blocks may have none.
  ClusteredPictures(int N, int blocks, int64_t each)
      : blocks(blocks),
        clusters(static_cast<int>(ceil_div(ceil_div(N, each), blocks))),
        pictures(static_cast<int>(each)) {}

  dim3 grid(const Rolling& rolling) const {
    return dim3(static_cast<unsigned>(rolling.groups), static_cast<unsigned>(clusters * blocks));
  }
  dim3 cluster() const { return dim3(1, static_cast<unsigned>(blocks)); }
};

// Forward and backward data.
template <int kVector, class Walk>
__global__ void __launch_bounds__(kBlock, 3)
    depthwise_cluster([[maybe_unused]] Walk walk, [[maybe_unused]] Rolling rolling, [[maybe_unused]] int pictures) {
#if WEFT_HAS_HOPPER
  const Strip strip = {static_cast<int>(blockIdx.x) * rolling.packs * kVector, rolling.packs};
  const bool reads = cluster_rank() == 0;
  const auto rings = walk.template rings<kVector>(dynamic_shared<unsigned char>(), strip, rolling.depth, reads);
  cluster_sync();  // rank 0 has the filters
  if (!reads) {
    const float* const theirs = map_shared_rank(rings.taps, 0);
    for (int i = static_cast<int>(threadIdx.x); i < rings.numbers; i += kBlock) rings.taps[i] = theirs[i];
  }
  cluster_arrive();  // needs no more of rank 0
  const Range mine = pictures_of_block(walk.z.N, pictures);
  for (int n = mine.first; n < mine.last; ++n)
    walk_rows<kVector>(walk, walk.planes(n), rings, rolling, strip, [&](int row, int column, int c) {
      walk.template at<kVector>(rings, {n, row, column}, c);
    });
  cluster_wait();  // nor do the others of this block
#endif
}

template <int kVector, class Walk>
void launch_depthwise_cluster(const Walk& walk, int element_bytes, Stream stream) {
  const Rolling rolling = rolling_of<kVector>(walk);
  const ConvShape& z = walk.z;
  const int blocks = std::min<int>(kMostBlocks, std::bit_ceil(static_cast<unsigned>(z.N)));
  const int64_t picture = (pixels_met(z) + int64_t{z.P} * z.Q) * element_bytes;
  const int64_t numbers = z.R * z.S * element_bytes + 8;  // and a scale and a shift
  // So many pictures that the filters are a hundredth beside them, where that leaves blocks enough; and at least so
  // many that the grid's second extent can number the blocks.
  const int64_t most = std::max<int64_t>(int64_t{z.N} * rolling.groups / kBlocksWanted, 1);
  const int64_t beside = std::clamp<int64_t>(ceil_div(kShare * numbers, picture * blocks), 1, most);
  const ClusteredPictures cut(z.N, blocks, std::max<int64_t>(beside, ceil_div(z.N, kMostInGrid)));
  launch(depthwise_cluster<kVector, Walk>,
         {.grid = cut.grid(rolling),
          .block = kBlock,
          .shared_bytes = rolling.shared_bytes,
          .stream = stream,
          .cluster = cut.cluster()},
         walk, rolling, cut.pictures);
}

// Backward filter.

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
  float sums[kWalkedTaps][kVector] = {};
  add_under_taps<kVector>(walk, rings, rolling, strip, dy, pictures_of_block(z.N, pictures), sums);
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

template <class T>
ClusteredPictures filter_pictures(const ConvShape& z, const Rolling& rolling) {
  const int wanted = std::clamp(kBlocksWanted / rolling.groups, 1, z.N),
            blocks = std::min<int>(kMostBlocks, std::bit_floor(static_cast<unsigned>(wanted)));
  const int64_t read = (pixels_met(z) * z.N + z.pixels_out()) * z.C * static_cast<int64_t>(sizeof(T));
  const int64_t sums = 2 * z.C * slice_pitch(z.R * z.S) * static_cast<int64_t>(sizeof(float));
  const int64_t clusters = std::clamp<int64_t>(read / (kShare * sums), 1, wanted / blocks);
  return ClusteredPictures(z.N, blocks, ceil_div(z.N, clusters * blocks));
}

}  // namespace

void conv2d_depthwise_cluster(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    launch_depthwise_cluster<kVector>(
        walk_of<false, T>(z, operands[kConvX], operands[kConvWeight], conv_epilogue<T>(problem, operands)), sizeof(T),
        stream);
  });
}

void conv2d_backward_data_depthwise_cluster(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    launch_depthwise_cluster<kVector>(
        walk_of<true, T>(z, operands[kDataDy], operands[kDataWeight], data_epilogue<T>(problem, operands)), sizeof(T),
        stream);
  });
}

int64_t conv2d_backward_filter_depthwise_cluster_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  int64_t bytes = 0;
  with_vector(problem.dtype, z.C, [&]<class T, int kVector>() {
    const Rolling rolling = rolling_of<kVector, true>(walk_of<false, T>(z, nullptr, nullptr));
    const ClusteredPictures cut = filter_pictures<T>(z, rolling);
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
    const ClusteredPictures cut = filter_pictures<T>(z, rolling);
    const auto run = [&]<class To>(To* to, int64_t pitch) {
      launch(depthwise_filter_cluster<kVector, T, To>,
             {.grid = cut.grid(rolling),
              .block = kBlock,
              .shared_bytes = ClusterMemory<kVector, T>(rolling, z.R * z.S).bytes,
              .stream = stream,
              .cluster = cut.cluster()},
             walk, rolling, as<const T>(operands[1]), to, pitch, cut.pictures);
    };
    if (cut.clusters == 1) return run(as<T>(operands[2]), z.R * z.S);
    auto* const sums = as<float>(workspace);
    run(sums, slice_pitch(z.R * z.S));
    add_filter_slices(z, sums, cut.clusters, as<T>(operands[2]), stream);
  });
}

}  // namespace weft::WEFT_TARGET
