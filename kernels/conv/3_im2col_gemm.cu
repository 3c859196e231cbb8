// conv2d, im2col-gemm, in each of the three passes: im2col and a matrix product. The formula and its costs stand in
// conv.h.
//
//   forward   y (N P Q, K)         = columns (N P Q, R S C) * weight (K, R S C)^T, gemm's epilogue
//   data      dcolumns             = dy (N P Q, K) * weight (K, R S C), then col2im
//   filter    dweight (K, R S C)   = dy (N P Q, K)^T * columns
//
// The direct loops fetched each number anew for each use; here the product's tiles reuse it. The price is the columns:
// R S / stride^2 times the picture, written once and read once (more often where K has several tiles). Columns of a
// whole batch may be gigabytes, so the convolution is taken in parts, as many pictures at a time as fit a fixed budget
// (im2col_parts.h). The columns of a 1x1 filter of stride 1 are a copy of the picture: pointwise-gemm does without.
// Groups are left to others: each would be a product of its own, of a few columns.

#include <algorithm>

#include "kernels/conv/conv.h"
#include "kernels/conv/im2col_parts.h"
#include "kernels/gemm/gemm.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

/// Up to a multiple of 256: parts of the workspace begin there.
int64_t whole_lines(int64_t bytes) {
  return ceil_div(bytes, 256) * 256;
}

int64_t columns_bytes(const ConvShape& z, int64_t rows, int64_t element_bytes) {
  return whole_lines(parts_by_output(z, rows).front().shape.pixels_out() * z.patch() * element_bytes);
}

/// The patches of a part as a matrix, written to the workspace.
template <class T>
const T* columns_of(const ConvPart& part, const T* x, void* workspace, Stream stream) {
  auto* columns = static_cast<T*>(workspace);
  launch_im2col(part.shape, x + part.x, columns, stream);
  return columns;
}

template <class T>
void forward(const Problem& problem, int64_t rows, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* x = static_cast<const T*>(operands[kConvX]);
  const auto* weight = static_cast<const T*>(operands[kConvWeight]);
  const auto* e = problem.extents;
  const auto* bias = e[Conv2d::has_bias] ? static_cast<const T*>(operands[kConvBias]) : nullptr;
  const auto* residual = e[Conv2d::has_residual] ? static_cast<const T*>(operands[kConvResidual]) : nullptr;
  auto* y = static_cast<T*>(operands[kConvY]);
  for (const ConvPart& part : parts_by_output(z, rows))
    gemm_best<T, T>({.a = columns_of(part, x, workspace, stream),
                     .b = weight,
                     .bias = bias,
                     .residual = residual == nullptr ? nullptr : residual + part.y,
                     .y = y + part.y,
                     .M = part.shape.pixels_out(),
                     .N = z.K,
                     .K = z.patch(),
                     .trans_b = true,
                     .relu = e[Conv2d::relu] != 0},
                    stream);
}

