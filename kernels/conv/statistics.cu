// conv2d_statistics: y = conv2d(x, weight), and over the N P Q pixels of each channel of y
//   mean[k] = sum y / (N P Q),    var[k] = sum (y - mean[k])^2 / (N P Q).
// To find mean and variance a batch norm reads all of its input once more: of a layer of ResNet's, 2 N P Q K bytes of
// bfloat16 for 2 K numbers. The block that computed y had it in registers. What is added to a convolution's bytes are
// 8 for each 64 pixels of a channel, written and read: an eighth of one reading of y.
//
// The rungs that gather are those that hold 64 pixels' sums of a channel in a warp or a warpgroup: the implicit
// products. Not Winograd (9_winograd.cu says why), nor the stem, a warp of which has 64 pixels of a row of y, 8 filters
// a time, in an order of its own, and whose one layer a network is the first; nor depthwise, whose threads come by a
// channel's pixels one by one down a picture and hold no two of them at once: their moments would have to be merged
// pixel by pixel, a division each, where all else is nine multiplications.

#include "kernels/conv/statistics.h"

#include <algorithm>

#include "kernels/batch_norm/moments.h"
#include "kernels/catalogue_ops.h"
#include "kernels/conv/entry.h"
#include "kernels/conv/rungs.h"
#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

/// A block merges the chunks of 8 channels, whose moments are 64 bytes side by side, with 128 threads for each: 50,000
/// pixels are 784 chunks, 7 to a thread, all under way at once.
constexpr int kMergeColumns = 8, kMergeRows = 128;

// Chunks are merged in an order that depends on their number alone: each thread those kMergeRows apart, then the
// threads pairwise.
__global__ void conv2d_merge_chunk_moments(ChunkMoments chunks, float* __restrict__ mean, float* __restrict__ var) {
  __shared__ float counts[kMergeRows][kMergeColumns];
  __shared__ float means[kMergeRows][kMergeColumns];
  __shared__ float squares[kMergeRows][kMergeColumns];
  const unsigned c = threadIdx.x, r = threadIdx.y;
  const int k = static_cast<int>(blockIdx.x * kMergeColumns + c);
  Moments mine;
  if (k < chunks.K) {
#pragma unroll 4
    for (int64_t chunk = r; chunk < chunks.chunks(); chunk += kMergeRows) {
      const float2 moments = chunks.at[chunk * chunks.K + k];
      mine = merge(mine, {static_cast<float>(chunks.count(chunk * ChunkMoments::kRows)), moments.x, moments.y});
    }
  }
  for (unsigned half = kMergeRows / 2; half > 0; half /= 2) {
    if (r >= half && r < 2 * half) {  // each place is written in one turn alone, so one barrier a turn is enough
      counts[r][c] = mine.count;
      means[r][c] = mine.mean;
      squares[r][c] = mine.squares;
    }
    __syncthreads();
    if (r < half) mine = merge(mine, {counts[r + half][c], means[r + half][c], squares[r + half][c]});
  }
  if (r == 0 && k < chunks.K) {
    mean[k] = mine.mean;
    var[k] = mine.squares / mine.count;
  }
}

// Rung 1, gathered after. y is written by whatever rung convolves, and read again for its moments: a thread a channel
// of a chunk, twice over its 64 pixels, of which the second reading comes from the caches.
template <class T>
__global__ void conv2d_chunk_moments(ChunkMoments chunks, const T* __restrict__ y) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, chunks K)
  if (element >= chunks.chunks() * chunks.K) return;
  const int64_t row = element / chunks.K * ChunkMoments::kRows;
  const T* const first = y + row * chunks.K + element % chunks.K;
  const int count = chunks.count(row);
  float sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) sum += to_float(first[int64_t{i} * chunks.K]);
  const float mean = sum / static_cast<float>(count);
  for (int i = 0; i < count; ++i) {
    const float difference = to_float(first[int64_t{i} * chunks.K]) - mean;
    squares += difference * difference;
  }
  chunks.at[element] = make_float2(mean, squares);
}

