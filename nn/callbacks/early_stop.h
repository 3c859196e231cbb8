#pragma once
// Training that knows when to stop.

#include "nn/callback.h"
#include "nn/callbacks/monitor.h"

namespace weft {

/// Ends fit() after `patience` epochs in a row that were not better than the best one by more than `least`. Prechelt,
/// "Early Stopping - But When?", 1998. Throws Error for a patience below 1.
class EarlyStop : public Callback {
 public:
  explicit EarlyStop(int patience, std::string monitor = "valid_loss", double least = 0);

  void begin_fit(Training& training) override;
  void validated(Training& training, const EpochResult& row) override;
  std::string name() const override { return "early stop"; }
  std::string settings() const override;
  CallbackState save(Training& training) const override;
  void load(Training& training, const CallbackState& state) override;

 private:
  Monitor monitor_;
  int patience_, waited_ = 0;
  double least_, best_;
  bool any_ = false;
};

}  // namespace weft
