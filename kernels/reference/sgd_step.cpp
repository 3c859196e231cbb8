#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::SgdStep;

void sgd_step(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const double momentum = problem.scalars[SgdStep::momentum];
  const bool nesterov = problem.extents[SgdStep::nesterov] != 0;
  double* weight = operands[0];
  const double* dweight = operands[1];
  double* velocity = operands[2];
  for (std::int64_t i = 0; i < problem.extents[SgdStep::n]; ++i) {
    int group = 0;
    for (int end = 0; end < problem.extents[SgdStep::splits]; ++end)
      if (problem.extents[SgdStep::split + end] <= i) group = end + 1;
    const double lr = problem.scalars[SgdStep::lr + 2 * group];
    const double weight_decay = problem.scalars[SgdStep::weight_decay + 2 * group];
    const double g = dweight[i] + weight_decay * weight[i];
    const double g_magnitude = std::abs(dweight[i]) + weight_decay * std::abs(weight[i]);
    const double velocity_magnitude = momentum * std::abs(velocity[i]) + g_magnitude;
    magnitudes[0][i] = std::abs(weight[i]) +
                       std::abs(lr) * (nesterov ? g_magnitude + momentum * velocity_magnitude : velocity_magnitude);
    magnitudes[2][i] = velocity_magnitude;
    velocity[i] = momentum * velocity[i] + g;
    weight[i] -= lr * (nesterov ? g + momentum * velocity[i] : velocity[i]);
  }
}

}  // namespace weft::reference