/// The convolution's rung that "gathered-after" goes by: one that any device has.
const Rung& convolution_of(const Problem& problem) {
  return conv2d.rungs[static_cast<std::size_t>(conv2d.choose(problem, 0))];
}

/// Bytes of the chunks' moments.
int64_t moments_bytes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return chunk_moments(z, nullptr).chunks() * z.K * static_cast<int64_t>(sizeof(float2));
}

int64_t convolution_bytes(const Problem& problem) {
  const Rung& rung = convolution_of(problem);
  const int64_t bytes = rung.workspace_bytes == nullptr ? 0 : rung.workspace_bytes(problem);
  return ceil_div(bytes, 16) * 16;
}

int64_t gathered_after_workspace(const Problem& problem) {
  return convolution_bytes(problem) + moments_bytes(problem);
}

void launch_gathered_after(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  void* convolution[kConvOperands] = {};
  convolution[kConvX] = operands[kStatisticsX];
  convolution[kConvWeight] = operands[kStatisticsWeight];
  convolution[kConvY] = operands[kStatisticsY];
  convolution_of(problem).launch(problem, convolution, workspace, stream);
  const ChunkMoments chunks = chunk_moments(z, as<char>(workspace) + convolution_bytes(problem));
  with_type(problem.dtype, [&]<class T>() {
    launch(conv2d_chunk_moments<T>,
           {.grid = blocks_for(chunks.chunks() * z.K, kBlock), .block = kBlock, .stream = stream}, chunks,
           as<const T>(operands[kStatisticsY]));
  });
  merge_chunk_moments(chunks, as<float>(operands[kStatisticsMean]), as<float>(operands[kStatisticsVar]), stream);
}

Signature statistics_signature(const Problem& problem) {
  const Signature forward = conv2d.signature(problem);
  const int64_t K = problem.extents[Conv2d::K];
  return {5,
          {forward.operands[kConvX],
           forward.operands[kConvWeight],
           forward.operands[kConvY],
           {"mean", Role::output, DType::f32, 1, {K}},
           {"var", Role::output, DType::f32, 1, {K}}}};
}

void check_statistics(const Problem& problem) {
  check_conv2d(problem);
  const auto* e = problem.extents;
  if (e[Conv2d::has_bias] || e[Conv2d::has_scale] || e[Conv2d::has_residual] || e[Conv2d::relu])
    fail(
        "conv2d_statistics: the statistics are those of the convolution alone: has_bias, has_scale, has_residual and "
        "relu must be 0");
}

constexpr Rung kRungs[] = {
    {"gathered-after", "y is convolved, then read again for its mean and variance.", kConvNeeds, launch_gathered_after,
     gathered_after_workspace},
    {"implicit-gemm",
     "y was read again from memory; here the warp that has 64 pixels' sums in registers gathers their moments there.",
     kImplicit, conv2d_statistics_implicit_gemm, moments_bytes},
    {"implicit-gemm-wide", "The same in tiles of 128 x 128.", kImplicit, conv2d_statistics_implicit_gemm_wide,
     moments_bytes},
    {"implicit-mma", "The same of mma.sync's fragments.", kMma, conv2d_statistics_implicit_mma, moments_bytes},
    {"implicit-wgmma", "The same of wgmma's sums, which four warps share.",
     for_hopper(takes_implicit_wgmma, kHopperTakes), conv2d_statistics_implicit_wgmma, moments_bytes},
    {"implicit-persistent", "The same in blocks that stay, which fetch the next tile's patches meanwhile.",
     for_hopper(takes_implicit_persistent, kPersistentTakes), conv2d_statistics_implicit_persistent, moments_bytes},
};

/// As conv2d has it, where that rung gathers. Where conv2d goes to gemm, whose epilogue gathers nothing, as it has a
/// call that gemm's epilogue cannot do.
int choose_statistics(const Problem& call, int capability) {
  Problem problem = call;
  problem.extents[Conv2d::has_scale] = 1;
  const std::string_view name = conv2d.rungs[static_cast<std::size_t>(conv2d.choose(problem, capability))].name;
  for (const Rung& rung : kRungs)
    if (rung.name == name) return static_cast<int>(&rung - kRungs);
  return rung_named(kRungs, "gathered-after");
}

