#pragma once
// What `train` and `lr-find` share: the options that make a learner of pictures, an architecture and a recipe.

#include <cstdint>
#include <functional>
#include <string>

#include "data/image_folder.h"
#include "nn/learner.h"
#include "tools/dogs_vs_cats/augment_options.h"
#include "tools/dogs_vs_cats/kept_options.h"

namespace weft::cli {

struct TrainingOptions {
  std::string data, out;
  std::string arch = "resnet18", weights, device = "auto", math = "fast";
  std::string freeze_to;  ///< the first layer that is trained; empty: all are, but with `freeze`
  bool freeze = false, fixed_batch_norm = false, tune = false;
  int size = 224, batch = 64, threads = 0, loader_threads = 0;
  double momentum = 0.9, weight_decay = 0, valid_fraction = 0.2;
  std::uint64_t seed = 0;
  AugmentOptions augment;
};

/// Adds them to a verb.
void add_training_options(KeptOptions& kept, TrainingOptions& options);
/// Throws UsageError for a choice that there is not, for options that do not go together, or without DATA; `verb` names
/// the command in it.
void check(const TrainingOptions& options, const std::string& verb);
/// The pictures; says how many there are.
LabelledData open_data(const TrainingOptions& options);
/// The model with its weights; prints its layers. Throws UsageError where it cannot be frozen as asked for.
Model make_model(const TrainingOptions& options, const LabelledData& data);
/// Runs `check`; what it throws becomes a UsageError that begins with the option's name.
void check_layers(const std::string& option, const std::function<void()>& check);
/// But for RUN, the schedule and what config.json shall say, and for class weights, which depend on the data.
LearnerOptions learner_options(const TrainingOptions& options);
/// With those. Throws UsageError where they make no sense.
LearnerOptions learner_options(const TrainingOptions& options, const LabelledData& data);
/// Ctrl-C and SIGTERM from now on ask the learner to stop; a second one ends the program at once.
void stop_on_signals();

}  // namespace weft::cli
