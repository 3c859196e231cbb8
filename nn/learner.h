#pragma once
// The Learner: a model, data, and the loop that trains it.

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "data/dataset.h"
#include "data/image_folder.h"
#include "nn/checkpoint.h"
#include "nn/model.h"
#include "nn/run.h"
#include "nn/scores.h"
#include "optim/schedule.h"
#include "optim/sgd.h"

namespace weft {

struct LearnerOptions {
  std::string device = "auto";
  int threads = 0;         ///< that compute: part of the result's bits. 0: all
  int loader_threads = 0;  ///< that decode: never part of it. 0: as many as cores
  std::int64_t batch = 64;
  std::uint64_t seed = 0;
  /// Train the head alone; the trunk's features are computed once and kept. The pictures are then not augmented.
  bool freeze = false;
  double momentum = 0.9, weight_decay = 0;
  bool nesterov = false;
  /// Parameter groups of one's own (differential rates): settings for each, and the group of a parameter's name. Empty:
  /// one group with `weight_decay`.
  std::vector<SgdGroup> groups = {};
  std::function<int(const std::string&)> group_of = nullptr;
  std::string policy = "constant";
  Schedule schedule = nullptr;  ///< a schedule of one's own; empty: `policy`
  Loss loss = nullptr;          ///< a loss of one's own, a mean over the batch; empty: cross-entropy
  Math math = Math::fast;
  bool tune = false;
  std::string plan = {};           ///< the plan of a former run
  std::filesystem::path run = {};  ///< where checkpoints, log and model go; empty: nowhere
  /// Bytes of kept features beyond which they go to disk (into `run`).
  std::size_t feature_memory = std::size_t{2} << 30;
  /// Go on from what fit() left in `run`: same bits as without the break. A program with several calls of fit() runs
  /// through them again; those that were finished return their rows at once.
  bool resume = false;
  /// A checkpoint is written at the end of each epoch, when stopped, and after so many seconds.
  double checkpoint_seconds = 600;
  /// What config.json shall say: how pixels became floats, the command as typed, the command line's options.
  Normalization normalization = imagenet_normalization();
  std::string command = {};
  std::map<std::string, std::string> options = {};
};

/// What a callback sees after each step.
struct StepResult {
  int epoch = 0;                                                ///< counts through all calls of fit(), from 0
  std::int64_t step = 0, steps_per_epoch = 0, total_steps = 0;  ///< `step` counts from this fit()'s start
  double loss = 0, lr = 0, momentum = 0;
};

/// Own code in the loop. Any function may be left as it is.
class Callback {
 public:
  virtual ~Callback();
  /// Something worth a line, once: a plan of another machine.
  virtual void on_note(const std::string& /*line*/) {}
  /// While frozen features are computed, `done` of `total` pictures.
  virtual void on_features(std::int64_t /*done*/, std::int64_t /*total*/) {}
  virtual void on_step(const StepResult&) {}
  virtual void on_epoch(const EpochResult&) {}
};

class Learner {
 public:
  /// `train` may be null for a learner that only evaluates. Throws Error where model and data do not fit, for frozen
  /// features of augmented pictures, and where `run` cannot be written.
  Learner(Model model, std::shared_ptr<const Dataset> train, std::shared_ptr<const Dataset> valid,
          LearnerOptions options = {});
  /// Both halves of a collection (ImageFolder, open_dataset()), and its normalisation.
  Learner(Model model, const LabelledData& data, LearnerOptions options = {});
  ~Learner();
  Learner(Learner&&) noexcept;
  Learner& operator=(Learner&&) noexcept;

  /// Trains for `epochs`; the schedule spans them all. Returns a row for each. A loss that is not finite stops it with
  /// an Error that names the first broken tensor, its layer and the batch's files. At the end RUN holds the model.
  std::vector<EpochResult> fit(double lr, int epochs);
  Evaluation evaluate(const Dataset& data);
  Evaluation validate();
  std::vector<Prediction> predict(const Dataset& data);

  Learner& add(std::shared_ptr<Callback> callback);
  /// With the numbers it has now; what is changed in it counts from the next call on.
  Model& model();
  Device& device();
  const LearnerOptions& options() const;
  /// The plans used (algorithm and layout per node), for LearnerOptions::plan.
  std::string plan() const;
  /// True once stop was requested and fit() returned early with its checkpoint written.
  bool interrupted() const;
  /// Set from a signal handler: finishes the step, saves, returns.
  static std::atomic<bool>& stop_requested();

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace weft
