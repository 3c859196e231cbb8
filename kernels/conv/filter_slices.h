#pragma once
// Backward filter's sums over slices of the pixels, as the implicit GEMMs leave them, added in a fixed order.

#include "kernels/conv/conv.h"
#include "kernels/gemm/split_k.h"

namespace weft::WEFT_TARGET {

/// The fewest pixels of a slice. Of a tile of 128 x 128 a slice writes and reads 128 KiB of sums; in 512 pixels it
/// reads 256 KiB of operands, and 8 steps of 64 go through a ring of stages that took as long to fill as 4.
inline constexpr int64_t kShortestSlice = 512;

/// dweight (K, R S C / groups) from the sums of `slices` slices, float (slices, K, slice_pitch(R S C / groups)), added
/// in the order of the slices.
template <class T>
void add_filter_slices(const ConvShape& z, const float* sums, int slices, T* dweight, Stream stream) {
  const GemmCall<T, T> call = {
      .a = nullptr, .b = nullptr, .y = dweight, .M = z.K, .N = z.patch(), .K = z.pixels_out(), .ldy = z.patch()};
  gemm_add_slices(call, sums, slices, stream);
}

/// implicit-mma's backward filter (T float, which is rounded to TF32, or bfloat16) with the pixels cut as told: the
/// rung cuts them by the shape. sums is where the slices' sums go, float (slices.count, K, slice_pitch(R S C /
/// groups)); one slice needs none.
template <class T>
void conv2d_backward_filter_implicit_mma(const ConvShape& z, const Slices& slices, const T* x, const T* dy, T* dweight,
                                         float* sums, Stream stream);
/// implicit-wgmma's. A slice's depth is a multiple of 64, or all pixels.
void conv2d_backward_filter_implicit_wgmma(const ConvShape& z, const Slices& slices, const bfloat16* x,
                                           const bfloat16* dy, bfloat16* dweight, float* sums, Stream stream);

}  // namespace weft::WEFT_TARGET
