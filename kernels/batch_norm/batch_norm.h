#pragma once
// Batch norm over the rows of x (rows, C), with what may follow it: y = relu?(batch_norm(x) [+ residual]). The ReLU may
// have a ceiling (rectify.h).
//
// What the ops share: the order of their operands, the end of the forward pass (the sum and the ReLU), the
// beginning of the backward pass (the ReLU's mask), where statistics come from and go to, and the checks. The ladders:
//
//   train.cu               batch_norm_train: the op, a thread a channel, and chunks of rows
//   train_vectorised.cu      16 bytes an instruction, each channel's numbers read once a block
//   train_kept.cu            x kept on the chip until its statistics are known: by a block, by a cluster
//   train_gathered.cu      batch_norm_train_gathered, whole: statistics that the convolution before it has found
//   eval.cu                batch_norm_eval, whole
//   backward.cu            batch_norm_train_backward, batch_norm_eval_backward: the ops and their first two rungs
//   backward_vectorised.cu   as in the forward pass; in evaluation dx needs no sums, so one reading does
//   backward_kept.cu         dy and x kept on the chip
// moments.h: means and variances of parts, merged. channels.h: threads over packs of channels. apply.h: y from known
// statistics. kept.h: what is kept, and sums over a cluster. The floor of each pass is one reading of every input and
// one writing of every output; what a rung gains, it gains by reading less often, or with more bytes under way.

#include <span>

#include "kernels/catalogue.h"
#include "kernels/element.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/rectify.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Where each operand stands (kernels/ops.h).
struct TrainOperands {
  enum : int { x, weight, bias, residual, running_mean, running_var, y, save_mean, save_invstd, kCount };
};
struct EvalOperands {
  enum : int { x, weight, bias, residual, running_mean, running_var, y, kCount };
};
/// mean and spread are the saved mean and inverse deviation in training, the running mean and variance in evaluation.
struct BackwardOperands {
  enum : int { dy, x, y, weight, mean, spread, dx, dweight, dbias, dresidual, kCount };
};

/// What the forward pass does to a normalised value before it is y.
template <class T>
struct Finish {
  const T* residual;  ///< (rows, C), or null
  bool relu;
  float ceiling;  ///< of the ReLU; 0: none

  /// An element of y, from its normalised value and the residual added.
  __device__ T result(float sum) const { return from_float<T>(relu ? rectified(sum, ceiling) : sum); }
  /// Element `i` of y, from its normalised value.
  __device__ T operator()(float normalised, int64_t i) const {
    if (residual != nullptr) normalised += to_float(residual[i]);
    return result(normalised);
  }
};

/// dy as batch norm's backward pass sees it: behind the mask of the ReLU that made y.
template <class T>
struct Gradient {
  const T* dy;    ///< (rows, C)
  const T* y;     ///< (rows, C), or null where there is no ReLU
  T* dresidual;   ///< (rows, C), or null; the sum hands its gradient on as it is
  float ceiling;  ///< of the ReLU; 0: none

  __device__ float operator()(int64_t i) const {
    return y != nullptr && !lets_through(y[i], ceiling) ? 0 : to_float(dy[i]);
  }
  /// The same, and writes it down as the residual's gradient: to be called once for each element.
  __device__ float pass_on(int64_t i) const {
    const float gradient = (*this)(i);
    if (dresidual != nullptr) dresidual[i] = from_float<T>(gradient);
    return gradient;
  }
};

template <class T>
Finish<T> finish_of(const Problem& problem, void* const* operands) {
  static_assert(static_cast<int>(TrainOperands::residual) == static_cast<int>(EvalOperands::residual));
  return {as<const T>(operands[TrainOperands::residual]), problem.extents[extents::BatchNorm::relu] != 0,
          static_cast<float>(problem.scalars[extents::BatchNorm::ceiling])};
}

template <class T>
Gradient<T> gradient_of(const Problem& problem, void* const* operands) {
  using At = BackwardOperands;
  return {as<const T>(operands[At::dy]), as<const T>(operands[At::y]), as<T>(operands[At::dresidual]),
          static_cast<float>(problem.scalars[extents::BatchNorm::ceiling])};
}

