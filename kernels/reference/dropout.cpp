#include "kernels/ops.h"
#include "kernels/philox.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::Dropout;

void dropout(const Problem& problem, double* const* operands, double* const*) {
  const auto seed = static_cast<std::uint64_t>(problem.extents[Dropout::seed]);
  const std::uint64_t subsequence = (static_cast<std::uint64_t>(problem.extents[Dropout::op]) << 32) +
                                    static_cast<std::uint64_t>(problem.extents[Dropout::step]);
  const double p = problem.scalars[Dropout::p];
  const double threshold = std::round(p * 4294967296.0);
  const double* x = operands[0];
  double* y = operands[1];
  for (std::int64_t i = 0; i < problem.extents[Dropout::n]; ++i) {
    const auto numbers = philox4x32_10(seed, subsequence, static_cast<std::uint64_t>(i / 4));
    const bool kept = numbers[static_cast<std::size_t>(i % 4)] >= threshold;
    y[i] = kept ? x[i] / (1 - p) : 0;
  }
}

// The gradient passes where the value did: the same map, applied to dy.
void dropout_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  dropout(problem, operands, magnitudes);
}

}  // namespace weft::reference
