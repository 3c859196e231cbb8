#pragma once
// How a training run talks: a bar on a terminal, plain lines elsewhere.

#include <chrono>
#include <string>

#include "nn/learner.h"

namespace weft::cli {

/// "1:02:03", "2:03" or "3 s".
std::string duration(double seconds);

class Progress : public Callback {
 public:
  Progress();
  void on_note(const std::string& line) override;
  void on_features(std::int64_t done, std::int64_t total) override;
  void on_step(const StepResult& step) override;
  void on_epoch(const EpochResult& epoch) override;
  /// A bar of other work than training, where there is a terminal.
  void show(const std::string& label, double share, const std::string& text);
  /// Ends a bar's line, so that what is printed next stands on one of its own.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void bar(const std::string& label, double share, const std::string& text);

  bool terminal_, open_ = false;
  Clock::time_point start_ = Clock::now(), shown_{};
  double smooth_loss_ = 0, seconds_ = 0, data_seconds_ = 0;  // of this epoch
  std::int64_t pictures_ = 0;
  int epoch_ = -1;
  bool header_ = false;
};

}  // namespace weft::cli
