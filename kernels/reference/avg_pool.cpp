#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>

namespace weft::reference {
namespace {

using extents::Pool;

// Calls visit(x_offset, y_offset, divisor) for every element of x in every window.
template <class Visit>
void each_pair(const Problem& problem, Visit visit) {
  const std::int64_t* e = problem.extents;
  const std::int64_t N = e[Pool::N], H = e[Pool::H], W = e[Pool::W], C = e[Pool::C], P = e[Pool::P], Q = e[Pool::Q];
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t p = 0; p < P; ++p)
      for (std::int64_t q = 0; q < Q; ++q) {
        const std::int64_t top = p * e[Pool::stride_h] - e[Pool::pad_h];
        const std::int64_t left = q * e[Pool::stride_w] - e[Pool::pad_w];
        // What lies in the padded picture counts; what hangs over its far edge does not.
        const std::int64_t rows = std::min(top + e[Pool::R], H + e[Pool::pad_h]) - top;
        const std::int64_t columns = std::min(left + e[Pool::S], W + e[Pool::pad_w]) - left;
        const auto divisor = static_cast<double>(rows * columns);
        for (std::int64_t h = std::max<std::int64_t>(top, 0); h < std::min(top + e[Pool::R], H); ++h)
          for (std::int64_t w = std::max<std::int64_t>(left, 0); w < std::min(left + e[Pool::S], W); ++w)
            for (std::int64_t c = 0; c < C; ++c)
              visit(((n * H + h) * W + w) * C + c, ((n * P + p) * Q + q) * C + c, divisor);
      }
}

}  // namespace

void avg_pool(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t* e = problem.extents;
  const double* x = operands[0];  // (N, H, W, C)
  double* y = operands[1];        // (N, P, Q, C)
  const std::int64_t size = e[Pool::N] * e[Pool::P] * e[Pool::Q] * e[Pool::C];
  std::fill(y, y + size, 0.0);
  std::fill(magnitudes[1], magnitudes[1] + size, 0.0);
  each_pair(problem, [&](std::int64_t from, std::int64_t to, double divisor) {
    y[to] += x[from] / divisor;
    magnitudes[1][to] += std::abs(x[from]) / divisor;
  });
}

void avg_pool_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t* e = problem.extents;
  const double* dy = operands[0];  // (N, P, Q, C)
  double* dx = operands[1];        // (N, H, W, C)
  const std::int64_t size = e[Pool::N] * e[Pool::H] * e[Pool::W] * e[Pool::C];
  std::fill(dx, dx + size, 0.0);
  std::fill(magnitudes[1], magnitudes[1] + size, 0.0);
  each_pair(problem, [&](std::int64_t to, std::int64_t from, double divisor) {
    dx[to] += dy[from] / divisor;
    magnitudes[1][to] += std::abs(dy[from]) / divisor;
  });
}

void global_avg_pool(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t* e = problem.extents;
  const std::int64_t N = e[Pool::N], HW = e[Pool::H] * e[Pool::W], C = e[Pool::C];
  const double* x = operands[0];  // (N, H, W, C)
  double* y = operands[1];        // (N, C)
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t c = 0; c < C; ++c) {
      double sum = 0, magnitude = 0;
      for (std::int64_t hw = 0; hw < HW; ++hw) {
        sum += x[(n * HW + hw) * C + c];
        magnitude += std::abs(x[(n * HW + hw) * C + c]);
      }
      y[n * C + c] = sum / static_cast<double>(HW);
      magnitudes[1][n * C + c] = magnitude / static_cast<double>(HW);
    }
}

void global_avg_pool_backward(const Problem& problem, double* const* operands, double* const*) {
  const std::int64_t* e = problem.extents;
  const std::int64_t N = e[Pool::N], HW = e[Pool::H] * e[Pool::W], C = e[Pool::C];
  const double* dy = operands[0];  // (N, C)
  double* dx = operands[1];        // (N, H, W, C)
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t hw = 0; hw < HW; ++hw)
      for (std::int64_t c = 0; c < C; ++c) dx[(n * HW + hw) * C + c] = dy[n * C + c] / static_cast<double>(HW);
}

}  // namespace weft::reference
