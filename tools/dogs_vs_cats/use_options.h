#pragma once
// What `predict` and `evaluate` share: how to compute, and test-time augmentation.

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "nn/learner.h"

namespace weft::cli {

struct UseOptions {
  std::string run;
  std::vector<std::string> paths;
  std::string device = "auto";
  int threads = 0, loader_threads = 0, batch = 64, tta = 0;
  std::uint64_t seed = 0;
  double threshold = -1;  ///< -1: the RUN's
  bool json = false, log = false;
};

void add_use_options(CLI::App* verb, UseOptions& options);
LearnerOptions learner_options(const UseOptions& options, const RunConfig& config);
Normalization normalization(const RunConfig& config);
/// What the RUN was trained with (--math); but tf32, which is for the speed of training and which the cpu device lacks,
/// is fast in use.
Math math_of(const RunConfig& config);

/// The transform of --tta: top-down where the model was trained so, else side-on. Not that of training: a random
/// resized crop may show a twelfth of the picture, which is a lesson for a model and a poor question to it.
Transforms tta_transform(const RunConfig& config);

}  // namespace weft::cli
