// conv2d, rung 2 of each of the three passes: im2col and a matrix product. The formula and its costs stand in conv.h.
//
//   forward   y (N P Q, K)         = columns (N P Q, R S C) * weight (K, R S C)^T, gemm's epilogue
//   data      dcolumns             = dy (N P Q, K) * weight (K, R S C), then col2im
//   filter    dweight (K, R S C)   = dy (N P Q, K)^T * columns
//
// The direct loops fetched each number anew for each use; here the product's tiles reuse it. The price is the columns:
// R S / stride^2 times the picture, written once and read once (more often where K has several tiles). Columns of a
// whole batch may be gigabytes, so pictures are taken as many at a time as fit a fixed budget. A 1x1 filter of stride 1
// needs no columns: the picture is its own. Groups are left to others: each would be a product of its own, of a few
// columns.

#include <algorithm>

#include "kernels/conv/conv.h"
#include "kernels/gemm/gemm.h"
#include "kernels/launch.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

// For the columns of the pictures taken at a time. On simt small, so that they stay in the processor's cache, and so
// that tests of small shapes come by here more than once.
constexpr int64_t kColumnsBudget = WEFT_TARGET_IS_CUDA ? int64_t{256} << 20 : int64_t{1} << 20;

int images_at_a_time(const ConvShape& z, int64_t element_bytes) {
  const int64_t image = int64_t{z.P} * z.Q * z.patch() * element_bytes;
  return static_cast<int>(std::clamp<int64_t>(kColumnsBudget / image, 1, z.N));
}

int64_t columns_bytes(const ConvShape& z, int64_t element_bytes) {
  if (z.is_pointwise()) return 0;
  const int64_t bytes = images_at_a_time(z, element_bytes) * int64_t{z.P} * z.Q * z.patch() * element_bytes;
  return (bytes + 255) / 256 * 256;
}

template <class T>
void forward(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* x = static_cast<const T*>(operands[kConvX]);
  const auto* weight = static_cast<const T*>(operands[kConvWeight]);
  const auto* e = problem.extents;
  const auto* bias = e[Conv2d::has_bias] ? static_cast<const T*>(operands[kConvBias]) : nullptr;
  const auto* residual = e[Conv2d::has_residual] ? static_cast<const T*>(operands[kConvResidual]) : nullptr;
  auto* y = static_cast<T*>(operands[kConvY]);
  const int step = z.is_pointwise() ? z.N : images_at_a_time(z, sizeof(T));
  for (int n = 0; n < z.N; n += step) {
    const ConvShape part = with_images(z, std::min(step, z.N - n));
    const T* columns = x;
    if (!z.is_pointwise()) {
      launch_im2col(part, x + int64_t{n} * z.H * z.W * z.C, static_cast<T*>(workspace), stream);
      columns = static_cast<const T*>(workspace);
    }
    const int64_t done = int64_t{n} * z.P * z.Q * z.K;
    gemm_best<T, T>({.a = columns,
                     .b = weight,
                     .bias = bias,
                     .residual = residual == nullptr ? nullptr : residual + done,
                     .y = y + done,
                     .M = part.pixels_out(),
                     .N = z.K,
                     .K = z.patch(),
                     .trans_b = true,
                     .relu = e[Conv2d::relu] != 0},
                    stream);
  }
}

// dcolumns are float even where dy is bfloat16: col2im adds up to R S of them, and rounding each would show.
template <class T>
void backward_data(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* dy = static_cast<const T*>(operands[0]);
  const auto* weight = static_cast<const T*>(operands[1]);
  auto* dx = static_cast<T*>(operands[2]);
  if (z.is_pointwise()) {
    gemm_best<T, T>({.a = dy, .b = weight, .bias = nullptr, .y = dx, .M = z.pixels_out(), .N = z.C, .K = z.K}, stream);
    return;
  }
  const int step = images_at_a_time(z, sizeof(float));
  for (int n = 0; n < z.N; n += step) {
    const ConvShape part = with_images(z, std::min(step, z.N - n));
    auto* dcolumns = static_cast<float*>(workspace);
    gemm_best<T, float>({.a = dy + int64_t{n} * z.P * z.Q * z.K,
                         .b = weight,
                         .bias = nullptr,
                         .y = dcolumns,
                         .M = part.pixels_out(),
                         .N = z.patch(),
                         .K = z.K},
                        stream);
    launch_col2im(part, dcolumns, dx + int64_t{n} * z.H * z.W * z.C, stream);
  }
}

