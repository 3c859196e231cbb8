// conv2d on tensor cores, implicit-mma in each of the three passes: implicit GEMM with mma.sync. The formula and its
// costs stand in conv.h, the matrices in patches.h, tiles and fragments in gemm/mma_tile.h.

#include "kernels/conv/epilogue.h"
#include "kernels/conv/filter_slices.h"
#include "kernels/conv/patches.h"
#include "kernels/conv/statistics.h"
#include "kernels/gemm/mma_multistage.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

/// 4 warps, two by two; two blocks to an SM leave a thread all of its 255 registers.
constexpr int kThreads = 128, kBlocksOfSm = 2;

template <class TileA, class TileB>
constexpr unsigned kSharedBytes = kMmaStages*(TileA::kBytes + TileB::kBytes);

// Implicit mma. im2col wrote the matrix of patches, R S times the picture, to memory for the product to read
// it back: a 3 x 3 layer moves 18 times its picture before the first multiplication. Here the matrix is never there: a
// block fetches a tile of it from where its numbers lie in the picture. A row of a tile is a pixel, 32 numbers deep
// (bf16): 64 bytes of one tap's channels, side by side in NHWC, so whole sectors whatever the filter; that taps read
// the same pixels again is between the SM and L2. cp.async writes zeros where it is told to read nothing, so padding
// costs no branch. Everything else, stages, fragments and swizzle, is gemm's rung 10; the address of a 16-byte chunk
// costs two comparisons and an addition, as what does not change from tile to tile (the pixels' places) or from row to
// row (the tap) is worked out once.
//
// Forward: rows are pixels of y, columns filters. Backward data: rows are the pixels of dx of one class (patches.h),
// columns its channels. blockIdx.x: tiles, columns first, which share their patches; y: classes; z: groups.
template <bool kBackward, class T, int kBlockN, bool kWhole>
__global__ void __launch_bounds__(kThreads, kBlocksOfSm)
    conv2d_implicit_mma_kernel(ConvShape z, const __grid_constant__ PatchClasses classes, const T* __restrict__ source,
                               const T* __restrict__ weight, ConvEpilogue<T> epilogue, ChunkMoments moments) {
  constexpr int kBlockM = 128, kWarpM = kBlockM / 2, kWarpN = kBlockN / 2;
  using TileA = MmaTile<T, kBlockM, true>;
  using TileB = MmaTile<T, kBlockN, !kBackward>;
  auto* const tiles_a = dynamic_shared<unsigned char>();  // kMmaStages tiles of patches, then as many of filters
  auto* const tiles_b = tiles_a + kMmaStages * TileA::kBytes;

  const Patches& patches = classes.at[blockIdx.y];
  const int group = static_cast<int>(blockIdx.z);
  const int columns = (kBackward ? z.C : z.K) / z.groups;  // of the result, in this group
  const int column_blocks = (columns + kBlockN - 1) / kBlockN;
  const int64_t m0 = int64_t{blockIdx.x} / column_blocks * kBlockM;       // this block's first pixel
  const int n0 = static_cast<int>(blockIdx.x) % column_blocks * kBlockN;  // and its first column in the group
  if (m0 >= patches.height()) return;                                     // this class has fewer pixels than another
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int m1 = warp / 2 * kWarpM, n1 = warp % 2 * kWarpN;  // where the warp's sums begin within the block's

  const int depth = patches.depth();
  PatchRows<TileA, kThreads, T, kWhole> copy_a(patches, source + group * patches.channels, m0);
  float sums[kWarpM / 16][kWarpN / 8][4] = {};
  const T* const filters = weight + int64_t{group} * (z.K / z.groups) * z.patch();
  const int64_t tiles = (depth + TileA::kDepth - 1) / TileA::kDepth;
  if constexpr (kBackward) {
    FilterRows<TileB, kThreads, T, kWhole> copy_b(patches, z, filters, n0);
    const auto fetch = [&](int64_t, int stage) {
      copy_a.fetch_next(patches, tiles_a + stage * TileA::kBytes);
      copy_b.fetch_next(patches, z, tiles_b + stage * TileB::kBytes);
    };
    multiply_stages<T, TileA, TileB>(tiles_a, tiles_b, m1, n1, tiles, fetch, sums);
  } else {
    const TileCopy<TileB, kThreads, T> copy_b(filters, depth, n0, columns);
    const auto fetch = [&](int64_t tile, int stage) {
      copy_a.fetch_next(patches, tiles_a + stage * TileA::kBytes);
      copy_b.template run<CopyAsync>(tiles_b + stage * TileB::kBytes, tile * TileB::kDepth,
                                     depth - tile * TileB::kDepth);
    };
    multiply_stages<T, TileA, TileB>(tiles_a, tiles_b, m1, n1, tiles, fetch, sums);
  }

  if constexpr (!kBackward) {
    if (moments.at != nullptr)
      gather_fragments<T>(moments, m0 + m1, group * columns + n0 + n1, (group + 1) * columns, sums);
  }
  constexpr int kWidth = Pack<T>::kSize;
  const bool aligned = conv_epilogue_is_aligned<kWidth>(epilogue) && columns % kWidth == 0;
  pass_fragments<kWidth>(m0 + m1, n0 + n1, sums, tiles_a + warp * kStageBytes<kWarpN / 8>,
                         [&](int64_t row, int64_t column, float(&values)[kWidth]) {
                           if (row >= patches.height() || column >= columns) return;
                           const int count = static_cast<int>(columns - column);
                           store_conv_sums<kWidth>(epilogue, kBackward ? data_pixel(z, patches, row) : row,
                                                   group * columns + static_cast<int>(column), count, aligned, values);
                         });
}

