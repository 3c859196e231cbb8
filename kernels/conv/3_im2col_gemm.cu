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

/// Up to a multiple of 256: parts of the workspace begin there.
int64_t whole_lines(int64_t bytes) {
  return ceil_div(bytes, 256) * 256;
}

int64_t columns_bytes(const ConvShape& z, int64_t element_bytes) {
  if (z.is_pointwise()) return 0;
  const int64_t bytes = images_at_a_time(z, element_bytes) * int64_t{z.P} * z.Q * z.patch() * element_bytes;
  return whole_lines(bytes);
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

/// The product of one part: dweight = dy^T * columns, added to what is there where `adds`.
template <class T, class Out>
GemmCall<T, Out> filter_product(const ConvShape& part, const T* dy, const T* columns, Out* dweight, bool adds) {
  return {.a = dy,
          .b = columns,
          .y = dweight,
          .M = part.K,
          .N = part.patch(),
          .K = part.pixels_out(),
          .trans_a = true,
          .beta = adds ? 1.0f : 0.0f};
}

template <class T>
int filter_step(const ConvShape& z) {
  return z.is_pointwise() ? z.N : images_at_a_time(z, sizeof(T));
}

/// The workspace of backward filter: columns, then in bfloat16 the sums in float, then what a part's product wants: a
/// filter's gradient is a few tiles with a long sum behind each, gemm's case for split-K.
template <class T>
struct FilterWorkspace {
  int64_t sums, product, product_bytes;

  explicit FilterWorkspace(const ConvShape& z)
      : sums(columns_bytes(z, sizeof(T))),
        product(sums + (sizeof(T) == sizeof(float)
                            ? 0
                            : whole_lines(int64_t{z.K} * z.patch() * static_cast<int64_t>(sizeof(float))))),
        product_bytes(gemm_best_workspace(
            filter_product<T, float>(with_images(z, filter_step<T>(z)), nullptr, nullptr, nullptr, false))) {}
  int64_t bytes() const { return product + product_bytes; }
};

/// dweight = sum over the parts of dy^T * columns, each part added to the last. The parts always come in the same
/// order, and no two threads add to one element, so the bits are the same on each run.
template <class T>
void accumulate_filter(const ConvShape& z, const T* x, const T* dy, char* workspace, float* dweight, Stream stream) {
  const FilterWorkspace<T> places(z);
  const int step = filter_step<T>(z);
  for (int n = 0; n < z.N; n += step) {
    const ConvShape part = with_images(z, std::min(step, z.N - n));
    const T* columns = x;
    if (!z.is_pointwise()) {
      auto* to = reinterpret_cast<T*>(workspace);
      launch_im2col(part, x + int64_t{n} * z.H * z.W * z.C, to, stream);
      columns = to;
    }
    gemm_best(filter_product(part, dy + int64_t{n} * z.P * z.Q * z.K, columns, dweight, n > 0), stream,
              {workspace + places.product, places.product_bytes});
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

// In bfloat16 the sum over the parts is kept in float, and rounded once at the end.
void conv2d_backward_filter_im2col_gemm(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  auto* memory = static_cast<char*>(workspace);
  if (problem.dtype == DType::f32) {
    accumulate_filter(z, static_cast<const float*>(operands[0]), static_cast<const float*>(operands[1]), memory,
                      static_cast<float*>(operands[2]), stream);
    return;
  }
  auto* sums = reinterpret_cast<float*>(memory + FilterWorkspace<__nv_bfloat16>(z).sums);
  accumulate_filter(z, static_cast<const __nv_bfloat16*>(operands[0]), static_cast<const __nv_bfloat16*>(operands[1]),
                    memory, sums, stream);
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
  return problem.dtype == DType::f32 ? FilterWorkspace<float>(z).bytes() : FilterWorkspace<__nv_bfloat16>(z).bytes();
}

}  // namespace weft::WEFT_TARGET