/// mean and invstd of each channel as the forward pass saved them, or the running mean and variance.
struct ChannelStatistics {
  const float* mean;
  const float* spread;
  bool spread_is_variance;
  float eps;

  __device__ float invstd(int64_t c) const { return spread_is_variance ? 1 / sqrtf(spread[c] + eps) : spread[c]; }
};

/// What the statistics of a batch go to.
struct BatchStatistics {
  float* running_mean;
  float* running_var;
  float* save_mean;
  float* save_invstd;
  float eps, momentum;

  __device__ float invstd(float squares, int64_t rows) const {
    return 1 / sqrtf(squares / static_cast<float>(rows) + eps);
  }
  /// Writes all four of channel c, from its mean and the sum of (x - mean)^2; called once for each channel.
  __device__ void keep(int64_t c, int64_t rows, float mean, float squares) const {
    save_mean[c] = mean;
    save_invstd[c] = invstd(squares, rows);
    running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean;
    running_var[c] = (1 - momentum) * running_var[c] + momentum * (squares / static_cast<float>(rows - 1));
  }
};

inline BatchStatistics batch_statistics(const Problem& problem, void* const* operands) {
  using At = TrainOperands;
  using extents::BatchNorm;
  return {as<float>(operands[At::running_mean]),
          as<float>(operands[At::running_var]),
          as<float>(operands[At::save_mean]),
          as<float>(operands[At::save_invstd]),
          static_cast<float>(problem.scalars[BatchNorm::eps]),
          static_cast<float>(problem.scalars[BatchNorm::momentum])};
}

/// Of the backward ops' operands.
template <bool kTrain>
ChannelStatistics channel_statistics(const Problem& problem, void* const* operands) {
  using At = BackwardOperands;
  return {as<const float>(operands[At::mean]), as<const float>(operands[At::spread]), !kTrain,
          static_cast<float>(problem.scalars[extents::BatchNorm::eps])};
}

inline constexpr const char* kBatchNormExtents[] = {"rows", "C", "has_residual", "relu"};
inline constexpr const char* kBatchNormScalars[] = {"eps", "momentum", "ceiling"};

/// Refuses rows or C below 1, flags that are neither 0 nor 1, and a ceiling below 0 or without a ReLU.
inline void check_batch_norm(const char* op, const Problem& problem) {
  using extents::BatchNorm;
  require_positive(op, std::span<const char* const>(kBatchNormExtents).first(2), problem);
  for (const int flag : {static_cast<int>(BatchNorm::has_residual), static_cast<int>(BatchNorm::relu)})
    if (problem.extents[flag] != 0 && problem.extents[flag] != 1)
      fail(std::string(op) + ": " + kBatchNormExtents[flag] + " is " + std::to_string(problem.extents[flag]) +
           ", and must be 0 or 1");
  const double ceiling = problem.scalars[BatchNorm::ceiling];
  if (!(ceiling >= 0) || (ceiling > 0 && problem.extents[BatchNorm::relu] == 0))
    fail(std::string(op) + ": the ceiling is " + std::to_string(ceiling) +
         "; it is above 0 where relu is 1 and has one, or 0");
}

inline double batch_norm_elements(const Problem& p) {
  using extents::BatchNorm;
  return static_cast<double>(p.extents[BatchNorm::rows]) * static_cast<double>(p.extents[BatchNorm::C]);
}

// Rungs in files of their own. Each takes what a catalogue's launcher takes.
using Launch = void(const Problem& problem, void* const* operands, void* workspace, Stream stream);
Launch batch_norm_train_vectorised, batch_norm_train_kept_by_block, batch_norm_train_kept_by_cluster;
Launch batch_norm_train_backward_vectorised, batch_norm_eval_backward_vectorised;
Launch batch_norm_train_backward_kept_by_block, batch_norm_train_backward_kept_by_cluster;
int64_t batch_norm_vectorised_workspace(const Problem& problem);
int64_t batch_norm_backward_vectorised_workspace(const Problem& problem);

}  // namespace weft::WEFT_TARGET