// Backward filter. Rows are filters, columns taps and channels, and the depth is all pixels of y: 100,000 and more, for
// a result of few tiles. So the pixels are cut into slices (blockIdx.y), whose sums go to the workspace and are added
// in a fixed order, as in gemm/split_k.cu; with one slice there is no workspace, and Out is T. dy is transposed, and a
// tile's row of patches is one pixel under several taps: both operands are contiguous across the depth, and ldmatrix
// transposes them.
template <class T, class Out, int kBlockM, bool kWhole>
__global__ void __launch_bounds__(kThreads, kBlocksOfSm)
    conv2d_backward_filter_implicit_mma_kernel(ConvShape z, const __grid_constant__ Patches patches,
                                               const T* __restrict__ x, const T* __restrict__ dy,
                                               ConvEpilogue<Out> sums_to, int64_t slice_depth) {
  constexpr int kBlockN = sizeof(T) == 2 ? 128 : 64, kWarpM = kBlockM / 2, kWarpN = kBlockN / 2;
  using TileA = MmaTile<T, kBlockM, false>;
  using TileB = MmaTile<T, kBlockN, false>;
  auto* const tiles_a = dynamic_shared<unsigned char>();  // kMmaStages tiles of dy, then as many of patches
  auto* const tiles_b = tiles_a + kMmaStages * TileA::kBytes;

  const int group = static_cast<int>(blockIdx.z), filters = z.K / z.groups, columns = z.patch();
  const int column_blocks = (columns + kBlockN - 1) / kBlockN;
  const int m0 = static_cast<int>(blockIdx.x) / column_blocks * kBlockM;  // this block's first filter in the group
  const int n0 = static_cast<int>(blockIdx.x) % column_blocks * kBlockN;  // and its first tap and channel
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int m1 = warp / 2 * kWarpM, n1 = warp % 2 * kWarpN;  // where the warp's sums begin within the block's

  const int64_t first = blockIdx.y * slice_depth, rest = z.pixels_out() - first;  // this slice's pixels
  const int64_t depth = rest < slice_depth ? rest : slice_depth;
  const TileCopy<TileA, kThreads, T> copy_a(dy + first * z.K + group * filters, z.K, m0, filters);
  PatchColumns<TileB, kThreads, T, kWhole> copy_b(patches, x + group * patches.channels, n0, first, first + depth);
  const auto fetch = [&](int64_t tile, int stage) {
    const int64_t k0 = tile * TileA::kDepth;
    copy_a.template run<CopyAsync>(tiles_a + stage * TileA::kBytes, k0, depth - k0);
    copy_b.fetch_next(patches, tiles_b + stage * TileB::kBytes);
  };
  float sums[kWarpM / 16][kWarpN / 8][4] = {};
  multiply_stages<T, TileA, TileB>(tiles_a, tiles_b, m1, n1, (depth + TileA::kDepth - 1) / TileA::kDepth, fetch, sums);

  constexpr int kWidth = Pack<Out>::kSize;
  const bool aligned = conv_epilogue_is_aligned<kWidth>(sums_to);
  const int64_t m2 = int64_t{blockIdx.y} * z.K + group * filters;  // the group's first filter of the slice
  pass_fragments<kWidth>(m0 + m1, n0 + n1, sums, tiles_a + warp * kStageBytes<kWarpN / 8>,
                         [&](int64_t row, int64_t column, float(&values)[kWidth]) {
                           if (row >= filters || column >= columns) return;
                           store_conv_sums<kWidth>(sums_to, m2 + row, static_cast<int>(column),
                                                   static_cast<int>(columns - column), aligned, values);
                         });
}

