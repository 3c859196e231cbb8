// conv2d, pointwise-gemm, in each of the three passes: 1x1 as a plain matrix product. The formula and its costs stand
// in conv.h.

#include "kernels/conv/conv.h"
#include "kernels/gemm/gemm.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

// Pointwise. A 1x1 filter of stride 1 without padding, as three layers in five of ResNet-50 are, has patches of one
// pixel: the matrix of patches is the picture itself, row for row. im2col-gemm copied it all the same, which for as
// many filters as channels is as many bytes again as the product's own; the implicit rungs looked up, for every row,
// where it lies and whether it is padding, which it never is. Here the three passes are products of what is there
// already,
//
//   forward   y (N P Q, K)    = x (N P Q, C) * weight (K, C)^T, gemm's epilogue
//   data      dx (N P Q, C)   = dy (N P Q, K) * weight (K, C) [+ other_dx]
//   filter    dweight (K, C)  = dy (N P Q, K)^T * x (N P Q, C)
//
// and so have all of gemm's ladder behind them: tiles of 128 x 256, which ask L2 for a quarter fewer bytes a flop than
// implicit-persistent's 128 x 128, pairs of blocks that share what they read, and, of the filter's few tiles with a
// long sum behind each, slices of it side by side. What it cannot do is gemm's epilogue's to say: no scale, no ceiling.

/// The call's sums are finished by gemm's epilogue; tf32 lets it round float operands.
template <class T>
GemmCall<T, T> data_product(const Problem& problem, const T* dy, const T* weight, const T* other_dx, T* dx) {
  const ConvShape z = conv_shape(problem);
  return {.a = dy,
          .b = weight,
          .residual = other_dx,
          .y = dx,
          .M = z.pixels_in(),
          .N = z.C,
          .K = z.K,
          .tf32 = problem.extents[Conv2d::tf32] != 0};
}

template <class T>
GemmCall<T, T> filter_product(const Problem& problem, const T* x, const T* dy, T* dweight) {
  const ConvShape z = conv_shape(problem);
  return {.a = dy,
          .b = x,
          .y = dweight,
          .M = z.K,
          .N = z.C,
          .K = z.pixels_out(),
          .trans_a = true,
          .tf32 = problem.extents[Conv2d::tf32] != 0};
}

}  // namespace

void conv2d_pointwise_gemm(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* e = problem.extents;
  with_type(problem.dtype, [&]<class T>() {
    gemm_best<T, T>({.a = as<const T>(operands[kConvX]),
                     .b = as<const T>(operands[kConvWeight]),
                     .bias = e[Conv2d::has_bias] ? as<const T>(operands[kConvBias]) : nullptr,
                     .residual = e[Conv2d::has_residual] ? as<const T>(operands[kConvResidual]) : nullptr,
                     .y = as<T>(operands[kConvY]),
                     .M = z.pixels_out(),
                     .N = z.K,
                     .K = z.C,
                     .trans_b = true,
                     .relu = e[Conv2d::relu] != 0,
                     .tf32 = e[Conv2d::tf32] != 0},
                    stream);
  });
}

void conv2d_backward_data_pointwise_gemm(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    gemm_best(data_product(problem, as<const T>(operands[kDataDy]), as<const T>(operands[kDataWeight]),
                           problem.extents[Conv2d::has_residual] ? as<const T>(operands[kDataOther]) : nullptr,
                           as<T>(operands[kDataDx])),
              stream);
  });
}

void conv2d_backward_filter_pointwise_gemm(const Problem& problem, void* const* operands, void* workspace,
                                           Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    gemm_best(filter_product(problem, as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2])), stream,
              {workspace, conv2d_backward_filter_pointwise_gemm_workspace(problem)});
  });
}

int64_t conv2d_backward_filter_pointwise_gemm_workspace(const Problem& problem) {
  int64_t bytes = 0;
  with_type(problem.dtype,
            [&]<class T>() { bytes = gemm_best_workspace(filter_product<T>(problem, nullptr, nullptr, nullptr)); });
  return bytes;
}

bool conv_is_pointwise(const Problem& problem) {
  return conv_has_no_groups(problem) && conv_shape(problem).is_pointwise();
}

bool conv2d_pointwise_gemm_takes(const Problem& problem) {
  return conv_is_pointwise(problem) && conv2d_im2col_gemm_takes(problem);
}

}  // namespace weft::WEFT_TARGET
