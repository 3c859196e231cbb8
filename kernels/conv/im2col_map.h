#pragma once
// The matrices of patches.h as the copy engine (TMA) brings them: its im2col mode is made for them. One copy takes a
// column of pixels, from wherever the first lies to wherever the last does, over the ends of rows and of images, 64
// channels of each; where a pixel lies on padding it writes zeros. The thread that asks for it names the first pixel's
// position under the filter's first tap, and the tap: no thread computes any other address.

#include "kernels/conv/patches.h"
#include "kernels/tensor_map.h"

namespace weft::WEFT_TARGET {

/// Where TMA's filter corner lies for pixel 0: it counts taps forwards from there, while backward data's go backwards.
__host__ __device__ inline int corner(const PatchAxis& axis) {
  return axis.origin + (axis.tap_step < 0 ? (axis.taps - 1) * axis.tap_step : 0);
}
/// How far tap j lies from the corner.
__host__ __device__ inline int tap_offset(const PatchAxis& axis, int j) {
  return axis.tap_step < 0 ? (j + 1 - axis.taps) * axis.tap_step : j * axis.tap_step;
}
/// The bounding box's far corner, relative to the source's last position.
inline int far_corner(const PatchAxis& axis) {
  return corner(axis) + (axis.count - 1) * axis.step - (axis.extent - 1);
}

/// True where a map can be made: corners of a map with two axes have 8 bits, offsets of taps too, strides are up to 8.
inline bool has_map(const PatchAxis& axis) {
  const auto is_corner = [](int at) { return at >= -128 && at <= 127; };
  return axis.taps == 0 || axis.count == 0 ||
         (is_corner(corner(axis)) && is_corner(far_corner(axis)) && axis.step <= 8 &&
          (axis.taps - 1) * (axis.tap_step < 0 ? -axis.tap_step : axis.tap_step) <= 255);
}
inline bool has_map(const Patches& patches) {
  return has_map(patches.rows) && has_map(patches.columns) && patches.pitch % 8 == 0;
}

/// The map of `pixels` rows of 64 channels, with the 128-byte swizzle. patches has pixels and taps.
inline TensorMap patch_map(const Patches& patches, const bfloat16* source, int pixels) {
  GlobalTensor tensor;
  tensor.base = source;
  tensor.rank = 4;
  const std::int64_t extents[] = {patches.pitch, patches.columns.extent, patches.rows.extent, patches.images};
  for (int axis = 0; axis < 4; ++axis) {
    tensor.extents[axis] = extents[axis];
    if (axis > 0) tensor.strides[axis] = axis == 1 ? extents[0] * 2 : tensor.strides[axis - 1] * extents[axis - 1];
  }
  tensor.element_strides[1] = patches.columns.step;
  tensor.element_strides[2] = patches.rows.step;
  tensor.swizzle = Swizzle::bytes128;
  const int lower[] = {corner(patches.columns), corner(patches.rows)};
  const int upper[] = {far_corner(patches.columns), far_corner(patches.rows)};
  return encode_im2col(tensor, lower, upper, 64, pixels);
}

/// The filters (filters, taps, channels) as boxes of 64 channels of one tap of `filters` filters.
inline TensorMap filter_map(const ConvShape& z, const bfloat16* weight, int filters) {
  GlobalTensor tensor;
  tensor.base = weight;
  tensor.rank = 3;
  tensor.extents[0] = z.C;
  tensor.extents[1] = z.R * z.S;
  tensor.extents[2] = z.K;
  tensor.strides[1] = int64_t{z.C} * 2;
  tensor.strides[2] = int64_t{z.patch()} * 2;
  tensor.swizzle = Swizzle::bytes128;
  const int box[] = {64, 1, filters};
  return encode_tiled(tensor, box);
}

#if WEFT_HAS_HOPPER

/// Starts the copy of the map's pixels from `pixel` on, channels c to c + 63, under tap (r, s).
__device__ __forceinline__ void load_patches(unsigned char* tile, const TensorMap& map, const Patches& patches,
                                             const Pixel& pixel, int c, int r, int s, std::uint64_t* full) {
  tma_load_im2col_4d(tile, map, c, corner(patches.columns) + pixel.j * patches.columns.step,
                     corner(patches.rows) + pixel.i * patches.rows.step, pixel.n,
                     static_cast<std::uint16_t>(tap_offset(patches.columns, s)),
                     static_cast<std::uint16_t>(tap_offset(patches.rows, r)), full);
}

#endif

}  // namespace weft::WEFT_TARGET
