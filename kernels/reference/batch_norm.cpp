#include "kernels/ops.h"
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace weft::reference {

using extents::BatchNorm;

// Rounding in x - mean is relative to |x| + |mean|, not to the difference: that is what the magnitudes below carry
// along. The sum with a residual and the ReLU come last: a ReLU moves no two numbers further apart than they were.

namespace {

/// 0: none.
double ceiling_of(const Problem& problem) {
  return problem.scalars[BatchNorm::ceiling];
}

double finish(const Problem& problem, double normalised, const double* residual, std::int64_t i) {
  const double y = normalised + (residual != nullptr ? residual[i] : 0);
  if (problem.extents[BatchNorm::relu] == 0) return y;
  if (ceiling_of(problem) > 0 && y > ceiling_of(problem)) return ceiling_of(problem);
  return y < 0 ? 0 : y;
}

double magnitude_of(const double* residual, std::int64_t i) {
  return residual != nullptr ? std::abs(residual[i]) : 0;
}

/// dy behind the ReLU's mask, where y is given; written down where a residual wants it.
std::vector<double> masked(const Problem& problem, const double* dy, const double* y, double* dresidual,
                           std::int64_t count) {
  std::vector<double> gradient(dy, dy + count);
  for (std::int64_t i = 0; y != nullptr && i < count; ++i)
    if (!(y[i] > 0) || (ceiling_of(problem) > 0 && !(y[i] < ceiling_of(problem))))
      gradient[static_cast<std::size_t>(i)] = 0;
  if (dresidual != nullptr) std::copy(gradient.begin(), gradient.end(), dresidual);
  return gradient;
}

}  // namespace

void batch_norm_train(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double eps = problem.scalars[BatchNorm::eps], momentum = problem.scalars[BatchNorm::momentum];
  const auto count = static_cast<double>(rows);
  const double* x = operands[0];  // (rows, C); everything but x, residual and y is (C)
  const double* weight = operands[1];
  const double* bias = operands[2];
  const double* residual = operands[3];  // (rows, C), or null
  double* running_mean = operands[4];
  double* running_var = operands[5];
  double* y = operands[6];  // (rows, C)
  double* save_mean = operands[7];
  double* save_invstd = operands[8];
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
      const std::int64_t i = n * C + c;
      y[i] = finish(problem, (x[i] - mean) * invstd * weight[c] + bias[c], residual, i);
      magnitudes[6][i] = (std::abs(x[i]) + std::abs(mean)) * invstd * std::abs(weight[c]) + std::abs(bias[c]) +
                         magnitude_of(residual, i);
    }
    save_mean[c] = mean;
    magnitudes[7][c] = sum_magnitude / count;
    save_invstd[c] = invstd;
    magnitudes[8][c] = invstd * (1 + squares_magnitude / count / (variance + eps));
    magnitudes[4][c] = (1 - momentum) * std::abs(running_mean[c]) + momentum * sum_magnitude / count;
    magnitudes[5][c] = (1 - momentum) * std::abs(running_var[c]) + momentum * squares_magnitude / (count - 1);
    running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean;
    running_var[c] = (1 - momentum) * running_var[c] + momentum * squares / (count - 1);
  }
}

void batch_norm_train_gathered(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double eps = problem.scalars[BatchNorm::eps], momentum = problem.scalars[BatchNorm::momentum];
  const auto count = static_cast<double>(rows);
  const double *x = operands[0], *residual = operands[3];  // (rows, C); all else is (C)
  const double *weight = operands[1], *bias = operands[2], *mean = operands[6], *var = operands[7];
  double *running_mean = operands[4], *running_var = operands[5];
  for (std::int64_t c = 0; c < C; ++c) {
    const double invstd = 1 / std::sqrt(var[c] + eps);
    for (std::int64_t i = c; i < rows * C; i += C) {
      operands[8][i] = finish(problem, (x[i] - mean[c]) * invstd * weight[c] + bias[c], residual, i);
      magnitudes[8][i] = (std::abs(x[i]) + std::abs(mean[c])) * invstd * std::abs(weight[c]) + std::abs(bias[c]) +
                         magnitude_of(residual, i);
    }
    magnitudes[4][c] = (1 - momentum) * std::abs(running_mean[c]) + momentum * std::abs(mean[c]);
    running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
    running_var[c] = (1 - momentum) * running_var[c] + momentum * var[c] * count / (count - 1);
    operands[9][c] = mean[c];
    operands[10][c] = invstd;
  }
}

