#pragma once
// Stochastic gradient descent with momentum, over the flat ranges of a ParameterStore.

#include <vector>

#include "core/parameter_store.h"

namespace weft {

/// One parameter group's settings; `lr_factor` scales the schedule's rate (differential rates).
struct SgdGroup {
  double lr_factor = 1;
  double weight_decay = 0;
};

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
  std::vector<SgdGroup> groups = {SgdGroup{}};  ///< one for each group of the store
};

/// torch.optim.SGD's update (kernels/ops.h: SgdStep).
class Sgd {
 public:
  explicit Sgd(SgdOptions options);
  /// Moves the trained parameters of `store` along its gradients. `momentum` below 0: the options'. Throws Error where
  /// the store has another number of groups.
  void step(ParameterStore& store, double lr, double momentum = -1) const;
  const SgdOptions& options() const { return options_; }

 private:
  SgdOptions options_;
};

}  // namespace weft
