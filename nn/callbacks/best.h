#pragma once
// The best epoch's weights instead of the last one's.

#include "nn/callback.h"
#include "nn/callbacks/monitor.h"

namespace weft {

/// Keeps the weights of the epoch that validated best (the first of equals), and at the end of fit() makes them the
/// model's. Added behind AverageWeights it keeps the average, which is what was validated.
class KeepBest : public Callback {
 public:
  explicit KeepBest(std::string monitor = "valid_loss");

  void begin_fit(Training& training) override;
  void validated(Training& training, const EpochResult& row) override;
  void end_fit(Training& training) override;
  std::string name() const override { return "best"; }
  std::string settings() const override { return monitor_.what(); }
  CallbackState save(Training& training) const override;
  void load(Training& training, const CallbackState& state) override;
  /// Of the weights kept; below 0: no epoch was worth it.
  int epoch() const { return epoch_; }

 private:
  Monitor monitor_;
  double best_;
  int epoch_ = -1;
  StateDict weights_;
};

}  // namespace weft