// dcolumns are float even where dy is bfloat16: col2im adds up to R S of them, and rounding each would show.
template <class T>
void backward_data(const Problem& problem, int64_t rows, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* dy = static_cast<const T*>(operands[kDataDy]);
  const auto* weight = static_cast<const T*>(operands[kDataWeight]);
  const auto* other = problem.extents[Conv2d::has_residual] ? static_cast<const T*>(operands[kDataOther]) : nullptr;
  auto* dx = static_cast<T*>(operands[kDataDx]);
  auto* dcolumns = static_cast<float*>(workspace);
  for (const ConvPart& part : parts_by_input(z, rows)) {
    if (part.shape.P > 0)  // else no patch reaches these rows, and their gradient is 0
      gemm_best<T, float>({.a = dy + part.y,
                           .b = weight,
                           .bias = nullptr,
                           .y = dcolumns,
                           .M = part.shape.pixels_out(),
                           .N = z.patch(),
                           .K = z.K},
                          stream);
    launch_col2im<float, T>(part.shape, dcolumns, other == nullptr ? nullptr : other + part.x, dx + part.x, stream);
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

/// The workspace of backward filter: columns, then in bfloat16 the sums in float, then what a part's product wants: a
/// filter's gradient is a few tiles with a long sum behind each, gemm's case for split-K.
template <class T>
struct FilterWorkspace {
  int64_t sums, product, product_bytes;

  FilterWorkspace(const ConvShape& z, int64_t rows)
      : sums(columns_bytes(z, rows, sizeof(T))),
        product(sums + (sizeof(T) == sizeof(float)
                            ? 0
                            : whole_lines(int64_t{z.K} * z.patch() * static_cast<int64_t>(sizeof(float))))),
        product_bytes(gemm_best_workspace(
            filter_product<T, float>(parts_by_output(z, rows).front().shape, nullptr, nullptr, nullptr, false))) {}
  int64_t bytes() const { return product + product_bytes; }
};

/// dweight = sum over the parts of dy^T * columns, each part added to the last. The parts always come in the same
/// order, and no two threads add to one element, so the bits are the same on each run. In bfloat16 the sum over the
/// parts is kept in float, and rounded once at the end.
template <class T>
void backward_filter(const Problem& problem, int64_t rows, void* const* operands, void* workspace, Stream stream) {
  const ConvShape z = conv_shape(problem);
  const auto* x = static_cast<const T*>(operands[0]);
  const auto* dy = static_cast<const T*>(operands[1]);
  auto* const memory = static_cast<char*>(workspace);
  const FilterWorkspace<T> places(z, rows);
  constexpr bool kRounds = sizeof(T) < sizeof(float);
  auto* const dweight = kRounds ? reinterpret_cast<float*>(memory + places.sums) : static_cast<float*>(operands[2]);
  bool adds = false;
  for (const ConvPart& part : parts_by_output(z, rows)) {
    const T* const columns = columns_of(part, x, workspace, stream);
    gemm_best(filter_product(part.shape, dy + part.y, columns, dweight, adds), stream,
              {memory + places.product, places.product_bytes});
    adds = true;
  }
  if constexpr (kRounds) {
    const int64_t n = int64_t{z.K} * z.patch();
    launch(round_kernel, {.grid = dim3(static_cast<unsigned>(ceil_div(n, 256))), .block = dim3(256), .stream = stream},
           dweight, static_cast<T*>(operands[2]), n);
  }
}

}  // namespace

void conv2d_in_parts(const Problem& problem, int64_t rows, void* const* operands, void* workspace, Stream stream) {
  with_type(problem.dtype, [&]<class T>() { forward<T>(problem, rows, operands, workspace, stream); });
}
void conv2d_backward_data_in_parts(const Problem& problem, int64_t rows, void* const* operands, void* workspace,
                                   Stream stream) {
  with_type(problem.dtype, [&]<class T>() { backward_data<T>(problem, rows, operands, workspace, stream); });
}
void conv2d_backward_filter_in_parts(const Problem& problem, int64_t rows, void* const* operands, void* workspace,
                                     Stream stream) {
  with_type(problem.dtype, [&]<class T>() { backward_filter<T>(problem, rows, operands, workspace, stream); });
}

int64_t conv2d_in_parts_workspace(const Problem& problem, int64_t rows) {
  return columns_bytes(conv_shape(problem), rows, problem.dtype == DType::f32 ? 4 : 2);
}
int64_t conv2d_backward_data_in_parts_workspace(const Problem& problem, int64_t rows) {
  const ConvShape z = conv_shape(problem);
  int64_t most = 0;
  for (const ConvPart& part : parts_by_input(z, rows)) most = std::max(most, part.shape.pixels_out());
  return whole_lines(most * z.patch() * static_cast<int64_t>(sizeof(float)));
}
int64_t conv2d_backward_filter_in_parts_workspace(const Problem& problem, int64_t rows) {
  int64_t bytes = 0;
  with_type(problem.dtype, [&]<class T>() { bytes = FilterWorkspace<T>(conv_shape(problem), rows).bytes(); });
  return bytes;
}

bool conv_has_no_groups(const Problem& problem) {
  return problem.extents[Conv2d::groups] == 1;
}

bool conv2d_im2col_gemm_takes(const Problem& problem) {
  return conv_has_no_groups(problem) && !problem.extents[Conv2d::has_scale] && !(problem.scalars[Conv2d::ceiling] > 0);
}

}  // namespace weft::WEFT_TARGET
