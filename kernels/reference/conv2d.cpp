#include <algorithm>
#include <cmath>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::reference {
namespace {

using extents::Conv2d;

struct Shape {
  std::int64_t n, h, w, c, k, r, s, p, q;
  std::int64_t channels, filters;  ///< of a group
};

Shape shape_of(const Problem& problem) {
  const auto* e = problem.extents;
  const auto outputs = [&](int in, int pad, int dilation, int taps, int stride) {
    return (e[in] + 2 * e[pad] - e[dilation] * (e[taps] - 1) - 1) / e[stride] + 1;
  };
  return {e[Conv2d::N],
          e[Conv2d::H],
          e[Conv2d::W],
          e[Conv2d::C],
          e[Conv2d::K],
          e[Conv2d::R],
          e[Conv2d::S],
          outputs(Conv2d::H, Conv2d::pad_h, Conv2d::dilation_h, Conv2d::R, Conv2d::stride_h),
          outputs(Conv2d::W, Conv2d::pad_w, Conv2d::dilation_w, Conv2d::S, Conv2d::stride_w),
          e[Conv2d::C] / e[Conv2d::groups],
          e[Conv2d::K] / e[Conv2d::groups]};
}

/// Calls visit(pixel of x, pixel of y, tap) for every place of the filter over the picture and every tap of it; pixel
/// of x is -1 where the tap lies on padding. Pixels count through (N, H, W) and (N, P, Q), taps through (R, S).
template <class Visit>
void for_each_tap(const Problem& problem, Visit visit) {
  const auto* e = problem.extents;
  const Shape z = shape_of(problem);
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t p = 0; p < z.p; ++p)
      for (std::int64_t q = 0; q < z.q; ++q)
        for (std::int64_t r = 0; r < z.r; ++r)
          for (std::int64_t s = 0; s < z.s; ++s) {
            const std::int64_t h = p * e[Conv2d::stride_h] - e[Conv2d::pad_h] + r * e[Conv2d::dilation_h];
            const std::int64_t w = q * e[Conv2d::stride_w] - e[Conv2d::pad_w] + s * e[Conv2d::dilation_w];
            const bool inside = h >= 0 && h < z.h && w >= 0 && w < z.w;
            visit(inside ? (n * z.h + h) * z.w + w : -1, (n * z.p + p) * z.q + q, r * z.s + s);
          }
}

}  // namespace

void im2col(const Problem& problem, double* const* operands, double* const*) {
  const Shape z = shape_of(problem);
  const double* x = operands[0];
  double* columns = operands[1];
  for_each_tap(problem, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t c = 0; c < z.c; ++c) columns[(to * z.r * z.s + tap) * z.c + c] = from < 0 ? 0 : x[from * z.c + c];
  });
}

void col2im(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const Shape z = shape_of(problem);
  const double* dcolumns = operands[0];
  double *dx = operands[1], *magnitude = magnitudes[1];
  std::fill_n(dx, z.n * z.h * z.w * z.c, 0.0);
  std::fill_n(magnitude, z.n * z.h * z.w * z.c, 0.0);
  for_each_tap(problem, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t c = 0; from >= 0 && c < z.c; ++c) {
      const double value = dcolumns[(to * z.r * z.s + tap) * z.c + c];
      dx[from * z.c + c] += value;
      magnitude[from * z.c + c] += std::fabs(value);
    }
  });
}

