// conv2d on Hopper's tensor cores, implicit-wgmma in each of the three passes: wgmma and TMA's im2col mode. The
// formula and its costs stand in conv.h, the matrices in patches.h and im2col_map.h, the ring in patch_ring.h.

#include "kernels/conv/epilogue.h"
#include "kernels/conv/filter_slices.h"
#include "kernels/conv/patch_ring.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

template <int kBlockN>
constexpr int kStages = kBlockN == 64 ? 6 : 4;
template <bool kBackward, int kBlockN>
using ClassRing = PatchRing<kBackward, kBlockN, kStages<kBlockN>>;

/// The maps of a launch's classes.
struct PatchMaps {
  TensorMap at[PatchClasses::kMost];
};

// Implicit wgmma. implicit-mma's threads spent most of their instructions on addresses: two comparisons, an
// addition and a copy for every 16 bytes, and ldmatrix for every fragment. TMA's im2col mode knows what a patch is: a
// word from one thread brings 128 pixels of 64 channels of one tap, with padding, strides, dilation and the ends of
// rows and images seen to, swizzled as wgmma reads it. So a producer asks for tiles as many stages ahead as there are,
// two warpgroups do nothing but multiply, as in gemm's ring, and the depth goes tap by tap, 64 channels at a time.
//
// bfloat16 alone. wgmma takes TF32 too, but only from tiles that lie along the depth: it can turn 16-bit operands, and
// no others. Backward data's filters and both operands of backward filter lie the other way; float32 stays with
// implicit-mma in all three passes.
//
// Forward: rows are pixels of y, columns filters. Backward data: rows are the pixels of dx of one class (patches.h),
// columns its channels, and taps go backwards. blockIdx.x: tiles, columns first, which share their patches; y: classes.
template <bool kBackward, int kBlockN>
__global__ void __launch_bounds__(kRingThreads, 1)
    conv2d_implicit_wgmma_kernel(ConvShape z, const __grid_constant__ PatchClasses classes,
                                 const __grid_constant__ PatchMaps maps, const __grid_constant__ TensorMap map_weight,
                                 ConvEpilogue<bfloat16> epilogue, ChunkMoments moments) {
#if WEFT_HAS_HOPPER
  using Tiles = ClassRing<kBackward, kBlockN>;
  const Tiles ring{dynamic_shared<unsigned char>()};
  const Patches& patches = classes.at[blockIdx.y];
  const TensorMap& map = maps.at[blockIdx.y];
  const int columns = kBackward ? z.C : z.K;
  const int column_blocks = (columns + kBlockN - 1) / kBlockN;
  const int64_t m0 = int64_t{blockIdx.x} / column_blocks * kPatchBlockM;  // this block's first pixel
  const int n0 = static_cast<int>(blockIdx.x) % column_blocks * kBlockN;  // and its first column
  if (m0 >= patches.height()) return;                                     // this class has fewer pixels than another
  const int steps = steps_of(patches);
  if (threadIdx.x == 0) ring.initialise(2);
  __syncthreads();

  typename Tiles::Position at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) produce_patches<kBackward, kBlockN>(ring, at, z, patches, map, map_weight, m0, n0);
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;  // rows 64 group and on
    float sums[kBlockN / 2];
    if (steps > 0) {
      ring.consume(at, group, steps, sums, [&](int stage) {
        if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty(stage));
      });
    } else {  // pixels that no tap meets
#pragma unroll
      for (float& sum : sums) sum = 0;
    }
    const bool aligned = conv_epilogue_is_aligned<2>(epilogue);
    const int64_t m1 = m0 + group * 64;
    if constexpr (!kBackward) {
      if (moments.at != nullptr)
        gather_registers<bfloat16>(moments, m1, n0, columns, sums,
                                   reinterpret_cast<float*>(ring.more() + group * gather_bytes(kBlockN)),
                                   1 + static_cast<unsigned>(group));
    }
    int64_t pixels[2] = {};  // the lane's two rows
    pass_registers(m1, n0, sums, [&](int half, int64_t row, int64_t column, float(&pair)[2]) {
      if (row >= patches.height() || column >= columns) return;
      if (column - n0 < 8) pixels[half] = kBackward ? data_pixel(z, patches, row) : row;
      store_conv_sums<2>(epilogue, pixels[half], static_cast<int>(column), columns - static_cast<int>(column), aligned,
                         pair);
    });
  }
