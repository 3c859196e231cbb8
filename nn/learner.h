#pragma once
// The Learner: a model, data, and the loop that trains it.

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/executor.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "nn/model.h"
#include "nn/run.h"
#include "optim/schedule.h"
#include "optim/sgd.h"

namespace weft {

struct LearnerOptions {
  std::string device = "auto";
  int threads = 0;         ///< that compute: part of the result's bits. 0: all
  int loader_threads = 0;  ///< that decode: never part of it. 0: as many as cores
  std::int64_t batch = 64;
  std::uint64_t seed = 0;
  bool freeze = false;  ///< train the head alone; the trunk's features are computed once and kept
  double momentum = 0.9, weight_decay = 0;
  std::string policy = "constant";
  Schedule schedule;  ///< a schedule of one's own; empty: `policy`
  Math math = Math::fast;
  bool tune = false;
  std::string plan;           ///< the plan of a former run
  std::filesystem::path run;  ///< where checkpoints, log and model go; empty: nowhere
  std::size_t feature_memory = std::size_t{2}
                               << 30;          ///< bytes of kept features beyond which they go to disk (into `run`)
  bool resume = false;                         ///< go on from run's checkpoint: same bits as without the break
  std::string command;                         ///< for config.json: as it was typed
  std::map<std::string, std::string> options;  ///< for config.json: what --resume takes again
};

/// One row of log.csv.
struct EpochResult {
  int epoch = 0;
  double train_loss = 0, valid_loss = 0, accuracy = 0, seconds = 0, images_per_second = 0;
};

/// What a callback sees after each step.
struct StepResult {
  int epoch = 0;
  std::int64_t step = 0, steps_per_epoch = 0, total_steps = 0;
  double loss = 0, lr = 0, momentum = 0;
};

/// Own code in the loop. Any function may be left as it is.
class Callback {
 public:
  virtual ~Callback() = default;
  /// While frozen features are computed, `done` of `total` pictures.
  virtual void on_features(std::int64_t /*done*/, std::int64_t /*total*/) {}
  virtual void on_step(const StepResult&) {}
  virtual void on_epoch(const EpochResult&) {}
};

struct Prediction {
  std::string path;
  int label = -1;                    ///< the true class where known, else -1
  std::vector<float> probabilities;  ///< one for each class
};

struct Evaluation {
  double loss = 0, accuracy = 0;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [truth][predicted]
  std::vector<Prediction> predictions;
};

class Learner {
 public:
  Learner(Model model, std::shared_ptr<const Dataset> train, std::shared_ptr<const Dataset> valid,
          LearnerOptions options = {});
  /// Both parts of a collection (ImageFolder is one). With `freeze`, features are computed from its train_plain().
  Learner(Model model, const LabelledData& data, LearnerOptions options = {});
  ~Learner();

  /// Trains for `epochs`; the schedule spans them all. Returns a row for each. A loss that is not finite stops it with
  /// an Error that names the first broken tensor, its layer and the batch's files.
  std::vector<EpochResult> fit(double lr, int epochs);
  Evaluation evaluate(const Dataset& data);
  Evaluation validate();
  std::vector<Prediction> predict(const Dataset& data);

  Learner& add(std::shared_ptr<Callback> callback);
  Model& model();
  Device& device();
  const LearnerOptions& options() const;
  /// The plan used (algorithm and layout per node).
  std::string plan() const;
  /// True once stop was requested and fit() returned early with its checkpoint written.
  bool interrupted() const;
  /// Set from a signal handler: finishes the step, saves, returns.
  static std::atomic<bool>& stop_requested();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weft
