#pragma once
// Large batches in small memory.

#include "nn/callback.h"
#include "nn/callbacks/flat.h"

namespace weft {

/// Moves the weights once in `steps` batches, along the mean of their gradients over all their pictures; at an epoch's
/// end along what there is. Without batch normalisation, whose statistics stay those of one batch, that is the step of
/// a batch `steps` times as large. Schedules go on counting batches. Throws Error for fewer than one step.
class AccumulateGradients : public Callback {
 public:
  explicit AccumulateGradients(int steps);

  void begin_fit(Training& training) override;
  bool on_gradients(Training& training) override;
  std::string name() const override { return "accumulate"; }
  std::string settings() const override;
  CallbackState save(Training& training) const override;
  void load(Training& training, const CallbackState& state) override;

 private:
  float* sum() const { return static_cast<float*>(sum_.data()); }

  int steps_, held_ = 0;
  double pictures_ = 0;  // behind the sum
  Buffer sum_;           // of gradients, each times its batch's pictures
  std::unique_ptr<FlatArithmetic> flat_;
};

}  // namespace weft
