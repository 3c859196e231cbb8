#pragma once
// What a ReLU does to a number and to its gradient, wherever it is fused: relu.cu, batch norm, the convolutions'
// epilogue. A ceiling of 0 stands for none; 6 makes ReLU6. The comparisons are written so that a NaN passes through, as
// torch's does: a broken input must not look healthy one layer on. What a ceiling costs is a comparison and a selection
// on a value that is in a register already: nothing, where memory is the bound.

#include "kernels/element.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// min(max(value, 0), ceiling).
__device__ __forceinline__ float rectified(float value, float ceiling) {
  if (value < 0) return 0;
  return ceiling > 0 && value > ceiling ? ceiling : value;
}

/// Whether the gradient passes where the forward pass made y: 0 < y, and y < ceiling where there is one (torch's
/// hardtanh_backward). y was rounded to T, and so is the ceiling that it is compared with.
template <class T>
__device__ __forceinline__ bool lets_through(T y, float ceiling) {
  const float value = to_float(y);
  return value > 0 && !(ceiling > 0 && value >= to_float(from_float<T>(ceiling)));
}

}  // namespace weft::WEFT_TARGET
