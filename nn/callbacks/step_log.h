#pragma once
// Every step's loss and rates in RUN/steps.csv: what the curves by step are drawn from.

#include <filesystem>
#include <vector>

#include "nn/callback.h"

namespace weft {

/// One row of steps.csv. Floats, so that what a checkpoint keeps of them is what the file says.
struct LoggedStep {
  float step = 0;   ///< counts through all calls of fit(), from 0
  float epoch = 0;  ///< likewise
  float loss = 0, lr = 0, momentum = 0;
};

/// Writes RUN/steps.csv at the end of each epoch: the rows of former fits, then this one's. A step that a break undid
/// is not in it. Without a RUN it does nothing.
class StepLog : public Callback {
 public:
  void begin_fit(Training& training) override;
  void on_step(const StepResult& step) override;
  void on_epoch(const EpochResult& epoch) override;
  std::string name() const override { return "step log"; }
  CallbackState save(Training&) const override;
  void load(Training&, const CallbackState& state) override;
  /// What steps.csv says once the epoch is over: rows of former fits, then this one's so far; good from a fit's first
  /// step on.
  std::vector<LoggedStep> steps() const;
  /// The last of them. There must be one.
  const LoggedStep& latest() const { return rows_.empty() ? before_.back() : rows_.back(); }

 private:
  std::filesystem::path run_;
  std::vector<LoggedStep> before_, rows_;  // of former fits; of this one
};

/// RUN/steps.csv, rounded to six digits; nothing where there is none.
std::vector<LoggedStep> load_steps(const std::filesystem::path& run);

}  // namespace weft
