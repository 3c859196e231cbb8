#pragma once
// The Learner: a model, data, and the loop that trains it.

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "data/dataset.h"
#include "data/image_folder.h"
#include "nn/callback.h"
#include "nn/checkpoint.h"
#include "nn/losses.h"
#include "nn/lr_find.h"
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
  /// Train the head alone, as Learner::freeze() does; the trunk's features are computed once and kept. The pictures are
  /// then not augmented.
  bool freeze = false;
  /// Freeze what comes before this layer ("layer4", torchvision's name) and train the rest, on pictures. Empty:
  /// nothing.
  std::string freeze_to = {};
  /// Batch norm works by its running statistics while it is trained, and they stay; its scale and shift are trained
  /// (fast.ai's bn_freeze). That of frozen layers always does.
  bool fixed_batch_norm = false;
  double momentum = 0.9, weight_decay = 0;
  bool nesterov = false;
  /// Parameter groups of one's own (differential rates): settings for each, and the group of a parameter's name. Empty:
  /// as many as fit() is given rates (nn/groups.h), each with `weight_decay`.
  std::vector<SgdGroup> groups = {};
  std::function<int(const std::string&)> group_of = nullptr;
  std::string policy = "constant";
  PolicyOptions policy_options = {};
  Schedule schedule = nullptr;  ///< a schedule of one's own; empty: `policy`
  /// A loss of one's own, a mean over the batch; empty: cross-entropy, and with several labels a picture its binary
  /// form. Where `targets` or `mixup` ask for more than plain labels, it gets shares (N, classes).
  Loss loss = nullptr;
  /// Label smoothing and class weights (nn/losses.h), in training alone: what validation measures stays comparable.
  /// Data that has several labels a picture says so by itself.
  TargetOptions targets = {};
  double mixup = 0;        ///< alpha of data/mixup.h; 0: none. With `freeze` features are blended
  double threshold = 0.5;  ///< above which a label is said of a picture, where it may have several
  Math math = Math::fast;
  bool tune = false;
  std::string plan = {};           ///< the plan of a former run
  std::filesystem::path run = {};  ///< where checkpoints, log and model go; empty: nowhere
  /// Bytes of kept features beyond which they go to disk (into `run`).
  std::size_t feature_memory = std::size_t{2} << 30;
  /// Folder where a frozen trunk's features are kept for the next training with the same trunk, pictures (files, sizes,
  /// times), transform and device; another of these computes them anew. Empty: they go with the training. Features that
  /// go to disk for their size are not kept.
  std::filesystem::path feature_cache = {};
  /// Go on from what fit() left in `run`: same bits as without the break. A program with several calls of fit() runs
  /// through them again; those that were finished return their rows at once.
  bool resume = false;
  /// A checkpoint is written when a fit() starts, at the end of each epoch, when stopped, after so many seconds, and
  /// after so many steps (0: not by steps). What ends the program without warning costs the work since the last one.
  double checkpoint_seconds = 600;
  std::int64_t checkpoint_steps = 0;
  /// What config.json shall say: how pixels became floats, the command as typed, the command line's options.
  Normalization normalization = imagenet_normalization();
  std::string command = {};
  std::map<std::string, std::string> options = {};
};

/// One call of fit(), where it is to differ from the learner's options.
struct FitOptions {
  std::string policy = {};                           ///< empty: LearnerOptions::policy
  std::optional<PolicyOptions> policy_options = {};  ///< none: LearnerOptions::policy_options
  Schedule schedule = nullptr;                       ///< of the group that learns fastest; empty: `policy`
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
  std::vector<EpochResult> fit(double lr, int epochs, const FitOptions& options = {});
  /// The same with a rate for each parameter group, from the input to the head: the schedule is that of the last one,
  /// the others go with it in proportion. Without groups of your own, two rates are for trunk and head, three for the
  /// architecture's natural thirds (layer_groups() in nn/groups.h).
  std::vector<EpochResult> fit(const std::vector<double>& lr, int epochs, const FitOptions& options = {});

  /// From the next fit() on the head alone is trained, on features computed once. Throws Error where there are only
  /// augmented pictures.
  Learner& freeze();
  /// Everything is trained, on augmented pictures where there are some.
  Learner& unfreeze();
  /// What comes before `layer` keeps its numbers. Throws Error naming near layers where there is none of this name.
  Learner& freeze_to(const std::string& layer);
  /// The learning-rate range test: trains a copy of what fit() would train with rising rates, from an optimiser at
  /// rest, one mini-batch a rate, until the loss diverges or the rates end. Model, optimiser and counters are then the
  /// same bytes as before, also where it throws or stop was requested. Callbacks see the features being computed, but
  /// take no part; groups have their factors. Throws Error where the loss is not finite from the start.
  LrFindResult lr_find(const LrFindOptions& options = {});
  Evaluation evaluate(const Dataset& data);
  Evaluation validate();
  std::vector<Prediction> predict(const Dataset& data);
  /// Test-time augmentation: probabilities are the mean over `data` and `versions` epochs of `augmented`, the same
  /// pictures through a random transform (ImageFolderOptions::train_transform). As in fast.ai's TTA the plain picture
  /// counts once for every four versions, rounded up.
  Evaluation evaluate(const Dataset& data, const Dataset& augmented, int versions);
  std::vector<Prediction> predict(const Dataset& data, const Dataset& augmented, int versions);

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
