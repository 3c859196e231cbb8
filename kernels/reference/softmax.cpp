#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>

namespace weft::reference {

using extents::Rows;

// exp turns an absolute error in its argument, which is relative to the argument's size, into a relative one of its
// value: hence the factors 1 + |argument| in the magnitudes.

void softmax(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* x = operands[0] + n * C;
    double* y = operands[1] + n * C;
    const double maximum = *std::max_element(x, x + C);
    double sum = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += std::exp(x[c] - maximum);
    for (std::int64_t c = 0; c < C; ++c) {
      y[c] = std::exp(x[c] - maximum) / sum;
      magnitudes[1][n * C + c] = y[c] * (1 + maximum - x[c]);
    }
  }
}

void log_softmax(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* x = operands[0] + n * C;
    double* y = operands[1] + n * C;
    const double maximum = *std::max_element(x, x + C);
    double sum = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += std::exp(x[c] - maximum);
    for (std::int64_t c = 0; c < C; ++c) {
      y[c] = x[c] - maximum - std::log(sum);
      magnitudes[1][n * C + c] = maximum - x[c] + 1 + std::log(sum);
    }
  }
}

void softmax_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* dy = operands[0] + n * C;
    const double* y = operands[1] + n * C;
    double* dx = operands[2] + n * C;
    double dot = 0, dot_magnitude = 0;
    for (std::int64_t c = 0; c < C; ++c) {
      dot += dy[c] * y[c];
      dot_magnitude += std::abs(dy[c] * y[c]);
    }
    for (std::int64_t c = 0; c < C; ++c) {
      dx[c] = y[c] * (dy[c] - dot);
      magnitudes[2][n * C + c] = std::abs(y[c]) * (std::abs(dy[c]) + dot_magnitude);
    }
  }
}

void log_softmax_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* dy = operands[0] + n * C;
    const double* y = operands[1] + n * C;
    double* dx = operands[2] + n * C;
    double sum = 0, sum_magnitude = 0;
    for (std::int64_t c = 0; c < C; ++c) {
      sum += dy[c];
      sum_magnitude += std::abs(dy[c]);
    }
    for (std::int64_t c = 0; c < C; ++c) {
      dx[c] = dy[c] - std::exp(y[c]) * sum;
      magnitudes[2][n * C + c] = std::abs(dy[c]) + std::exp(y[c]) * (1 + std::abs(y[c])) * sum_magnitude;
    }
  }
}

}  // namespace weft::reference
