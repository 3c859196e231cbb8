// The losses that take a share of every class: cross_entropy_soft, binary_cross_entropy, and their gradients.

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>

namespace weft::reference {

using extents::Elements;
using extents::Rows;

void cross_entropy_soft(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  double* loss = operands[2];  // (1)
  double* lse = operands[3];   // (N)
  loss[0] = magnitudes[2][0] = 0;
  for (std::int64_t n = 0; n < N; ++n) {
    const double* logits = operands[0] + n * C;
    const double* targets = operands[1] + n * C;
    const double maximum = *std::max_element(logits, logits + C);
    double sum = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += std::exp(logits[c] - maximum);
    lse[n] = maximum + std::log(sum);
    magnitudes[3][n] = std::abs(maximum) + 1 + std::log(sum);
    for (std::int64_t c = 0; c < C; ++c) {
      loss[0] += targets[c] * (lse[n] - logits[c]) / static_cast<double>(N);
      magnitudes[2][0] += std::abs(targets[c]) * (magnitudes[3][n] + std::abs(logits[c])) / static_cast<double>(N);
    }
  }
}

void cross_entropy_soft_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const double dloss = operands[0][0] / static_cast<double>(N);
  const double* lse = operands[3];  // (N)
  for (std::int64_t n = 0; n < N; ++n) {
    const double* logits = operands[1] + n * C;
    const double* targets = operands[2] + n * C;
    double total = 0, size = 0;
    for (std::int64_t c = 0; c < C; ++c) {
      total += targets[c];
      size += std::abs(targets[c]);
    }
    for (std::int64_t c = 0; c < C; ++c) {
      const double probability = std::exp(logits[c] - lse[n]);
      operands[4][n * C + c] = dloss * (total * probability - targets[c]);
      magnitudes[4][n * C + c] =
          std::abs(dloss) * (size * probability * (1 + std::abs(logits[c] - lse[n])) + std::abs(targets[c]));
    }
  }
}

void binary_cross_entropy(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t n = problem.extents[Elements::n];
  const double *logits = operands[0], *targets = operands[1];
  operands[2][0] = magnitudes[2][0] = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double log_term = std::log1p(std::exp(-std::abs(logits[i])));
    operands[2][0] += (std::max(logits[i], 0.0) - logits[i] * targets[i] + log_term) / static_cast<double>(n);
    magnitudes[2][0] += (std::abs(logits[i]) * (1 + std::abs(targets[i])) + log_term) / static_cast<double>(n);
  }
}

void binary_cross_entropy_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t n = problem.extents[Elements::n];
  const double dloss = operands[0][0] / static_cast<double>(n);
  const double *logits = operands[1], *targets = operands[2];
  for (std::int64_t i = 0; i < n; ++i) {
    const double probability = 1 / (1 + std::exp(-logits[i]));
    operands[3][i] = dloss * (probability - targets[i]);
    magnitudes[3][i] = std::abs(dloss) * (probability * (1 + std::abs(logits[i])) + std::abs(targets[i]));
  }
}

}  // namespace weft::reference
