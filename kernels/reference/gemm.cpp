#include <cmath>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::reference {

using extents::Gemm;

// Operands are dense here: how far apart a matrix's rows lie (lda, ...) is no business of the formula's.
void gemm(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const auto* e = problem.extents;
  const std::int64_t rows = e[Gemm::M], columns = e[Gemm::N], depth = e[Gemm::K];
  const double alpha = problem.scalars[Gemm::alpha], beta = problem.scalars[Gemm::beta];
  const double *a = operands[0], *b = operands[1], *bias = operands[2], *residual = operands[3];
  double* y = operands[4];
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < columns; ++n) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < depth; ++k) {
        const double left = e[Gemm::trans_a] ? a[k * rows + m] : a[m * depth + k];
        const double right = e[Gemm::trans_b] ? b[n * depth + k] : b[k * columns + n];
        sum += left * right;
        magnitude += std::fabs(left * right);
      }
      const std::int64_t at = m * columns + n;
      const double before = beta != 0 ? beta * y[at] : 0;
      const double bias_n = e[Gemm::has_bias] ? bias[n] : 0;
      const double residual_mn = e[Gemm::has_residual] ? residual[at] : 0;
      // ReLU brings two numbers no further apart, so the magnitude of its input serves for its output.
      magnitudes[4][at] = std::fabs(alpha) * magnitude + std::fabs(before) + std::fabs(bias_n) + std::fabs(residual_mn);
      const double value = alpha * sum + before + bias_n + residual_mn;
      y[at] = e[Gemm::relu] && value < 0 ? 0 : value;
    }
  }
}

}  // namespace weft::reference
