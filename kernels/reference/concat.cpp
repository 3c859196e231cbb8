#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::reference {
namespace {

using extents::Concat;

// Calls copy(k, offset in part k, offset in the whole) for every element.
template <class Copy>
void each_element(const Problem& problem, Copy copy) {
  const std::int64_t* widths = problem.extents + Concat::C0;
  const std::int64_t count = problem.extents[Concat::count];
  std::int64_t at = 0;
  for (std::int64_t row = 0; row < problem.extents[Concat::rows]; ++row)
    for (std::int64_t k = 0; k < count; ++k)
      for (std::int64_t c = 0; c < widths[k]; ++c) copy(k, row * widths[k] + c, at++);
}

}  // namespace

void concat(const Problem& problem, double* const* operands, double* const*) {
  double* y = operands[Concat::kMaxInputs];
  each_element(problem, [&](std::int64_t k, std::int64_t part, std::int64_t whole) { y[whole] = operands[k][part]; });
}

void concat_backward(const Problem& problem, double* const* operands, double* const*) {
  const double* dy = operands[0];
  each_element(problem,
               [&](std::int64_t k, std::int64_t part, std::int64_t whole) { operands[1 + k][part] = dy[whole]; });
}

}  // namespace weft::reference