void batch_norm_eval(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const double* x = operands[0];  // (rows, C)
  const double* weight = operands[1];
  const double* bias = operands[2];
  const double* residual = operands[3];  // (rows, C), or null
  const double* mean = operands[4];
  const double* variance = operands[5];
  double* y = operands[6];  // (rows, C)
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t c = 0; c < C; ++c) {
      const double scale = weight[c] / std::sqrt(variance[c] + problem.scalars[BatchNorm::eps]);
      const std::int64_t i = n * C + c;
      y[i] = finish(problem, (x[i] - mean[c]) * scale + bias[c], residual, i);
      magnitudes[6][i] =
          (std::abs(x[i]) + std::abs(mean[c])) * std::abs(scale) + std::abs(bias[c]) + magnitude_of(residual, i);
    }
}

void batch_norm_fold(const Problem& problem, double* const* operands, double* const* magnitudes) {
  using extents::BatchNormFold;
  const std::int64_t K = problem.extents[BatchNormFold::K];
  const double* weight = operands[0];
  const double* bias = operands[1];
  const double* conv_bias = operands[2];
  const double* mean = operands[3];
  const double* variance = operands[4];
  double* scale = operands[5];
  double* shift = operands[6];
  for (std::int64_t k = 0; k < K; ++k) {
    const double before = conv_bias == nullptr ? 0 : conv_bias[k];
    scale[k] = weight[k] / std::sqrt(variance[k] + problem.scalars[BatchNormFold::eps]);
    shift[k] = (before - mean[k]) * scale[k] + bias[k];
    magnitudes[6][k] = (std::abs(before) + std::abs(mean[k])) * std::abs(scale[k]) + std::abs(bias[k]);
  }
}

void batch_norm_train_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const auto count = static_cast<double>(rows);
  const std::vector<double> gradient = masked(problem, operands[0], operands[2], operands[9], rows * C);
  const double* dy = gradient.data();
  const double* x = operands[1];  // (rows, C)
  const double* weight = operands[3];
  const double* mean = operands[4];
  const double* invstd = operands[5];
  double* dx = operands[6];  // (rows, C)
  double* dweight = operands[7];
  double* dbias = operands[8];
  for (std::int64_t c = 0; c < C; ++c) {
    dweight[c] = dbias[c] = magnitudes[7][c] = magnitudes[8][c] = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t i = n * C + c;
      dbias[c] += dy[i];
      dweight[c] += dy[i] * (x[i] - mean[c]) * invstd[c];
      magnitudes[8][c] += std::abs(dy[i]);
      magnitudes[7][c] += std::abs(dy[i]) * (std::abs(x[i]) + std::abs(mean[c])) * invstd[c];
    }
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t i = n * C + c;
      const double xhat = (x[i] - mean[c]) * invstd[c];
      dx[i] = weight[c] * invstd[c] * (dy[i] - dbias[c] / count - xhat * dweight[c] / count);
      magnitudes[6][i] = std::abs(weight[c]) * invstd[c] *
                         (std::abs(dy[i]) + magnitudes[8][c] / count +
                          (std::abs(x[i]) + std::abs(mean[c])) * invstd[c] * magnitudes[7][c] / count);
    }
  }
}

void batch_norm_eval_backward(const Problem& problem, double* const* operands, double* const* magnitudes) {
  const std::int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const std::vector<double> gradient = masked(problem, operands[0], operands[2], operands[9], rows * C);
  const double* dy = gradient.data();
  const double* x = operands[1];  // (rows, C)
  const double* weight = operands[3];
  const double* mean = operands[4];
  const double* variance = operands[5];
  double* dx = operands[6];  // (rows, C)
  double* dweight = operands[7];
  double* dbias = operands[8];
  for (std::int64_t c = 0; c < C; ++c) {
    const double invstd = 1 / std::sqrt(variance[c] + problem.scalars[BatchNorm::eps]);
    dweight[c] = dbias[c] = magnitudes[7][c] = magnitudes[8][c] = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t i = n * C + c;
      dbias[c] += dy[i];
      dweight[c] += dy[i] * (x[i] - mean[c]) * invstd;
      dx[i] = dy[i] * weight[c] * invstd;
      magnitudes[8][c] += std::abs(dy[i]);
      magnitudes[7][c] += std::abs(dy[i]) * (std::abs(x[i]) + std::abs(mean[c])) * invstd;
    }
  }
}

}  // namespace weft::reference
