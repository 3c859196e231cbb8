#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::Elements;

void add(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const double* a = operands[0];
  const double* b = operands[1];
  double* y = operands[2];
  for (std::int64_t i = 0; i < problem.extents[Elements::n]; ++i) {
    y[i] = a[i] + b[i];
    magnitudes[2][i] = std::abs(a[i]) + std::abs(b[i]);
  }
}

}  // namespace weft::reference
