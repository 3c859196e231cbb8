#pragma once
// Inside nn/: one call of Learner::fit().

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/learner_state.h"

namespace weft {

class Fit {
 public:
  Fit(Learner::State& state, std::vector<double> lr, int epochs, FitOptions options);
  std::vector<EpochResult> run();
  /// lr_find.cpp: trains with rising rates. Changes the state; Learner::lr_find() puts it back.
  LrFindResult sweep(const LrFindOptions& options);

 private:
  using Clock = std::chrono::steady_clock;

  // fit_resume.cpp
  bool finished_before();
  std::vector<EpochResult> rows_of(std::size_t fit) const;
  std::int64_t epochs_before() const;
  std::map<std::string, std::string> settings() const;
  std::string callback_settings() const;
  void take_checkpoint();
  void write_checkpoint();
  void write_checkpoint_if_due();
  // fit_features.cpp
  bool compute_features();
  std::string features_identity(Executors& trunk, std::int64_t batch) const;
  bool compute_features_of(Executor& trunk, std::int64_t batch, const Dataset& data, FeatureCache& cache,
                           std::int64_t before, std::int64_t total);
  // fit_failures.cpp
  [[noreturn]] void fail_not_finite(Executor& executor, const Fed& fed, double loss) const;
  void check_numbers() const;

  void fingerprint_trunk();
  std::int64_t training_batch() const;
  void make_trainer();
  void begin_callbacks();
  std::string policy() const;
  PolicyOptions policy_options() const;
  Schedule own_schedule() const;
  void start_afresh();
  void note(const std::string& line) const;
  void say_what_differs();
  void say_memory(const std::string& of, const Executor& executor) const;
  void make_batches();
  bool train_epoch();
  StepResult step(Fed& fed);
  std::optional<Evaluation> validate(bool stoppable);
  void write_predictions();
  Executors& validator(std::int64_t batch);
  bool end_epoch();
  EpochResult row_of_epoch(const Evaluation& evaluation) const;
  std::vector<EpochResult> stopped();
  std::vector<EpochResult> finish();

  Learner::State& s_;
  std::vector<double> lr_;  // by group
  int epochs_;
  FitOptions options_;
  std::size_t ordinal_;
  bool new_trainer_ = false;  // made by this call, not by a former one
  Schedule schedule_;
  std::unique_ptr<Sgd> sgd_;
  std::unique_ptr<Batches> batches_, valid_batches_;
  std::int64_t steps_ = 0;               // in an epoch
  std::string trunk_;                    // the frozen trunk's fingerprint
  std::vector<Prediction> predictions_;  // of the last validation
  std::optional<Training> training_;
  std::map<std::string, CallbackState> remembered_;  // from the checkpoint, until the callbacks took it
  std::int64_t steps_since_checkpoint_ = 0;
  Clock::time_point last_checkpoint_ = Clock::now(), epoch_start_{};
};

}  // namespace weft
