#pragma once
// RUN: the folder that training leaves, and from which a model is used again.
//
//   model.safetensors        parameters under torchvision's names, in torch's order
//   config.json              RunConfig: how pictures must reach the model, and how it came about
//   log.csv                  a row for each epoch
//   predictions.json         what the model says of each validation picture (nn/predictions.h)
//   steps.csv                a row for each step, where it is wanted (nn/callbacks/step_log.h)
//   checkpoint.safetensors   while training is not finished (nn/checkpoint.h)
//   features-*               while frozen features are kept on disk (nn/features.h)

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nn/model.h"

namespace weft {

struct RunConfig {
  static constexpr int kFormat = 1;
  std::string version;  ///< of the Weft that wrote it
  std::string arch;
  Classes classes;
  int size = 224;                              ///< side of the square pictures
  std::vector<float> mean, std;                /// of each channel: (value / 255 - mean) / std
  std::string command;                         ///< as it was typed
  std::string plan;                            ///< algorithm and layout per node, in Learner::plan()'s form
  std::map<std::string, std::string> options;  ///< the command line's, for --resume
  std::vector<int> fits;                       ///< epochs of each finished call of fit()
  bool multi_label = false;                    ///< a picture may have several labels, or none
  double threshold = 0.5;                      ///< above which such a label is said of it
  /// What callbacks carry from the last of these calls to the next (Callback::carry), by their names.
  std::map<std::string, std::map<std::string, double>> carried;
  std::int64_t steps = 0;  ///< of all of them: what the next call's dropout goes on from
};

/// Makes the folder and tries to write into it, so that a wrong path is known before the work. Throws Error.
void prepare_run(const std::filesystem::path& run);
/// Of the model in RUN. Throws Error: nothing there, malformed, written by a newer Weft.
RunConfig load_run_config(const std::filesystem::path& run);
/// Of the training that stopped in RUN, or, where it is finished, of its model. Throws Error where there is neither.
RunConfig load_run_config_to_resume(const std::filesystem::path& run);
/// The trained model. Throws Error where there is none yet or it does not fit its config.
Model load_run_model(const std::filesystem::path& run, const RunConfig& config);
/// config.json and model.safetensors. On failure the former two are there.
void save_run(const std::filesystem::path& run, const RunConfig& config, const Model& model);

/// config.json's text, which a checkpoint carries too; `where` names the file in errors.
std::string to_json(const RunConfig& config);
RunConfig run_config_from_json(const std::string& text, const std::string& where);

}  // namespace weft
