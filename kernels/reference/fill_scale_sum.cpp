#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::Elements;

void fill(const Problem& problem, double* const* operands, double* const*) {
  for (std::int64_t i = 0; i < problem.extents[Elements::n]; ++i) operands[0][i] = problem.scalars[Elements::value];
}

void scale(const Problem& problem, double* const* operands, double* const*) {
  for (std::int64_t i = 0; i < problem.extents[Elements::n]; ++i)
    operands[1][i] = problem.scalars[Elements::factor] * operands[0][i];
}

void sum(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const double* x = operands[0];
  double* y = operands[1];
  y[0] = magnitudes[1][0] = 0;
  for (std::int64_t i = 0; i < problem.extents[Elements::n]; ++i) {
    y[0] += x[i];
    magnitudes[1][0] += std::abs(x[i]);
  }
}

}  // namespace weft::reference
