#pragma once
// Batch norm over the rows of x (rows, C), with what may follow it: y = relu?(batch_norm(x) [+ residual]).
//
// What the four ops share: the order of their operands, a call with every pointer by its name, the end of the forward
// pass (the sum and the ReLU), the beginning of the backward pass (the ReLU's mask), and the checks.

#include <span>

#include "kernels/catalogue.h"
#include "kernels/element.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
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

  /// Element `i` of y, from its normalised value. A NaN passes through the ReLU, as torch's does.
  __device__ T operator()(float normalised, int64_t i) const {
    if (residual != nullptr) normalised += to_float(residual[i]);
    return from_float<T>(relu && normalised < 0 ? 0 : normalised);
  }
};

/// dy as batch norm's backward pass sees it: behind the mask of the ReLU that made y.
template <class T>
struct Gradient {
  const T* dy;   ///< (rows, C)
  const T* y;    ///< (rows, C), or null where there is no ReLU
  T* dresidual;  ///< (rows, C), or null; the sum hands its gradient on as it is

  __device__ float operator()(int64_t i) const { return y != nullptr && !(to_float(y[i]) > 0) ? 0 : to_float(dy[i]); }
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
  return {as<const T>(operands[TrainOperands::residual]), problem.extents[extents::BatchNorm::relu] != 0};
}

template <class T>
Gradient<T> gradient_of(void* const* operands) {
  using At = BackwardOperands;
  return {as<const T>(operands[At::dy]), as<const T>(operands[At::y]), as<T>(operands[At::dresidual])};
}

inline constexpr const char* kBatchNormExtents[] = {"rows", "C", "has_residual", "relu"};
inline constexpr const char* kBatchNormScalars[] = {"eps", "momentum"};

/// Refuses rows or C below 1, and flags that are neither 0 nor 1.
inline void check_batch_norm(const char* op, const Problem& problem) {
  using extents::BatchNorm;
  require_positive(op, std::span<const char* const>(kBatchNormExtents).first(2), problem);
  for (const int flag : {static_cast<int>(BatchNorm::has_residual), static_cast<int>(BatchNorm::relu)})
    if (problem.extents[flag] != 0 && problem.extents[flag] != 1)
      fail(std::string(op) + ": " + kBatchNormExtents[flag] + " is " + std::to_string(problem.extents[flag]) +
           ", and must be 0 or 1");
}

inline double batch_norm_elements(const Problem& p) {
  using extents::BatchNorm;
  return static_cast<double>(p.extents[BatchNorm::rows]) * static_cast<double>(p.extents[BatchNorm::C]);
}

}  // namespace weft::WEFT_TARGET
