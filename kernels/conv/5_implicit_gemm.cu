// conv2d, implicit-gemm and implicit-gemm-wide, in each of the three passes. The formula and its costs stand in conv.h.

#include "kernels/conv/implicit_gemm.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

// Implicit GEMM. im2col writes every number of a 3x3 layer's x nine times and reads it as often again: 18 times the
// picture, over the bus in im2col-gemm, out to L2 and in again in im2col-tiles, whose two launches a tile also leave
// SMs waiting for the last block. Here the matrix of patches is a rule, not a place: a block that needs 64 rows of 16
// columns of it finds, for each row, the pixel under tap (0, 0) once, and for each step of the depth the tap and the
// channel; what they point at goes straight into the tile in shared memory, zero where it is padding. The nine readings
// remain, but of L1 and L2: neighbouring rows share all but a column of pixels. No workspace, so no pictures taken in
// parts: one launch. Nothing but the fetching differs from gemm's loop.
//
// Backward data does not look up which taps meet a pixel: pixels of the same remainder by the stride meet the same
// taps, and each such class is a product of its own without a zero in it (patches.h). Groups are blocks of their own.
// Where C' is a multiple of 4, four channels of a tap are one read.
//
// implicit-gemm-wide is the same with tiles of 128 x 128, that read each operand half as often: for layers with enough
// of them.
template <class Tile, bool kGathers>
void forward(const ConvShape& z, const float* x, const float* weight, const ConvEpilogue<float>& epilogue,
             const ChunkMoments& moments, Stream stream) {
  const auto run = [&]<bool kFours>() {
    const ForwardPass<Tile, kFours, kGathers> pass = {
        .patches = forward_patches(z),
        .x = x,
        .weight = weight,
        .epilogue = epilogue,
        .filters = z.filters(),
        .fours_of_y = conv_epilogue_is_aligned<4>(epilogue) && z.filters() % 4 == 0,
        .moments = moments};
    launch_implicit_gemm(pass, 1, z.groups, stream);
  };
  z.channels() % 4 == 0 && aligned({x}) ? run.template operator()<true>() : run.template operator()<false>();
}

template <class Tile>
void forward(const Problem& problem, void* const* operands, Stream stream) {
  forward<Tile, false>(conv_shape(problem), as<const float>(operands[kConvX]), as<const float>(operands[kConvWeight]),
                       conv_epilogue<float>(problem, operands), {}, stream);
}

/// conv2d_statistics: a warp's 64 rows are a chunk of pixels, whose sums its lanes have in registers.
template <class Tile>
void statistics(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const ChunkMoments chunks = chunk_moments(z, workspace);
  forward<Tile, true>(z, as<const float>(operands[kStatisticsX]), as<const float>(operands[kStatisticsWeight]),
                      {nullptr, nullptr, nullptr, as<float>(operands[kStatisticsY]), z.K, false}, chunks, stream);
  merge_chunk_moments(chunks, as<float>(operands[kStatisticsMean]), as<float>(operands[kStatisticsVar]), stream);
}

template <class Tile>
void backward_data(const Problem& problem, void* const* operands, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* dy = static_cast<const float*>(operands[kDataDy]);
  const ConvEpilogue<float> epilogue = data_epilogue<float>(problem, operands);
  const auto run = [&]<bool kFours>() {
    for (int of_class = 0; of_class < z.stride_h * z.stride_w; ++of_class) {
      const DataPass<Tile, kFours> pass = {
          .patches = data_patches(z, of_class),
          .dy = dy,
          .weight = static_cast<const float*>(operands[kDataWeight]),
          .epilogue = epilogue,
          .shape = z,
          .fours_of_dx = conv_epilogue_is_aligned<4>(epilogue) && z.channels() % 4 == 0};
      launch_implicit_gemm(pass, 1, z.groups, stream);
    }
  };
  z.filters() % 4 == 0 && aligned({dy}) ? run.template operator()<true>() : run.template operator()<false>();
}

template <class Tile>
void backward_filter(const Problem& problem, void* const* operands, Stream stream) {
  const ConvShape z = conv_shape(problem);
  launch_filter_slices<Tile>(z, static_cast<const float*>(operands[0]), static_cast<const float*>(operands[1]),
                             static_cast<float*>(operands[2]), z.patch(), {1, z.pixels_out()}, stream);
}

}  // namespace

bool conv2d_implicit_gemm_takes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return z.numbers_groups() && z.numbers_pixels();
}

void conv2d_implicit_gemm(const Problem& problem, void* const* operands, void*, Stream stream) {
  forward<NarrowTile>(problem, operands, stream);
}
void conv2d_implicit_gemm_wide(const Problem& problem, void* const* operands, void*, Stream stream) {
  forward<WideTile>(problem, operands, stream);
}
void conv2d_statistics_implicit_gemm(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  statistics<NarrowTile>(problem, operands, workspace, stream);
}
void conv2d_statistics_implicit_gemm_wide(const Problem& problem, void* const* operands, void* workspace,
                                          Stream stream) {
  statistics<WideTile>(problem, operands, workspace, stream);
}
void conv2d_backward_data_implicit_gemm(const Problem& problem, void* const* operands, void*, Stream stream) {
  backward_data<NarrowTile>(problem, operands, stream);
}
void conv2d_backward_data_implicit_gemm_wide(const Problem& problem, void* const* operands, void*, Stream stream) {
  backward_data<WideTile>(problem, operands, stream);
}
void conv2d_backward_filter_implicit_gemm(const Problem& problem, void* const* operands, void*, Stream stream) {
  backward_filter<NarrowTile>(problem, operands, stream);
}
void conv2d_backward_filter_implicit_gemm_wide(const Problem& problem, void* const* operands, void*, Stream stream) {
  backward_filter<WideTile>(problem, operands, stream);
}

}  // namespace weft::WEFT_TARGET
