#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::Rows;

void normalize_pixels(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double* mean = operands[1];
  const double* deviation = operands[2];
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t c = 0; c < C; ++c) {
      const std::int64_t i = n * C + c;
      const double pixel = operands[0][i] / 255;
      operands[3][i] = (pixel - mean[c]) / deviation[c];
      magnitudes[3][i] = (pixel + std::abs(mean[c])) / deviation[c];
    }
}

}  // namespace weft::reference
