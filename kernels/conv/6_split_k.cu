// conv2d_backward_filter, split-k. The formula and its costs stand in conv.h.

#include "kernels/conv/filter_slices.h"
#include "kernels/conv/implicit_gemm.h"

namespace weft::WEFT_TARGET {
namespace {

// Split-K. A filter's gradient is a small matrix with a long sum behind each element: 64 x 576 from 401,408
// pixels for a ResNet's first 3x3 layers at 128 pictures, 9 tiles of 64 x 64 for 132 SMs. Here the pixels are cut into
// slices, and each block sums one tile over one slice into the workspace; gemm's kernel for it then adds slice 0, 1, 2,
// ... in that order. Atomics would save that second pass, 8 bytes a sum and slice, but the last bits would depend on
// which block comes first. How many slices is a function of the shape alone, so the bits are the same on every device.
PixelSlices pixel_slices(const ConvShape& z) {
  // As many rows of tiles as the groups have together.
  const int64_t rows = ceil_div(z.filters(), NarrowTile::kBlockM) * NarrowTile::kBlockM * z.groups;
  const Slices slices =
      slices_of(rows, z.patch(), z.pixels_out(), NarrowTile::kBlockM, NarrowTile::kBlockN, NarrowTile::kBlockK);
  return {slices.count, slices.depth};
}

}  // namespace

int64_t conv2d_backward_filter_split_k_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  const PixelSlices slices = pixel_slices(z);
  return slices_bytes({slices.count, slices.pixels}, z.K, z.patch());
}

void conv2d_backward_filter_split_k(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* x = static_cast<const float*>(operands[0]);
  const auto* dy = static_cast<const float*>(operands[1]);
  auto* dweight = static_cast<float*>(operands[2]);
  const PixelSlices slices = pixel_slices(z);
  if (slices.count == 1) return launch_filter_slices<NarrowTile>(z, x, dy, dweight, z.patch(), slices, stream);
  auto* sums = static_cast<float*>(workspace);
  launch_filter_slices<NarrowTile>(z, x, dy, sums, slice_pitch(z.patch()), slices, stream);
  add_filter_slices(z, sums, slices.count, dweight, stream);
}

}  // namespace weft::WEFT_TARGET
