#pragma once
// The convolution's epilogue: what happens to a finished sum on its way to y. Every forward rung ends here, and every
// rung of backward data, whose sums may have to be added to another part of dx.
//
//   y[m][k] = relu?(scale[k] sum + bias[k] + residual[m][k])       m counts the pixels of y: (N, P, Q)
//   dx[m][c] = sum + other_dx[m][c]                                m counts the pixels of x: (N, H, W)
// The ReLU may have a ceiling (rectify.h). Where there is a scale, scale and bias are float32 whatever y is: they are
// made of a batch norm's statistics, and an error in them is one in all pixels alike, which no later sum averages out.
//
// A batch norm of known statistics is a scale and a bias, so a whole "conv, batch norm, add, ReLU" costs no pass over
// memory but the residual's read. As gemm's (gemm/epilogue.h): a rung hands over one sum, or kWidth that are neighbours
// in k, and either lets store_conv_sums() write them or takes the finished values from finish_conv_sums().

#include "kernels/conv/conv.h"
#include "kernels/element.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/ops.h"
#include "kernels/rectify.h"

namespace weft::WEFT_TARGET {

/// Operands of the epilogue; null where left out. scale, bias and shift are (K), residual and y (N, P, Q, K).
template <class T>
struct ConvEpilogue {
  const float* scale;
  const T* bias;  ///< of a call without a scale
  const T* residual;
  T* y;
  int K;
  bool relu;
  float ceiling = 0;             ///< of the ReLU; 0: none
  const float* shift = nullptr;  ///< the bias of a call with a scale
};

/// The epilogue of a forward call.
template <class T>
ConvEpilogue<T> conv_epilogue(const Problem& problem, void* const* operands) {
  const auto* e = problem.extents;
  const auto optional = [&]<class Type>(bool present, int operand) {
    return present ? static_cast<const Type*>(operands[operand]) : nullptr;
  };
  using extents::Conv2d;
  const bool has_scale = e[Conv2d::has_scale] != 0, has_bias = e[Conv2d::has_bias] != 0;
  return {.scale = optional.template operator()<float>(has_scale, kConvScale),
          .bias = optional.template operator()<T>(has_bias && !has_scale, kConvBias),
          .residual = optional.template operator()<T>(e[Conv2d::has_residual] != 0, kConvResidual),
          .y = static_cast<T*>(operands[kConvY]),
          .K = static_cast<int>(e[Conv2d::K]),
          .relu = e[Conv2d::relu] != 0,
          .ceiling = static_cast<float>(problem.scalars[Conv2d::ceiling]),
          .shift = optional.template operator()<float>(has_bias && has_scale, kConvBias)};
}

/// The epilogue of a call of backward data: its "filters" are the C channels of dx, its pixels those of x.
template <class T>
ConvEpilogue<T> data_epilogue(const Problem& problem, void* const* operands) {
  using extents::Conv2d;
  const bool has_other = problem.extents[Conv2d::has_residual] != 0;
  return {.scale = nullptr,
          .bias = nullptr,
          .residual = has_other ? static_cast<const T*>(operands[kDataOther]) : nullptr,
          .y = static_cast<T*>(operands[kDataDx]),
          .K = static_cast<int>(problem.extents[Conv2d::C]),
          .relu = false};
}

/// True where kWidth neighbours of y and of the residual can be accessed at once at every k that is a multiple of
/// kWidth. The same for all of a launch; ask once, before the loop over the sums.
template <int kWidth, class T>
__host__ __device__ __forceinline__ bool conv_epilogue_is_aligned(const ConvEpilogue<T>& epilogue) {
  return reinterpret_cast<uintptr_t>(epilogue.y) % alignof(Neighbours<T, kWidth>) == 0 &&
         reinterpret_cast<uintptr_t>(epilogue.residual) % alignof(Neighbours<T, kWidth>) == 0 &&
         epilogue.K % kWidth == 0;
}

/// Turns the sums of pixel m, filters k to k + kWidth - 1, into what y is to hold there, before rounding to its type.
/// Only the first `count` exist; nothing is read for the others. `aligned` is conv_epilogue_is_aligned<kWidth>() and k
/// a multiple of kWidth, or `aligned` is false.
template <int kWidth, class T>
__device__ __forceinline__ void finish_conv_sums(const ConvEpilogue<T>& epilogue, int64_t m, int k, int count,
                                                 bool aligned, float (&sums)[kWidth]) {
  if (epilogue.scale != nullptr) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i)
      if (i < count) sums[i] *= epilogue.scale[k + i];
  }
  if (epilogue.shift != nullptr) add_scaled(epilogue.shift + k, 1, count, false, sums);
  if (epilogue.bias != nullptr) add_scaled(epilogue.bias + k, 1, count, false, sums);
  if (epilogue.residual != nullptr) add_scaled(epilogue.residual + m * epilogue.K + k, 1, count, aligned, sums);
  if (epilogue.relu) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sums[i] = rectified(sums[i], epilogue.ceiling);
  }
}

/// Finishes and writes the first `count` sums of pixel m, filters k on. As finish_conv_sums().
template <int kWidth, class T>
__device__ __forceinline__ void store_conv_sums(const ConvEpilogue<T>& epilogue, int64_t m, int k, int count,
                                                bool aligned, float (&sums)[kWidth]) {
  finish_conv_sums(epilogue, m, k, count, aligned, sums);
  T* y = epilogue.y + m * epilogue.K + k;
  if (aligned && count >= kWidth) {
    Neighbours<T, kWidth> all;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) all.values[i] = from_float<T>(sums[i]);
    *reinterpret_cast<Neighbours<T, kWidth>*>(y) = all;
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i)
      if (i < count) y[i] = from_float<T>(sums[i]);
  }
}

/// One element: y[m][k] from its sum.
template <class T>
__device__ __forceinline__ void store_conv_sum(const ConvEpilogue<T>& epilogue, int64_t m, int k, float sum) {
  float sums[1] = {sum};
  store_conv_sums<1>(epilogue, m, k, 1, false, sums);
}

}  // namespace weft::WEFT_TARGET
