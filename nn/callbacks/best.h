#pragma once
// The best epoch's weights instead of the last one's.

#include "nn/callback.h"
#include "nn/callbacks/monitor.h"

namespace weft {

/// Keeps the weights of the epoch that validated best (the first of equals), and at the end of fit() makes them the
/// model's. Added behind AverageWeights it keeps the average, which is what was validated.
class KeepBest : public Callback {
 public:
  enum class Over {
    fit,  ///< each call of fit() has its own best epoch
    run   ///< the best of all calls so far, for stages of one training: a later one begins with the model of the best
          ///< epoch before it, and leaves that again where none of its own was better. The model's numbers must be
          ///< let alone between two calls
  };
  explicit KeepBest(std::string monitor = "valid_loss", Over over = Over::fit);

  void begin_fit(Training& training) override;
  void validated(Training& training, const EpochResult& row) override;
  void end_fit(Training& training) override;
  std::string name() const override { return "best"; }
  std::string settings() const override { return monitor_.what() + (over_ == Over::run ? " of all stages" : ""); }
  CallbackState save(Training& training) const override;
  void load(Training& training, const CallbackState& state) override;
  std::map<std::string, double> carry() const override;
  void take_over(const std::map<std::string, double>& numbers) override;
  /// Of the weights kept; below 0: no epoch was worth it.
  int epoch() const { return epoch_; }

 private:
  Monitor monitor_;
  Over over_;
  bool goes_on_ = false;  ///< the model is that of the best epoch of former calls
  double best_;
  int epoch_ = -1;
  StateDict weights_;
};

}  // namespace weft
