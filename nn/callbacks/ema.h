#pragma once
// The average of the weights over the steps.

#include <vector>

#include "nn/callback.h"
#include "nn/callbacks/flat.h"

namespace weft {

/// average += (1 - d) (weights - average) behind each step, d = min(decay, (1 + t) / (10 + t)) at its t-th update, so
/// that the first weights are soon forgotten; running statistics likewise. Validation sees the average, and at the end
/// of fit() it is the model. Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the
/// warm-up is TensorFlow's ExponentialMovingAverage(num_updates). Throws Error unless 0 < decay < 1.
class AverageWeights : public Callback {
 public:
  explicit AverageWeights(double decay);

  void begin_fit(Training& training) override;
  void on_update(Training& training) override;
  void before_validation(Training& training) override { exchange(training.store()); }
  void after_validation(Training& training) override { exchange(training.store()); }
  void end_fit(Training& training) override { exchange(training.store()); }
  std::string name() const override { return "average"; }
  std::string settings() const override;
  CallbackState save(Training& training) const override;
  void load(Training& training, const CallbackState& state) override;

 private:
  /// A flat range that is averaged: all trained parameters, or one running statistic.
  struct Part {
    float* weights;
    Buffer average;
    std::size_t floats;
    float* averaged() const { return static_cast<float*>(average.data()); }
  };
  void exchange(ParameterStore& store) const;

  double decay_;
  std::int64_t updates_ = 0;
  std::vector<Part> parts_;
  std::unique_ptr<FlatArithmetic> flat_;
};

}  // namespace weft
