#include <limits>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::reference {

using extents::Elements;

namespace {

double ceiling_of(const Problem& problem) {
  const double ceiling = problem.scalars[Elements::ceiling];
  return ceiling > 0 ? ceiling : std::numeric_limits<double>::infinity();
}

}  // namespace

void relu(const Problem& problem, double* const* operands, double* const*) {
  const double* x = operands[0];
  double* y = operands[1];
  const double top = ceiling_of(problem);
  // Written so that a NaN passes through, as torch's does: a broken input must not look healthy one layer on.
  for (std::int64_t i = 0; i < problem.extents[Elements::n]; ++i) y[i] = x[i] < 0 ? 0 : x[i] > top ? top : x[i];
}

void relu_backward(const Problem& problem, double* const* operands, double* const*) {
  const double* dy = operands[0];
  const double* y = operands[1];
  double* dx = operands[2];
  const double top = ceiling_of(problem);
  for (std::int64_t i = 0; i < problem.extents[Elements::n]; ++i) dx[i] = y[i] > 0 && y[i] < top ? dy[i] : 0;
}

}  // namespace weft::reference
