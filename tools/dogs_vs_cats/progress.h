#pragma once
// How a training run talks: a bar on a terminal, plain lines elsewhere.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "nn/learner.h"

namespace weft::cli {

/// "1:02:03", "2:03" or "3 s".
std::string duration(double seconds);

/// How long a fit() still takes, from what it took so far. Validation between epochs counts: it is part of what is
/// still to come. Time before this program took the run up does not.
class TimeLeft {
 public:
  /// To be called behind each step of a fit(), the first included; `begin()` before another one's.
  double seconds(const StepResult& step);
  void begin() { first_step_ = -1; }

 private:
  std::chrono::steady_clock::time_point start_{};
  double first_seconds_ = 0;
  std::int64_t first_step_ = -1;
};

class Progress : public Callback {
 public:
  Progress();
  /// The fit() that begins is this one of so many, from 0: of the others nobody knows yet how long they take.
  void stage(std::size_t number, std::size_t count);
  void begin_fit(Training&) override { left_.begin(); }
  void on_note(const std::string& line) override;
  void on_memory(const std::string& line) override;
  void on_features(std::int64_t done, std::int64_t total) override;
  void on_step(const StepResult& step) override;
  void on_epoch(const EpochResult& epoch) override;
  /// A bar of other work than training, where there is a terminal.
  void show(const std::string& label, double share, const std::string& text);
  /// Ends a bar's line, so that what is printed next stands on one of its own.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  /// `brief` stands for `text` where the terminal is too narrow for it, and is cut where it is too narrow for both.
  void bar(const std::string& label, double share, const std::string& text, const std::string& brief);

  bool terminal_, open_ = false;
  Clock::time_point start_ = Clock::now(), shown_{};
  std::int64_t features_from_ = -1;  ///< pictures whose features were there before; below 0: none are under way
  TimeLeft left_;
  std::size_t stage_ = 0, stages_ = 1;
  double smooth_loss_ = 0, seconds_ = 0, data_seconds_ = 0;  // of this epoch
  std::int64_t pictures_ = 0;
  int epoch_ = -1;
  bool header_ = false;
};

}  // namespace weft::cli