void conv2d(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const Shape z = shape_of(problem);
  const double *x = operands[0], *weight = operands[1], *scale = operands[2], *bias = operands[3],
               *residual = operands[4];
  double *y = operands[5], *magnitude = magnitudes[5];
  const std::int64_t outputs = z.n * z.p * z.q * z.k;
  std::fill_n(y, outputs, 0.0);
  std::fill_n(magnitude, outputs, 0.0);
  for_each_tap(problem, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t k = 0; from >= 0 && k < z.k; ++k) {
      for (std::int64_t c = 0; c < z.channels; ++c) {
        const double term =
            x[from * z.c + k / z.filters * z.channels + c] * weight[(k * z.r * z.s + tap) * z.channels + c];
        y[to * z.k + k] += term;
        magnitude[to * z.k + k] += std::fabs(term);
      }
    }
  });
  for (std::int64_t i = 0; i < outputs; ++i) {
    const double factor = scale ? scale[i % z.k] : 1;
    const double shift = bias ? bias[i % z.k] : 0, other = residual ? residual[i] : 0;
    y[i] = factor * y[i] + shift + other;
    if (problem.extents[Conv2d::relu] && y[i] < 0) y[i] = 0;
    if (const double ceiling = problem.scalars[Conv2d::ceiling]; ceiling > 0 && y[i] > ceiling) y[i] = ceiling;
    magnitude[i] = std::fabs(factor) * magnitude[i] + std::fabs(shift) + std::fabs(other);
  }
}

void conv2d_backward_data(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const Shape z = shape_of(problem);
  const double *dy = operands[0], *weight = operands[1], *other = operands[2];  // other: null where left out
  double *dx = operands[3], *magnitude = magnitudes[3];
  std::fill_n(dx, z.n * z.h * z.w * z.c, 0.0);
  std::fill_n(magnitude, z.n * z.h * z.w * z.c, 0.0);
  for_each_tap(problem, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t k = 0; from >= 0 && k < z.k; ++k) {
      for (std::int64_t c = 0; c < z.channels; ++c) {
        const double term = dy[to * z.k + k] * weight[(k * z.r * z.s + tap) * z.channels + c];
        const std::int64_t at = from * z.c + k / z.filters * z.channels + c;
        dx[at] += term;
        magnitude[at] += std::fabs(term);
      }
    }
  });
  for (std::int64_t i = 0; other != nullptr && i < z.n * z.h * z.w * z.c; ++i) {
    dx[i] += other[i];
    magnitude[i] += std::fabs(other[i]);
  }
}

void conv2d_backward_filter(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const Shape z = shape_of(problem);
  const double *x = operands[0], *dy = operands[1];
  double *dweight = operands[2], *magnitude = magnitudes[2];
  std::fill_n(dweight, z.k * z.r * z.s * z.channels, 0.0);
  std::fill_n(magnitude, z.k * z.r * z.s * z.channels, 0.0);
  for_each_tap(problem, [&](std::int64_t from, std::int64_t to, std::int64_t tap) {
    for (std::int64_t k = 0; from >= 0 && k < z.k; ++k) {
      for (std::int64_t c = 0; c < z.channels; ++c) {
        const double term = x[from * z.c + k / z.filters * z.channels + c] * dy[to * z.k + k];
        const std::int64_t at = (k * z.r * z.s + tap) * z.channels + c;
        dweight[at] += term;
        magnitude[at] += std::fabs(term);
      }
    }
  });
}

void conv2d_statistics(const Problem& problem, double* const* operands, double* const* magnitudes) {
  double* const convolution[] = {operands[0], operands[1], nullptr, nullptr, nullptr, operands[2]};
  double* const of_convolution[] = {nullptr, nullptr, nullptr, nullptr, nullptr, magnitudes[2]};
  conv2d(problem, convolution, of_convolution);
  const Shape z = shape_of(problem);
  const std::int64_t pixels = z.n * z.p * z.q;
  const double *y = operands[2], *magnitude = magnitudes[2], share = 1 / static_cast<double>(pixels);
  for (std::int64_t k = 0; k < z.k; ++k) {
    double &mean = operands[3][k] = 0, &var = operands[4][k] = 0;
    double &of_mean = magnitudes[3][k] = 0, &of_var = magnitudes[4][k] = 0;
    for (std::int64_t i = k; i < pixels * z.k; i += z.k) mean += y[i] * share, of_mean += magnitude[i] * share;
    for (std::int64_t i = k; i < pixels * z.k; i += z.k) {
      const double difference = y[i] - mean;
      var += difference * difference * share;
      // An error e in y is one of 2 difference e + e^2 in its square, and at most `magnitude` large.
      of_var += magnitude[i] * (2 * std::fabs(difference) + magnitude[i]) * share;
    }
  }
}

}  // namespace weft::reference
