#pragma once
// Inside nn/: what a Learner holds, shared by its parts: setting it up (learner.cpp), using a model (evaluate.cpp) and
// training it (fit.cpp).

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/batches.h"
#include "nn/executors.h"
#include "nn/features.h"
#include "nn/learner.h"

namespace weft {

struct Learner::State {
  State(Model model, std::shared_ptr<const Dataset> train, std::shared_ptr<const Dataset> valid,
        LearnerOptions options);

  Model model;
  std::shared_ptr<const Dataset> train, valid;      ///< `train` is one of the next two: what the freezing wants
  std::shared_ptr<const Dataset> augmented, plain;  ///< the training pictures; `plain` may be missing
  std::string train_files, valid_files;             ///< Dataset::contents(), where there is a RUN
  LearnerOptions options;
  std::shared_ptr<Device> device;
  std::vector<std::shared_ptr<Callback>> callbacks;
  Plans plans;
  /// What trains: the whole model on pictures, or with a frozen trunk the head on features. Made by fit().
  std::unique_ptr<Executors> trainer;
  /// The whole model without training. Shares the trainer's store unless the trunk is frozen.
  std::unique_ptr<Executors> evaluator;
  /// The head alone, on features, over the trainer's store.
  std::unique_ptr<Executors> head_evaluator;
  /// The loss alone, where it is not cross-entropy.
  std::unique_ptr<Executors> loss;
  std::unique_ptr<FeatureCache> train_features, valid_features;
  std::vector<float> mixup_scratch;
  std::string features_of;  ///< fingerprint of the trunk that computed them
  int groups = 1;           ///< of parameters, in the trainer's store
  Position position;
  std::optional<Checkpoint> checkpoint;                          ///< to go on from, until fit() took it
  std::map<std::string, std::map<std::string, double>> carried;  ///< from the last fit() that ended to the next
  std::size_t fits_called = 0;
  bool interrupted = false;
  bool model_behind = false;      ///< the trainer's store has newer numbers than `model`
  bool evaluator_behind = false;  ///< `model` has newer numbers than an evaluator's own store

  /// Another part of the model is trained from now on; throws before anything changes.
  void set_freezing(bool trunk, const std::string& to);
  /// What trains is made anew, in this many parameter groups.
  void set_groups(int count);
  std::function<int(const std::string&)> group_of() const;
  /// Whether a picture may have several labels.
  bool multi_label() const { return options.targets.multi_label; }
  /// Whether training is given shares of each class rather than labels.
  bool soft_labels() const;
  /// Whether, of pictures with several labels each, a label that is there weighs otherwise than one that is not.
  bool positive_weights() const { return multi_label() && !options.targets.class_weights.empty(); }
  /// A training batch's "labels" as the graph takes them. With mixup, what is blended is `fed` itself.
  Tensor training_labels(Fed& fed, std::int64_t epoch);
  GraphOptions graph_options(std::int64_t batch, bool training) const;
  CompileOptions compile_options() const;
  BatchesOptions batches_options(std::int64_t size, bool training) const;
  /// How far decoding may run ahead. Not at all where the device keeps every core busy: threads that decode beside it
  /// would only hold up its own, which wait for each other at the end of every op.
  int loader_ahead() const;
  /// Copies the trainer's numbers into `model`.
  void update_model();
  /// The whole model's evaluator for batches of this size, with the numbers of now.
  Executors& evaluator_for(std::int64_t batch);
  void count(Scores& scores, const Fed& fed, const Tensor& logits, const Dataset& data, bool keep) const;
  double own_loss(const Fed& fed, const Tensor& logits, const Dataset& data);
  /// Runs over all batches of `data`. Nothing where `stoppable` and stop was requested. `keep`: predictions too.
  std::optional<Evaluation> score(Executors& executors, Batches& batches, std::int64_t batch, const Dataset& data,
                                  bool keep, bool stoppable, std::int64_t epoch = 0);
  /// `epoch` names the random numbers of augmented data.
  Evaluation evaluate(const Dataset& data, bool keep, std::int64_t epoch = 0);
  RunConfig run_config() const;
};

/// A loader's way to a data set that its caller keeps alive.
std::shared_ptr<const Dataset> borrowed(const Dataset& data);

}  // namespace weft
