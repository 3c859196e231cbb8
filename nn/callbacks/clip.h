#pragma once
// Steps that cannot become too long.

#include "nn/callback.h"
#include "nn/callbacks/flat.h"

namespace weft {

/// Scales all gradients by c / |g| where their norm |g|, over all parameters as one vector, is above c: torch's
/// clip_grad_norm_. Pascanu et al., "On the difficulty of training recurrent neural networks", 2013. Added behind
/// AccumulateGradients it clips what was gathered. Throws Error for c not above 0, and where the norm is not finite.
class ClipGradients : public Callback {
 public:
  explicit ClipGradients(double largest_norm);

  void begin_fit(Training& training) override;
  bool on_gradients(Training& training) override;
  std::string name() const override { return "clip"; }
  std::string settings() const override;
  /// Of the last step, before it was clipped.
  double last_norm() const { return last_norm_; }

 private:
  double largest_, last_norm_ = 0;
  std::unique_ptr<FlatArithmetic> flat_;
};

}  // namespace weft
