#pragma once
// A RUN: the folder that a training run leaves.
//
//   model.safetensors       parameters and running statistics, torchvision's names, torch's order
//   config.json             what the model is and how it came about
//   log.csv                 a row an epoch
//   checkpoint.safetensors  what --resume goes on from; its metadata say where the run stood

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nn/model.h"

namespace weft {

struct EpochResult;

/// config.json. peers in Python read "arch", "classes", "size", "mean" and "std".
struct RunConfig {
  int format = 1;    ///< a reader refuses a newer one, naming both
  std::string weft;  ///< version that wrote it
  std::string arch;
  std::vector<std::string> classes;
  int size = 224;
  std::vector<float> mean, std;                ///< one for each channel
  std::string command;                         ///< as it was typed
  std::map<std::string, std::string> options;  ///< of `train`, by flag ("lr": "0.01"): what --resume takes again
  std::string device;                          ///< Device::describe() of the machine
  std::string plan;                            ///< algorithm and layout for each node
};

/// Throws Error before any work where the folder cannot be made or written ("below a regular file", "no permission").
void prepare_run(const std::filesystem::path& run);
void save_run_config(const std::filesystem::path& run, const RunConfig& config);
/// Throws Error: no such run, not a run, no JSON, a field missing or of another type, a newer format.
RunConfig load_run_config(const std::filesystem::path& run);
/// The trained model. Throws Error where the file is missing or is not of this architecture.
Model load_run_model(const std::filesystem::path& run, const RunConfig& config);
/// Rewrites log.csv whole: epoch,train_loss,valid_loss,accuracy,seconds,images_per_second.
void save_log(const std::filesystem::path& run, const std::vector<EpochResult>& rows);

}  // namespace weft
