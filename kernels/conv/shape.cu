// A convolution's call as its kernels see it, and the calls that make no sense. The formula stands in conv.h.

#include <string>

#include "kernels/conv/conv.h"
#include "kernels/conv/entry.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

int outputs(int64_t in, int64_t pad, int64_t dilation, int64_t taps, int64_t stride) {
  return static_cast<int>((in + 2 * pad - dilation * (taps - 1) - 1) / stride + 1);
}

}  // namespace

ConvShape conv_shape(const Problem& problem) {
  const auto* e = problem.extents;
  const auto at = [&](int which) { return static_cast<int>(e[which]); };
  return {.N = at(Conv2d::N),
          .H = at(Conv2d::H),
          .W = at(Conv2d::W),
          .C = at(Conv2d::C),
          .K = at(Conv2d::K),
          .R = at(Conv2d::R),
          .S = at(Conv2d::S),
          .stride_h = at(Conv2d::stride_h),
          .stride_w = at(Conv2d::stride_w),
          .pad_h = at(Conv2d::pad_h),
          .pad_w = at(Conv2d::pad_w),
          .dilation_h = at(Conv2d::dilation_h),
          .dilation_w = at(Conv2d::dilation_w),
          .P = outputs(e[Conv2d::H], e[Conv2d::pad_h], e[Conv2d::dilation_h], e[Conv2d::R], e[Conv2d::stride_h]),
          .Q = outputs(e[Conv2d::W], e[Conv2d::pad_w], e[Conv2d::dilation_w], e[Conv2d::S], e[Conv2d::stride_w]),
          .groups = at(Conv2d::groups)};
}

int64_t pixels_met(const ConvShape& z) {
  int64_t rows = 0, columns = 0;
  for (int h = 0; h < z.H; ++h) rows += z.meets_row(h);
  for (int w = 0; w < z.W; ++w) columns += z.meets_column(w);
  return rows * columns;
}

void check_conv2d(const Problem& problem) {
  const auto* e = problem.extents;
  const auto refuse = [&](const std::string& reason) {
    std::string text = "conv2d: ";
    text.append(reason).append(" (");
    for (int i = 0; i < Conv2d::kCount; ++i) {
      if (i > 0) text.append(" ");
      text.append(kConvExtents[i]).append("=").append(std::to_string(e[i]));
    }
    fail(text.append(")"));
  };
  const auto at_least = [&](int which, std::int64_t least) {
    if (e[which] < least) refuse(std::string(kConvExtents[which]) + " must be at least " + std::to_string(least));
    if (e[which] > INT32_MAX) refuse(std::string(kConvExtents[which]) + " must fit 32 bits");
  };
  for (int which : {Conv2d::N, Conv2d::H, Conv2d::W, Conv2d::C, Conv2d::K, Conv2d::R, Conv2d::S, Conv2d::stride_h,
                    Conv2d::stride_w, Conv2d::dilation_h, Conv2d::dilation_w})
    at_least(which, 1);
  at_least(Conv2d::pad_h, 0);
  at_least(Conv2d::pad_w, 0);
  at_least(Conv2d::groups, 1);
  const double ceiling = problem.scalars[Conv2d::ceiling];
  if (!(ceiling >= 0) || (ceiling > 0 && !e[Conv2d::relu]))
    refuse("the ceiling is " + std::to_string(ceiling) + "; it is above 0 where relu is 1 and has one, or 0");
  if (e[Conv2d::C] % e[Conv2d::groups] != 0 || e[Conv2d::K] % e[Conv2d::groups] != 0)
    refuse("groups must divide C and K");
  if (e[Conv2d::dilation_h] * (e[Conv2d::R] - 1) + 1 > e[Conv2d::H] + 2 * e[Conv2d::pad_h] ||
      e[Conv2d::dilation_w] * (e[Conv2d::S] - 1) + 1 > e[Conv2d::W] + 2 * e[Conv2d::pad_w])
    refuse("the dilated filter is larger than the padded picture, so there is no output");
  if (e[Conv2d::R] * e[Conv2d::S] * e[Conv2d::C] > INT32_MAX) refuse("a filter must have fewer than 2^31 elements");
}

void check_im2col(const Problem& problem) {
  check_conv2d(problem);
  if (problem.extents[Conv2d::groups] != 1)
    fail("im2col: groups=" + std::to_string(problem.extents[Conv2d::groups]) +
         ": columns hold all channels of a patch, so groups must be 1");
}

}  // namespace weft::WEFT_TARGET
