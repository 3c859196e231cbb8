#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <cmath>

namespace weft::reference {

using extents::BatchNorm;

// Rounding in x - mean is relative to |x| + |mean|, not to the difference: that is what the magnitudes below carry
// along.

void batch_norm_train(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double eps = problem.scalars[BatchNorm::eps], momentum = problem.scalars[BatchNorm::momentum];
  const auto count = static_cast<double>(rows);
  const double* x = operands[0];  // (rows, C); everything but x and y is (C)
  const double* weight = operands[1];
  const double* bias = operands[2];
  double* running_mean = operands[3];
  double* running_var = operands[4];
  double* y = operands[5];  // (rows, C)
  double* save_mean = operands[6];
  double* save_invstd = operands[7];
  for (std::int64_t c = 0; c < C; ++c) {
    double sum = 0, sum_magnitude = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      sum += x[n * C + c];
      sum_magnitude += std::abs(x[n * C + c]);
    }
    const double mean = sum / count;
    double squares = 0, squares_magnitude = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const double difference = x[n * C + c] - mean;
      squares += difference * difference;
      squares_magnitude += std::abs(difference) * (std::abs(x[n * C + c]) + std::abs(mean));
    }
    const double variance = squares / count;
    const double invstd = 1 / std::sqrt(variance + eps);
    for (std::int64_t n = 0; n < rows; ++n) {
      y[n * C + c] = (x[n * C + c] - mean) * invstd * weight[c] + bias[c];
      magnitudes[5][n * C + c] =
          (std::abs(x[n * C + c]) + std::abs(mean)) * invstd * std::abs(weight[c]) + std::abs(bias[c]);
    }
    save_mean[c] = mean;
    magnitudes[6][c] = sum_magnitude / count;
    save_invstd[c] = invstd;
    magnitudes[7][c] = invstd * (1 + squares_magnitude / count / (variance + eps));
    magnitudes[3][c] = (1 - momentum) * std::abs(running_mean[c]) + momentum * sum_magnitude / count;
    magnitudes[4][c] = (1 - momentum) * std::abs(running_var[c]) + momentum * squares_magnitude / (count - 1);
    running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean;
    running_var[c] = (1 - momentum) * running_var[c] + momentum * squares / (count - 1);
  }
}

void batch_norm_eval(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double* x = operands[0];  // (rows, C)
  const double* weight = operands[1];
  const double* bias = operands[2];
  const double* mean = operands[3];
  const double* variance = operands[4];
  double* y = operands[5];  // (rows, C)
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t c = 0; c < C; ++c) {
      const double scale = weight[c] / std::sqrt(variance[c] + problem.scalars[BatchNorm::eps]);
      y[n * C + c] = (x[n * C + c] - mean[c]) * scale + bias[c];
      magnitudes[5][n * C + c] = (std::abs(x[n * C + c]) + std::abs(mean[c])) * std::abs(scale) + std::abs(bias[c]);
    }
}

void batch_norm_train_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const auto count = static_cast<double>(rows);
  const double* dy = operands[0];  // (rows, C)
  const double* x = operands[1];   // (rows, C)
  const double* weight = operands[2];
  const double* mean = operands[3];
  const double* invstd = operands[4];
  double* dx = operands[5];  // (rows, C)
  double* dweight = operands[6];
  double* dbias = operands[7];
  for (std::int64_t c = 0; c < C; ++c) {
    dweight[c] = dbias[c] = magnitudes[6][c] = magnitudes[7][c] = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t i = n * C + c;
      dbias[c] += dy[i];
      dweight[c] += dy[i] * (x[i] - mean[c]) * invstd[c];
      magnitudes[7][c] += std::abs(dy[i]);
      magnitudes[6][c] += std::abs(dy[i]) * (std::abs(x[i]) + std::abs(mean[c])) * invstd[c];
    }
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t i = n * C + c;
      const double xhat = (x[i] - mean[c]) * invstd[c];
      dx[i] = weight[c] * invstd[c] * (dy[i] - dbias[c] / count - xhat * dweight[c] / count);
      magnitudes[5][i] = std::abs(weight[c]) * invstd[c] *
                         (std::abs(dy[i]) + magnitudes[7][c] / count +
                          (std::abs(x[i]) + std::abs(mean[c])) * invstd[c] * magnitudes[6][c] / count);
    }
  }
}

void batch_norm_eval_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double* dy = operands[0];  // (rows, C)
  const double* x = operands[1];   // (rows, C)
  const double* weight = operands[2];
  const double* mean = operands[3];
  const double* variance = operands[4];
  double* dx = operands[5];  // (rows, C)
  double* dweight = operands[6];
  double* dbias = operands[7];
  for (std::int64_t c = 0; c < C; ++c) {
    const double invstd = 1 / std::sqrt(variance[c] + problem.scalars[BatchNorm::eps]);
    dweight[c] = dbias[c] = magnitudes[6][c] = magnitudes[7][c] = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t i = n * C + c;
      dbias[c] += dy[i];
      dweight[c] += dy[i] * (x[i] - mean[c]) * invstd;
      dx[i] = dy[i] * weight[c] * invstd;
      magnitudes[7][c] += std::abs(dy[i]);
      magnitudes[6][c] += std::abs(dy[i]) * (std::abs(x[i]) + std::abs(mean[c])) * invstd;
    }
  }
}

}  // namespace weft::reference
