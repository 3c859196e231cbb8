#pragma once
// Backward filter's sums over slices of the pixels, as the implicit GEMMs leave them, added in a fixed order.

#include "kernels/conv/conv.h"
#include "kernels/gemm/split_k.h"

namespace weft::WEFT_TARGET {

/// dweight (K, R S C / groups) from the sums of `slices` slices, float (slices, K, slice_pitch(R S C / groups)), added
/// in the order of the slices.
template <class T>
void add_filter_slices(const ConvShape& z, const float* sums, int slices, T* dweight, Stream stream) {
  const GemmCall<T, T> call = {
      .a = nullptr, .b = nullptr, .y = dweight, .M = z.K, .N = z.patch(), .K = z.pixels_out(), .ldy = z.patch()};
  gemm_add_slices(call, sums, slices, stream);
}

}  // namespace weft::WEFT_TARGET