template <bool kBackward, class T, int kBlockN, bool kWhole>
void launch_classes(const ConvShape& z, const PatchClasses& classes, int count, int64_t height, const T* source,
                    const T* weight, const ConvEpilogue<T>& epilogue, const ChunkMoments& moments, Stream stream) {
  const int columns = (kBackward ? z.C : z.K) / z.groups;
  launch(conv2d_implicit_mma_kernel<kBackward, T, kBlockN, kWhole>,
         {.grid = dim3(blocks_for(ceil_div(height, 128) * ceil_div(columns, kBlockN), 1), static_cast<unsigned>(count),
                       static_cast<unsigned>(z.groups)),
          .block = dim3(kThreads),
          .shared_bytes = kSharedBytes<MmaTile<T, 128, true>, MmaTile<T, kBlockN, !kBackward>>,
          .stream = stream},
         z, classes, source, weight, epilogue, moments);
}

/// Tiles of 128 x 128 for bf16 where there are columns for them; floats, rounded between ldmatrix and mma, need the
/// registers, and chunks put together element by element are not worth a kernel more.
template <bool kBackward, class T>
void launch_tiles(const ConvShape& z, const PatchClasses& classes, int count, int64_t height, const T* source,
                  const T* weight, const ConvEpilogue<T>& epilogue, const ChunkMoments& moments, Stream stream) {
  const int columns = (kBackward ? z.C : z.K) / z.groups, chunk = Pack<T>::kSize;
  const bool whole = z.C / z.groups % chunk == 0 && (!kBackward || z.K / z.groups % chunk == 0);
  if (!whole)
    return launch_classes<kBackward, T, 64, false>(z, classes, count, height, source, weight, epilogue, moments,
                                                   stream);
  if constexpr (sizeof(T) == 2) {
    if (columns > 64)
      return launch_classes<kBackward, T, 128, true>(z, classes, count, height, source, weight, epilogue, moments,
                                                     stream);
  }
  launch_classes<kBackward, T, 64, true>(z, classes, count, height, source, weight, epilogue, moments, stream);
}

template <class T>
void forward(const ConvShape& z, const T* x, const T* weight, const ConvEpilogue<T>& epilogue,
             const ChunkMoments& moments, Stream stream) {
  PatchClasses classes{};
  classes.at[0] = forward_patches(z);
  launch_tiles<false>(z, classes, 1, z.pixels_out(), x, weight, epilogue, moments, stream);
}

/// How backward filter cuts the pixels.
template <class T>
Slices filter_slices(const ConvShape& z) {
  const int block_m = z.K / z.groups > 64 ? 128 : 64, block_n = sizeof(T) == 2 ? 128 : 64;
  return slices_of(int64_t{z.groups} * ceil_div(z.K / z.groups, block_m) * block_m, z.patch(), z.pixels_out(), block_m,
                   block_n, 32, kShortestSlice);
}