#endif
}

/// Backward filter's block: 128 filters, and 128 columns of taps and channels for both warpgroups; of few filters 64,
/// and 128 columns for each.
template <int kBlockM>
struct FilterBlock {
  static constexpr int kBlockN = kBlockM == 128 ? 128 : 256, kStages = 4;
  using Tiles = Ring<WgmmaTile<kBlockM, false>, WgmmaTile<kBlockN, false>, kStages>;
};

/// Columns of dweight in the order of backward filter's tiles: boxes of 64 channels of a tap, the last of a tap with
/// fewer.
struct FilterColumns {
  int taps_s, channels, boxes_of_tap, boxes;

  __host__ __device__ explicit FilterColumns(const ConvShape& z)
      : taps_s(z.S), channels(z.C), boxes_of_tap((z.C + 63) / 64), boxes(z.R * z.S * boxes_of_tap) {}
#if WEFT_HAS_HOPPER
  /// dweight's column for number i of a box, or -1 where there is none.
  __device__ __forceinline__ int column(int box, int i) const {
    const int c = box % boxes_of_tap * 64 + i;
    return box < boxes && c < channels ? box / boxes_of_tap * channels + c : -1;
  }
#endif
};

// Backward filter. Rows are filters, columns boxes of 64 channels of a tap, the depth is the pixels of y, 64 a step: a
// box of patches is now as wide as the channels and as deep as the pixels, and so is dy's, so both operands are
// contiguous across the depth (MN-major), which wgmma takes as it is. Pixels are cut as by implicit-mma.
template <class Out, int kBlockM>
__global__ void __launch_bounds__(kRingThreads, 1)
    conv2d_backward_filter_implicit_wgmma_kernel(ConvShape z, const __grid_constant__ Patches patches,
                                                 const __grid_constant__ TensorMap map_x,
                                                 const __grid_constant__ TensorMap map_dy, ConvEpilogue<Out> sums_to,
                                                 int64_t slice_depth) {
#if WEFT_HAS_HOPPER
  using Block = FilterBlock<kBlockM>;
  using Tiles = typename Block::Tiles;
  constexpr int kBoxes = Block::kBlockN / 64;
  const Tiles ring{dynamic_shared<unsigned char>()};
  const FilterColumns all(z);
  const int column_blocks = (all.boxes + kBoxes - 1) / kBoxes;
  const int m0 = static_cast<int>(blockIdx.x) / column_blocks * kBlockM;          // this block's first filter
  const int box0 = static_cast<int>(blockIdx.x) % column_blocks * kBoxes;         // and its first box of columns
  const int64_t first = blockIdx.y * slice_depth, rest = z.pixels_out() - first;  // this slice's pixels
  const auto steps = static_cast<int>(((rest < slice_depth ? rest : slice_depth) + 63) / 64);
  if (threadIdx.x == 0) ring.initialise(2);
  __syncthreads();

  typename Tiles::Position at;
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    set_max_registers_dec<kProducerRegisters>();
    if (threadIdx.x == 0) {
      Pixel pixel(patches, first);
      for (int step = 0; step < steps; ++step, at.next(), pixel.advance(patches, 64)) {
        ring.announce(at);
        Tiles::TileA::load(ring.a(at.stage), map_dy, m0, static_cast<int>(first) + step * 64, ring.full(at.stage));
#pragma unroll 1
        for (int i = 0; i < kBoxes; ++i) {
          // Behind the last box the last one again: every byte that was announced must come.
          const int box = box0 + i < all.boxes ? box0 + i : all.boxes - 1, tap = box / all.boxes_of_tap;
          load_patches(ring.b(at.stage) + i * Tiles::TileB::kBytesOf64, map_x, patches, pixel,
                       box % all.boxes_of_tap * 64, tap / all.taps_s, tap % all.taps_s, ring.full(at.stage));
        }
      }
    }
  } else {
    set_max_registers_inc<kConsumerRegisters>();
    const int group = warpgroup - 1;
    const int row_group = kBlockM == 128 ? group : 0, n1 = kBlockM == 128 ? 0 : group * 128;
    float sums[64];
    ring.consume(
        at, row_group, steps, sums,
        [&](int stage) {
          if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty(stage));
        },
        n1);
    const bool aligned = conv_epilogue_is_aligned<2>(sums_to);
    const int64_t slice = int64_t{blockIdx.y} * z.K;
    pass_registers(m0 + row_group * 64, n1, sums, [&](int, int64_t row, int64_t i, float(&pair)[2]) {
      const int column = all.column(box0 + static_cast<int>(i) / 64, static_cast<int>(i) % 64);
      if (row < z.K && column >= 0) store_conv_sums<2>(sums_to, slice + row, column, 2, aligned, pair);
    });
  }
