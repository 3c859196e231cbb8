#include <cmath>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::reference {

using extents::Gemm;

void gemm(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const auto* e = problem.extents;
  const std::int64_t rows = e[Gemm::M], columns = e[Gemm::N], depth = e[Gemm::K];
  const double alpha = problem.scalars[Gemm::alpha], beta = problem.scalars[Gemm::beta];
  const double *a = operands[0], *b = operands[1], *bias = operands[2];
  double* y = operands[3];
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
      const double added = e[Gemm::has_bias] ? bias[n] : 0;
      magnitudes[3][at] = std::fabs(alpha) * magnitude + std::fabs(before) + std::fabs(added);
      y[at] = alpha * sum + before + added;
    }
  }
}

}  // namespace weft::reference
