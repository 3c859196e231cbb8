#pragma once
// What is trained, in which order, at which rates: the options of `train` for fine-tuning, and for what works on its
// gradients and weights.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nn/learner.h"
#include "tools/dogs_vs_cats/kept_options.h"
#include "tools/dogs_vs_cats/training_options.h"

namespace weft::cli {

/// One call of Learner::fit().
struct Stage {
  enum class Trains { head, all, from_layer };
  Trains trains = Trains::all;
  std::string layer;  ///< the first that is trained, of from_layer
  std::vector<double> rates;
  int epochs = 0;
  FitOptions options = {};
};

/// "1e-4,1e-3,1e-2": rates of one, two or three parts of the model. Throws UsageError.
std::vector<double> parse_rates(const std::string& text);
/// "head:3@1e-2; all:one-cycle(5)@1e-4,1e-3,1e-2": stages in order, WHAT:EPOCHS@RATES or WHAT:POLICY(EPOCHS)@RATES.
/// WHAT is head, all, or the name of the first layer that is trained. Throws UsageError: which stage, what is wanted.
std::vector<Stage> parse_stages(const std::string& text);

class FineTuning {
 public:
  void add_options(KeptOptions& options);
  /// Throws UsageError for options that do not go together.
  void check(const TrainingOptions& training) const;
  /// Throws UsageError where a stage, be it the last, trains from a layer or in parts that the model has not.
  void check(const TrainingOptions& training, const Model& model) const;
  /// Adds the callbacks that were asked for. Before any that watch.
  void add_callbacks(Learner& learner) const;
  /// Trains, stage by stage, of each of which `begins(number, count)` hears first; the row of the model that is left,
  /// where there is one.
  std::optional<EpochResult> fit(Learner& learner, const TrainingOptions& training,
                                 const std::function<void(std::size_t, std::size_t)>& begins) const;

  /// What is trained, in order: one stage where --stages does not say.
  std::vector<Stage> stages(const TrainingOptions& training) const;

 private:
  std::string rates_ = "0.01", stages_, best_;
  int epochs_ = 3, accumulate_ = 1, early_stop_ = 0;
  double clip_ = 0, average_ = 0;
};

}  // namespace weft::cli