#endif
}

template <bool kBackward, int kBlockN>
void launch_wgmma(const ConvShape& z, const PatchClasses& classes, int count, int64_t height, const bfloat16* source,
                  const bfloat16* weight, const ConvEpilogue<bfloat16>& epilogue, const ChunkMoments& moments,
                  Stream stream) {
  PatchMaps maps{};
  for (int i = 0; i < count; ++i)
    if (steps_of(classes.at[i]) > 0) maps.at[i] = patch_map(classes.at[i], source, kPatchBlockM);
  const int columns = kBackward ? z.C : z.K;
  launch(conv2d_implicit_wgmma_kernel<kBackward, kBlockN>,
         {.grid = dim3(blocks_for(ceil_div(height, kPatchBlockM) * ceil_div(columns, kBlockN), 1),
                       static_cast<unsigned>(count)),
          .block = dim3(kRingThreads),
          .shared_bytes = ClassRing<kBackward, kBlockN>::kSharedBytes,
          .stream = stream},
         z, classes, maps, filter_map(z, weight, kBackward ? 64 : kBlockN), epilogue, moments);
}

template <bool kBackward>
void launch_wgmma(const ConvShape& z, const PatchClasses& classes, int count, int64_t height, const bfloat16* source,
                  const bfloat16* weight, const ConvEpilogue<bfloat16>& epilogue, const ChunkMoments& moments,
                  Stream stream) {
  if ((kBackward ? z.C : z.K) > 64)
    launch_wgmma<kBackward, 128>(z, classes, count, height, source, weight, epilogue, moments, stream);
  else
    launch_wgmma<kBackward, 64>(z, classes, count, height, source, weight, epilogue, moments, stream);
}

void forward(const ConvShape& z, const bfloat16* x, const bfloat16* weight, const ConvEpilogue<bfloat16>& epilogue,
             const ChunkMoments& moments, Stream stream) {
  PatchClasses classes{};
  classes.at[0] = forward_patches(z);
  launch_wgmma<false>(z, classes, 1, z.pixels_out(), x, weight, epilogue, moments, stream);
}

/// How backward filter cuts the pixels: as many columns as its boxes have.
Slices wgmma_filter_slices(const ConvShape& z) {
  const int block_m = z.K > 64 ? 128 : 64, block_n = z.K > 64 ? 128 : 256;
  return slices_of(z.K, int64_t{FilterColumns(z).boxes} * 64, z.pixels_out(), block_m, block_n, 64, kShortestSlice);
}

