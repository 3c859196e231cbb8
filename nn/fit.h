#pragma once
// Inside nn/: one call of Learner::fit().

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/learner_state.h"

namespace weft {

class Fit {
 public:
  Fit(Learner::State& state, double lr, int epochs);
  std::vector<EpochResult> run();

 private:
  using Clock = std::chrono::steady_clock;

  bool finished_before();
  void make_trainer();
  void start_afresh();
  void say_what_differs();
  void take_checkpoint();
  bool compute_features();
  bool compute_features_of(Executor& trunk, std::int64_t batch, const Dataset& data, FeatureCache& cache,
                           std::int64_t before, std::int64_t total);
  void make_batches();
  bool train_epoch();
  void step(const Fed& fed);
  [[noreturn]] void fail_not_finite(Executor& executor, const Fed& fed, double loss) const;
  bool validate(Evaluation& evaluation);
  void check_numbers() const;
  void end_epoch(const Evaluation& evaluation);
  std::vector<EpochResult> stopped();
  std::vector<EpochResult> finish();
  void write_checkpoint();
  std::vector<EpochResult> rows_of(std::size_t fit) const;
  std::map<std::string, std::string> settings() const;
  std::int64_t epochs_before() const;

  Learner::State& s_;
  double lr_;
  int epochs_;
  std::size_t ordinal_;
  Schedule schedule_;
  std::unique_ptr<Sgd> sgd_;
  std::unique_ptr<Batches> batches_, valid_batches_;
  std::int64_t steps_ = 0;  // in an epoch
  std::string trunk_;       // the frozen trunk's fingerprint
  Clock::time_point last_checkpoint_ = Clock::now(), epoch_start_{};
};

}  // namespace weft
