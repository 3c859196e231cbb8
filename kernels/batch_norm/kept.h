#pragma once
// Keeping on the chip what is needed again once a channel's sums over all rows are known. A block, or the blocks of a
// cluster between them, take a few channels and all rows, and put what they read into shared memory, each thread where
// it alone will look again: there is no barrier for it. Registers would hold no more (64 KiB of four), and wanted a
// number of rows that the compiler knows.

#include <algorithm>
#include <string_view>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/channels.h"
#include "kernels/ptx.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Who takes what. Of shared memory the first kExchange floats are the block's sums, for the others of its cluster, the
/// next kFactors its channels' numbers (ChannelFactors, GradientFactors), and then come its warps' sums (WarpSums).
struct KeptShape {
  bool fits = false;
  int lanes = 0;
  int cluster = 1;  ///< blocks that share the rows of a group of channels
  int64_t rows_in_block = 0, groups = 0;
  int kept_by_thread = 0;  ///< vectors of one tensor
  unsigned shared_bytes = 0;
};

inline constexpr int kExchange = 2 * kMostChannels, kFactors = 4 * kMostChannels;
inline constexpr int kBeforeKept = kExchange + kFactors + sizeof(WarpSums<2>) / sizeof(float);  // floats

/// Dynamic shared memory that a block may have: every GPU from 8.0 on has 99 KiB, a Hopper 227.
inline constexpr int64_t kBlockCapacity = 99 * 1024, kClusterCapacity = 212 * 1024;

/// The widest group of channels, 64 bytes of a row at most, whose rows fit; the fewest blocks to a cluster that leave
/// room for two on an SM, and no more than 512 rows a block. Below 32 bytes two groups share a sector, which the L2
/// cache then serves to the second. `tensors` are kept for each element of x.
inline KeptShape kept_shape(const Problem& problem, int tensors, int most_blocks, int64_t capacity) {
  using extents::BatchNorm;
  constexpr int64_t kRoomForTwo = 108 * 1024;
  constexpr int64_t kRows = 512, kEnoughBlocks = 128;
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const int64_t element = problem.dtype == DType::bf16 ? 2 : 4;
  const int64_t vector = C % (16 / element) == 0 ? 16 / element : 1, packs = C / vector;
  for (int lanes = lanes_for(packs, vector == 1 ? 32 : 4); lanes >= 1; lanes /= 2) {
    KeptShape shape;
    shape.lanes = lanes;
    shape.groups = ceil_div(packs, lanes);
    const auto bytes_with = [&](int cluster) {
      shape.cluster = cluster;
      shape.rows_in_block = ceil_div(rows, cluster);
      const int64_t kept = ceil_div(shape.rows_in_block, kBlock / lanes);
      shape.kept_by_thread = static_cast<int>(kept);
      return static_cast<int64_t>(kBeforeKept * sizeof(float)) + kept * kBlock * vector * element * tensors;
    };
    int64_t bytes = bytes_with(1);
    while (shape.cluster < most_blocks && (rows > kRows * shape.cluster || bytes > std::min(kRoomForTwo, capacity)))
      bytes = bytes_with(2 * shape.cluster);
    if (bytes > capacity) continue;
    shape.shared_bytes = static_cast<unsigned>(bytes);
    shape.fits = true;
    const bool too_few = shape.groups * shape.cluster < kEnoughBlocks && rows > kRows;
    if (!too_few || vector == 1 || lanes * vector * element <= 32) return shape;
  }
  return {};
}

template <int kTensors>
KeptShape block_shape(const Problem& problem) {
  return kept_shape(problem, kTensors, 1, kBlockCapacity);
}
template <int kTensors>
KeptShape cluster_shape(const Problem& problem) {
  return kept_shape(problem, kTensors, 8, kClusterCapacity);
}
template <int kTensors>
bool fits_block(const Problem& problem) {
  return block_shape<kTensors>(problem).fits;
}
template <int kTensors>
bool fits_cluster(const Problem& problem) {
  return cluster_shape<kTensors>(problem).fits;
}

/// The rung for a call, by its name: the last that can, but no kept one where its blocks would leave most of a GPU
/// idle: a few SMs reading x once take longer than all of them reading it twice.
template <int kTensors>
std::string_view kept_rung(const Problem& problem, int capability) {
  constexpr int64_t kFewestBlocks = 64, kFewRows = 512;
  const auto good = [&](const KeptShape& shape) {
    return shape.fits && (capability == 0 || shape.groups * shape.cluster >= kFewestBlocks ||
                          problem.extents[extents::BatchNorm::rows] <= kFewRows);
  };
  if (capability == 0 || capability == 90)
    if (good(cluster_shape<kTensors>(problem))) return "kept-by-cluster";
  return (capability == 0 || capability >= 80) && good(block_shape<kTensors>(problem)) ? "kept-by-block" : "vectorised";
}

/// Thread c brings its block's sums for channel c and gets those of the whole cluster, added in the order of the ranks,
/// so that every block has the same bits. `exchange` is dynamic shared memory of kSums kMostChannels floats, written by
/// nobody else.
template <bool kCluster, int kSums>
__device__ inline void add_over_cluster([[maybe_unused]] float (&sums)[kSums], [[maybe_unused]] float* exchange) {
#if WEFT_HAS_HOPPER
  if constexpr (kCluster) {
    const unsigned c = threadIdx.x;
    if (c < kMostChannels)
      for (int s = 0; s < kSums; ++s) exchange[s * kMostChannels + c] = sums[s];
    cluster_sync();  // all blocks' sums are there
    if (c < kMostChannels)
      for (int s = 0; s < kSums; ++s) {
        sums[s] = 0;
        for (unsigned rank = 0; rank < cluster_size(); ++rank)
          sums[s] += map_shared_rank(exchange, rank)[s * kMostChannels + c];
      }
  }
#endif
}

/// The block's end: another of its cluster may still be reading its sums.
template <bool kCluster>
__device__ inline void leave_cluster() {
#if WEFT_HAS_HOPPER
  if constexpr (kCluster) cluster_sync();  // the others have read this block's sums
#endif
}

}  // namespace weft::WEFT_TARGET