__global__ void round_kernel(const float* __restrict__ from, __nv_bfloat16* __restrict__ to, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) to[i] = static_cast<__nv_bfloat16>(from[i]);
}

/// dweight = sum over the parts of dy^T * columns, each part added to the last. The parts always come in the same
/// order, and no two threads add to one element, so the bits are the same on each run.
template <class T, class Out>
void accumulate_filter(const ConvShape& z, const T* x, const T* dy, T* workspace, Out* dweight, Stream stream) {
  const int step = z.is_pointwise() ? z.N : images_at_a_time(z, sizeof(T));
  for (int n = 0; n < z.N; n += step) {
    const ConvShape part = with_images(z, std::min(step, z.N - n));
    const T* columns = x;
    if (!z.is_pointwise()) {
      launch_im2col(part, x + int64_t{n} * z.H * z.W * z.C, workspace, stream);
      columns = workspace;
    }
    gemm_best<T, Out>({.a = dy + int64_t{n} * z.P * z.Q * z.K,
                       .b = columns,
                       .bias = nullptr,
                       .y = dweight,
                       .M = z.K,
                       .N = z.patch(),
                       .K = part.pixels_out(),
                       .trans_a = true,
                       .beta = n == 0 ? 0.0f : 1.0f},
                      stream);
  }
}

}  // namespace

void conv2d_im2col_gemm(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (problem.dtype == DType::f32)
    forward<float>(problem, operands, workspace, stream);
  else
    forward<__nv_bfloat16>(problem, operands, workspace, stream);
}

void conv2d_backward_data_im2col_gemm(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (problem.dtype == DType::f32)
    backward_data<float>(problem, operands, workspace, stream);
  else
    backward_data<__nv_bfloat16>(problem, operands, workspace, stream);
}

// In bfloat16 the sum over the parts is kept in float, behind the columns, and rounded once at the end.
void conv2d_backward_filter_im2col_gemm(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  if (problem.dtype == DType::f32) {
    accumulate_filter(z, static_cast<const float*>(operands[0]), static_cast<const float*>(operands[1]),
                      static_cast<float*>(workspace), static_cast<float*>(operands[2]), stream);
    return;
  }
  auto* sums = reinterpret_cast<float*>(static_cast<char*>(workspace) + columns_bytes(z, sizeof(__nv_bfloat16)));
  accumulate_filter(z, static_cast<const __nv_bfloat16*>(operands[0]), static_cast<const __nv_bfloat16*>(operands[1]),
                    static_cast<__nv_bfloat16*>(workspace), sums, stream);
  const int64_t n = int64_t{z.K} * z.patch();
  launch(round_kernel, {.grid = dim3(static_cast<unsigned>(ceil_div(n, 256))), .block = dim3(256), .stream = stream},
         sums, static_cast<__nv_bfloat16*>(operands[2]), n);
}

bool conv_has_no_groups(const Problem& problem) {
  return problem.extents[Conv2d::groups] == 1;
}

bool conv2d_im2col_gemm_takes(const Problem& problem) {
  return conv_has_no_groups(problem) && !problem.extents[Conv2d::has_scale];
}

int64_t conv2d_im2col_gemm_workspace(const Problem& problem) {
  return columns_bytes(conv_shape(problem), problem.dtype == DType::f32 ? 4 : 2);
}

int64_t conv2d_backward_data_im2col_gemm_workspace(const Problem& problem) {
  return columns_bytes(conv_shape(problem), sizeof(float));
}

int64_t conv2d_backward_filter_im2col_gemm_workspace(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  if (problem.dtype == DType::f32) return columns_bytes(z, 4);
  return columns_bytes(z, 2) + int64_t{z.K} * z.patch() * static_cast<int64_t>(sizeof(float));
}

}  // namespace weft::WEFT_TARGET
