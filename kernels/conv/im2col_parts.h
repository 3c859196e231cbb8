#pragma once
// Convolutions taken a part at a time, so that the matrix of a part's patches fits a workspace: what im2col-gemm
// and im2col-tiles share, and what they are: the two differ in the size of a part alone.

#include <algorithm>
#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/limits.h"

namespace weft::WEFT_TARGET {

/// Some pictures of a convolution, or a band of one picture's rows. A part is a convolution itself: a band has fewer
/// rows of y (or of x) than the whole, and its padding above, which may be negative, says where it lies.
struct ConvPart {
  ConvShape shape;
  int64_t x, y;  ///< elements of the whole x and y that come before the part's
};

/// Cuts a convolution by the rows of y, so that no part's matrix of patches has more than `rows` rows: as many whole
/// pictures as fit, or where not even one does, bands of one's rows of y (one such row at least, whatever `rows` is).
/// Every element of y belongs to one part, the first part is the largest, and all parts of a picture see all of its x.
inline std::vector<ConvPart> parts_by_output(const ConvShape& z, int64_t rows) {
  const int images = static_cast<int>(std::clamp<int64_t>(rows / (int64_t{z.P} * z.Q), 1, z.N));
  const int band = static_cast<int>(std::clamp<int64_t>(rows / z.Q, 1, z.P));
  std::vector<ConvPart> parts;
  for (int n = 0; n < z.N; n += images)
    for (int p = 0; p < z.P; p += band) {
      ConvShape shape = z;
      shape.N = std::min(images, z.N - n);
      shape.P = std::min(band, z.P - p);
      shape.pad_h = z.pad_h - p * z.stride_h;
      parts.push_back({shape, int64_t{n} * z.H * z.W * z.C, (int64_t{n} * z.P + p) * z.Q * z.K});
    }
  return parts;
}

/// The same by the rows of x, for its gradient: every element of x belongs to one part, and a part has all the rows of
/// y whose patches reach it. The (R - 1) dilation / stride rows about a border between two bands are thus in both,
/// which is the price of no two parts adding to one element. A band that no patch reaches has P == 0. `rows` is
/// exceeded only by bands of one row of x.
inline std::vector<ConvPart> parts_by_input(const ConvShape& z, int64_t rows) {
  const int64_t picture = int64_t{z.P} * z.Q;
  const bool whole = rows >= picture;
  const int images = static_cast<int>(std::clamp<int64_t>(rows / picture, 1, z.N));
  const int reach = (z.R - 1) * z.dilation_h;  // rows of x from a patch's first to its last
  // So many rows of x, count stride - reach, lie under the patches of count rows of y at most.
  const int band = whole ? z.H : static_cast<int>(std::clamp<int64_t>(rows / z.Q * z.stride_h - reach, 1, z.H));
  std::vector<ConvPart> parts;
  for (int n = 0; n < z.N; n += images)
    for (int h = 0; h < z.H; h += band) {
      const int height = std::min(band, z.H - h), before = h + z.pad_h - reach;
      const int last = whole ? z.P : std::min(z.P, (h + height - 1 + z.pad_h) / z.stride_h + 1);
      const int first = whole || before <= 0 ? 0 : std::min(last, (before + z.stride_h - 1) / z.stride_h);
      ConvShape shape = z;
      shape.N = std::min(images, z.N - n);
      shape.H = height;
      shape.P = last - first;
      shape.pad_h = z.pad_h + h - first * z.stride_h;
      parts.push_back({shape, (int64_t{n} * z.H + h) * z.W * z.C, (int64_t{n} * z.P + first) * z.Q * z.K});
    }
  return parts;
}

// The three passes with at most `rows` rows of columns at a time, as far as parts_by_output() and parts_by_input() can
// keep to that; operands and workspace as Rung::launch has them. In 3_im2col_gemm.cu.

void conv2d_in_parts(const Problem&, int64_t rows, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_in_parts(const Problem&, int64_t rows, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_in_parts(const Problem&, int64_t rows, void* const* operands, void* workspace,
                                     Stream stream);
int64_t conv2d_in_parts_workspace(const Problem&, int64_t rows);
int64_t conv2d_backward_data_in_parts_workspace(const Problem&, int64_t rows);
int64_t conv2d_backward_filter_in_parts_workspace(const Problem&, int64_t rows);

/// How many rows of columns `budget` bytes hold, or as many as a test allows (kernels/limits.h): those that forward and
/// backward filter write, of x's type, or backward data's, of float.
inline int64_t rows_within(int64_t budget, const Problem& problem, bool data = false) {
  const int64_t element_bytes = data || problem.dtype == DType::f32 ? 4 : 2;
  return part_bytes_to_use(budget) / (conv_shape(problem).patch() * element_bytes);
}

/// A rung of each pass with at most kBudget bytes of columns at a time, and its workspace.
template <int64_t kBudget>
struct ConvInParts {
  static void forward(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
    conv2d_in_parts(problem, rows_within(kBudget, problem), operands, workspace, stream);
  }
  static void backward_data(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
    conv2d_backward_data_in_parts(problem, rows_within(kBudget, problem, true), operands, workspace, stream);
  }
  static void backward_filter(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
    conv2d_backward_filter_in_parts(problem, rows_within(kBudget, problem), operands, workspace, stream);
  }
  static int64_t forward_workspace(const Problem& problem) {
    return conv2d_in_parts_workspace(problem, rows_within(kBudget, problem));
  }
  static int64_t backward_data_workspace(const Problem& problem) {
    return conv2d_backward_data_in_parts_workspace(problem, rows_within(kBudget, problem, true));
  }
  static int64_t backward_filter_workspace(const Problem& problem) {
    return conv2d_backward_filter_in_parts_workspace(problem, rows_within(kBudget, problem));
  }
};

/// im2col-gemm: for the columns of as many pictures as fit. On simt small, so that they stay in the processor's cache,
/// and so that tests of small shapes come by here more than once.
using Im2colGemm = ConvInParts<WEFT_TARGET_IS_CUDA ? int64_t{256} << 20 : int64_t{1} << 20>;

}  // namespace weft::WEFT_TARGET
