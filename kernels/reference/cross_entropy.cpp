#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace weft::reference {

using extents::Rows;

void cross_entropy(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double* labels = operands[1];  // (N)
  double* loss = operands[2];          // (1)
  double* lse = operands[3];           // (N): log of the sum of exponentials
  loss[0] = magnitudes[2][0] = 0;
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* logits = operands[0] + n * C;
    const double maximum = *std::max_element(logits, logits + C);
    double sum = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += std::exp(logits[c] - maximum);
    lse[n] = maximum + std::log(sum);
    magnitudes[3][n] = std::abs(maximum) + 1 + std::log(sum);
    const auto label = static_cast<std::int64_t>(labels[n]);
    const bool known = label >= 0 && label < C;
    const double logit = known ? logits[label] : std::numeric_limits<double>::quiet_NaN();
    loss[0] += (lse[n] - logit) / static_cast<double>(rows);
    magnitudes[2][0] += (magnitudes[3][n] + std::abs(logit)) / static_cast<double>(rows);
  }
}

void cross_entropy_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double dloss = operands[0][0] / static_cast<double>(rows);
  const double* labels = operands[2];  // (N)
  const double* lse = operands[3];     // (N)
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* logits = operands[1] + n * C;
    double* dlogits = operands[4] + n * C;
    const auto label = static_cast<std::int64_t>(labels[n]);
    for (std::int64_t c = 0; c < C; ++c) {
      const double probability = std::exp(logits[c] - lse[n]);
      const double target = c == label ? 1 : 0;
      dlogits[c] = dloss * (probability - target);
      magnitudes[4][n * C + c] = std::abs(dloss) * (probability * (1 + std::abs(logits[c] - lse[n])) + target);
      if (label < 0 || label >= C) dlogits[c] = std::numeric_limits<double>::quiet_NaN();
    }
  }
}

void cross_entropy_forward_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  double* const dloss = operands[0];
  double* const logits = operands[1];
  double* const labels = operands[2];
  const auto rows = static_cast<std::size_t>(problem.extents[Rows::rows]);
  std::vector<double> lse(rows), lse_magnitudes(rows);
  double* const forward[] = {logits, labels, operands[3], lse.data()};
  double* const forward_magnitudes[] = {nullptr, nullptr, magnitudes[3], lse_magnitudes.data()};
  cross_entropy(problem, forward, forward_magnitudes);
  double* const backward[] = {dloss, logits, labels, lse.data(), operands[4]};
  cross_entropy_backward(problem, backward, magnitudes);
}

}  // namespace weft::reference