template <class T, class Out, int kBlockM, bool kWhole>
void launch_filter(const ConvShape& z, const Slices& slices, const T* x, const T* dy, const ConvEpilogue<Out>& to,
                   Stream stream) {
  constexpr int kBlockN = sizeof(T) == 2 ? 128 : 64;
  launch(conv2d_backward_filter_implicit_mma_kernel<T, Out, kBlockM, kWhole>,
         {.grid = dim3(blocks_for(ceil_div(z.K / z.groups, kBlockM) * ceil_div(z.patch(), kBlockN), 1),
                       static_cast<unsigned>(slices.count), static_cast<unsigned>(z.groups)),
          .block = dim3(kThreads),
          .shared_bytes = kSharedBytes<MmaTile<T, kBlockM, false>, MmaTile<T, kBlockN, false>>,
          .stream = stream},
         z, forward_patches(z), x, dy, to, slices.depth);
}

template <class T, class Out>
void launch_filter_tiles(const ConvShape& z, const Slices& slices, const T* x, const T* dy, Out* to, int64_t pitch,
                         Stream stream) {
  const ConvEpilogue<Out> sums_to{nullptr, nullptr, nullptr, to, static_cast<int>(pitch), false};
  const bool whole = z.C / z.groups % Pack<T>::kSize == 0, large = z.K / z.groups > 64;
  if (whole)
    large ? launch_filter<T, Out, 128, true>(z, slices, x, dy, sums_to, stream)
          : launch_filter<T, Out, 64, true>(z, slices, x, dy, sums_to, stream);
  else
    large ? launch_filter<T, Out, 128, false>(z, slices, x, dy, sums_to, stream)
          : launch_filter<T, Out, 64, false>(z, slices, x, dy, sums_to, stream);
}

}  // namespace

void conv2d_implicit_mma(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    forward(conv_shape(problem), as<const T>(operands[kConvX]), as<const T>(operands[kConvWeight]),
            conv_epilogue<T>(problem, operands), {}, stream);
  });
}

void conv2d_statistics_implicit_mma(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const ChunkMoments chunks = chunk_moments(z, workspace);
  with_type(problem.dtype, [&]<class T>() {
    forward<T>(z, as<const T>(operands[kStatisticsX]), as<const T>(operands[kStatisticsWeight]),
               {nullptr, nullptr, nullptr, as<T>(operands[kStatisticsY]), z.K, false}, chunks, stream);
  });
  merge_chunk_moments(chunks, as<float>(operands[kStatisticsMean]), as<float>(operands[kStatisticsVar]), stream);
}

void conv2d_backward_data_implicit_mma(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    const ConvEpilogue<T> to = data_epilogue<T>(problem, operands);
    for_data_classes(z, [&](const PatchClasses& classes, int count, int64_t height) {
      launch_tiles<true>(z, classes, count, height, as<const T>(operands[kDataDy]), as<const T>(operands[kDataWeight]),
                         to, {}, stream);
    });
  });
}

template <class T>
void conv2d_backward_filter_implicit_mma(const ConvShape& z, const Slices& slices, const T* x, const T* dy, T* dweight,
                                         float* sums, Stream stream) {
  if (slices.count == 1) return launch_filter_tiles(z, slices, x, dy, dweight, z.patch(), stream);
  launch_filter_tiles(z, slices, x, dy, sums, slice_pitch(z.patch()), stream);
  add_filter_slices(z, sums, slices.count, dweight, stream);
}

template void conv2d_backward_filter_implicit_mma(const ConvShape&, const Slices&, const float*, const float*, float*,
                                                  float*, Stream);
template void conv2d_backward_filter_implicit_mma(const ConvShape&, const Slices&, const bfloat16*, const bfloat16*,
                                                  bfloat16*, float*, Stream);

void conv2d_backward_filter_implicit_mma(const Problem& problem, void* const* operands, void* workspace,
                                         Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    conv2d_backward_filter_implicit_mma(z, filter_slices<T>(z), as<const T>(operands[0]), as<const T>(operands[1]),
                                        as<T>(operands[2]), as<float>(workspace), stream);
  });
}

int64_t conv2d_backward_filter_implicit_mma_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return slices_bytes(problem.dtype == DType::f32 ? filter_slices<float>(z) : filter_slices<bfloat16>(z), z.K,
                      z.patch());
}

bool takes_implicit_mma(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  if (!z.numbers_pixels() || !z.numbers_groups()) return false;
  return problem.dtype == DType::bf16 || problem.extents[extents::Conv2d::tf32] != 0;
}

}  // namespace weft::WEFT_TARGET