/// Of kConvProblems those without an epilogue, but not so many: what the sums are is tested as conv2d's.
constexpr Problem kProblems[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {}, DType::f32, "one of everything"},
    {{2, 5, 5, 7, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "less than a chunk, ragged channels"},
    {{1, 8, 8, 16, 24, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {}, DType::f32, "one whole chunk"},
    {{3, 9, 7, 32, 72, 3, 3, 2, 2, 1, 1, 1, 1, 1}, {}, DType::f32, "two tiles of channels, of which one is ragged"},
    {{1, 13, 11, 8, 63, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "two tiles of pixels, an odd number of channels"},
    {{1, 9, 8, 32, 32, 3, 2, 1, 1, 1, 1, 1, 1, 2}, {}, DType::f32, "two groups"},
    {{2, 9, 8, 20, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32"},
    {{1, 12, 12, 16, 136, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "four tiles on simt's two persistent blocks"},
    {{2, 1, 1, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "one pixel of 3 channels under 3x3"},
    {{1, 4, 5, 17, 63, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "17 channels, 63 filters"},
    {{1, 3, 4, 5, 17, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {}, DType::f32, "1x1, 5 channels, 17 filters"},
    {{1, 3, 4, 63, 3, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {}, DType::f32, "1x1, 63 channels, 3 filters"},
    {{1, 4, 3, 8, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "channels in eights, 3 filters"},
    {{1, 4, 3, 8, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "channels in eights, 5 filters"},
    {{1, 4, 3, 16, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "channels in eights, 17 filters"},
    {{3, 1, 1, 16, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "one pixel under 3x3, in eights"},
    {{1, 2, 2, 16, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "3x3 larger than the picture, in eights"},
    {{2, 8, 8, 16, 24, 1, 1, 2, 2, 0, 0, 1, 1, 1}, {}, DType::f32, "a stride larger than the filter"},
    {{1, 9, 10, 16, 24, 3, 2, 1, 1, 2, 1, 2, 3, 1}, {}, DType::f32, "oblong and dilated, in eights"},
    {{2, 1, 1, 17, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, one pixel under 3x3"},
    {{1, 2, 2, 3, 63, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, larger than the picture"},
    {{1, 8, 8, 63, 17, 2, 2, 3, 3, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, stride larger than filter"},
    {{1, 9, 10, 5, 3, 3, 2, 1, 1, 2, 1, 2, 3, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, oblong and dilated"},
    {{1, 4, 5, 8, 136, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, two tiles"},
    {{1, 7, 6, 12, 10, 3, 2, 2, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, two groups"},
};

}  // namespace

void merge_chunk_moments(const ChunkMoments& chunks, float* mean, float* var, Stream stream) {
  launch(conv2d_merge_chunk_moments,
         {.grid = blocks_for(chunks.K, kMergeColumns), .block = dim3(kMergeColumns, kMergeRows), .stream = stream},
         chunks, mean, var);
}

const Op conv2d_statistics = {
    .name = "conv2d_statistics",
    .formula =
        "y = conv2d(x, weight); mean[k] = sum_npq y[n,p,q,k] / (NPQ); var[k] = sum_npq (y[n,p,q,k] - mean[k])^2 "
        "/ (NPQ); mean, var (K) float32",
    .peer = nullptr,  // cuDNN's GenStats gives sums of y and y^2: not what is asked
    .extent_names = kConvExtents,
    .scalar_names = {},
    .signature = statistics_signature,
    .check = check_statistics,
    .reference = reference::conv2d_statistics,
    .flops = [](const Problem& p) { return conv2d.flops(p); },
    .bytes = [](const Problem& p) { return conv2d.bytes(p) + 8.0 * static_cast<double>(p.extents[Conv2d::K]); },
    .bound = {.c = 4,
              .terms = [](const Problem& p) -> int64_t { return conv_shape(p).patch(); },
              .unit = [](const Problem& p) { return conv2d.bound.unit(p); }},
    .problems = kProblems,
    .rungs = kRungs,
    .choose = choose_statistics,
};

}  // namespace weft::WEFT_TARGET
