#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::Elements;
using extents::Rows;

void bias_add(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double* x = operands[0];     // (rows, C)
  const double* bias = operands[1];  // (C)
  double* y = operands[2];           // (rows, C)
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t c = 0; c < C; ++c) {
      y[n * C + c] = x[n * C + c] + bias[c];
      magnitudes[2][n * C + c] = std::abs(x[n * C + c]) + std::abs(bias[c]);
    }
}

void bias_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double* dy = operands[0];  // (rows, C)
  double* dbias = operands[1];     // (C)
  for (std::int64_t c = 0; c < C; ++c) {
    dbias[c] = 0;
    magnitudes[1][c] = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      dbias[c] += dy[n * C + c];
      magnitudes[1][c] += std::abs(dy[n * C + c]);
    }
  }
}

void relu_bias_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double ceiling = problem.scalars[Elements::ceiling];
  const double *dy = operands[0], *y = operands[1];  // (rows, C)
  double *dx = operands[2], *dbias = operands[3];    // (rows, C), (C)
  for (std::int64_t c = 0; c < C; ++c) {
    dbias[c] = 0;
    magnitudes[3][c] = 0;
    for (std::int64_t i = c; i < rows * C; i += C) {
      const bool passes = y[i] > 0 && (ceiling == 0 || y[i] < ceiling);
      dx[i] = passes ? dy[i] : 0;
      dbias[c] += dx[i];
      magnitudes[3][c] += std::abs(dx[i]);
    }
  }
}

}  // namespace weft::reference