template <class Out, int kBlockM>
void launch_filter(const ConvShape& z, const Slices& slices, const bfloat16* x, const bfloat16* dy, Out* to,
                   int64_t pitch, Stream stream) {
  using Block = FilterBlock<kBlockM>;
  const Patches patches = forward_patches(z);
  const ConvEpilogue<Out> sums_to{nullptr, nullptr, nullptr, to, static_cast<int>(pitch), false};
  launch(conv2d_backward_filter_implicit_wgmma_kernel<Out, kBlockM>,
         {.grid = dim3(blocks_for(ceil_div(z.K, kBlockM) * ceil_div(FilterColumns(z).boxes, Block::kBlockN / 64), 1),
                       static_cast<unsigned>(slices.count)),
          .block = dim3(kRingThreads),
          .shared_bytes = Block::Tiles::kSharedBytes,
          .stream = stream},
         z, patches, patch_map(patches, x, 64), Block::Tiles::TileA::map(dy, z.K, z.K, z.pixels_out()), sums_to,
         slices.depth);
}

template <class Out>
void launch_filter(const ConvShape& z, const Slices& slices, const bfloat16* x, const bfloat16* dy, Out* to,
                   int64_t pitch, Stream stream) {
  z.K > 64 ? launch_filter<Out, 128>(z, slices, x, dy, to, pitch, stream)
           : launch_filter<Out, 64>(z, slices, x, dy, to, pitch, stream);
}

}  // namespace

void conv2d_implicit_wgmma(const Problem& problem, void* const* operands, void*, Stream stream) {
  forward(conv_shape(problem), as<const bfloat16>(operands[kConvX]), as<const bfloat16>(operands[kConvWeight]),
          conv_epilogue<bfloat16>(problem, operands), {}, stream);
}

void conv2d_statistics_implicit_wgmma(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const ChunkMoments chunks = chunk_moments(z, workspace);
  forward(z, as<const bfloat16>(operands[kStatisticsX]), as<const bfloat16>(operands[kStatisticsWeight]),
          {nullptr, nullptr, nullptr, as<bfloat16>(operands[kStatisticsY]), z.K, false}, chunks, stream);
  merge_chunk_moments(chunks, as<float>(operands[kStatisticsMean]), as<float>(operands[kStatisticsVar]), stream);
}

void conv2d_backward_data_implicit_wgmma(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const ConvEpilogue<bfloat16> to = data_epilogue<bfloat16>(problem, operands);
  for_data_classes(z, [&](const PatchClasses& classes, int count, int64_t height) {
    launch_wgmma<true>(z, classes, count, height, as<const bfloat16>(operands[kDataDy]),
                       as<const bfloat16>(operands[kDataWeight]), to, {}, stream);
  });
}

void conv2d_backward_filter_implicit_wgmma(const ConvShape& z, const Slices& slices, const bfloat16* x,
                                           const bfloat16* dy, bfloat16* dweight, float* sums, Stream stream) {
  if (slices.count == 1) return launch_filter(z, slices, x, dy, dweight, z.patch(), stream);
  launch_filter(z, slices, x, dy, sums, slice_pitch(z.patch()), stream);
  add_filter_slices(z, sums, slices.count, dweight, stream);
}

void conv2d_backward_filter_implicit_wgmma(const Problem& problem, void* const* operands, void* workspace,
                                           Stream stream) {
  const ConvShape z = conv_shape(problem);
  conv2d_backward_filter_implicit_wgmma(z, wgmma_filter_slices(z), as<const bfloat16>(operands[0]),
                                        as<const bfloat16>(operands[1]), as<bfloat16>(operands[2]),
                                        as<float>(workspace), stream);
}

int64_t conv2d_backward_filter_implicit_wgmma_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return slices_bytes(wgmma_filter_slices(z), z.K, z.patch());
}

bool takes_implicit_wgmma(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return problem.dtype == DType::bf16 && z.groups == 1 && z.numbers_pixels() && has_map(forward_patches(z));
}

bool takes_backward_filter_implicit_wgmma(const Problem& problem) {
  return takes_implicit_wgmma(problem) && conv_shape(problem).K % 8 == 0;
}

bool takes_backward_data_implicit_wgmma(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  if (problem.dtype != DType::bf16 || z.groups != 1 || !z.numbers_pixels() || z.C % 8 != 0) return false;
  for (int of_class = 0; of_class < z.stride_h * z.stride_w; ++of_class)
    if (!has_map(data_patches(z, of_class))) return false;
  return true;
}

}  // namespace weft::WEFT_TARGET
