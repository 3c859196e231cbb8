#pragma once
// What a training run needs to go on with the same bits: batches depend on (seed, epoch, index) and dropout on (seed,
// step) alone, so beside the numbers there are only counters.

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/parameter_store.h"
#include "nn/run.h"

namespace weft {

inline constexpr const char* kCheckpointFile = "checkpoint.safetensors";
inline constexpr const char* kLogFile = "log.csv";

/// One row of log.csv.
struct EpochResult {
  int epoch = 0;
  double train_loss = 0, valid_loss = 0, accuracy = 0, seconds = 0, images_per_second = 0;
  double lr = 0;          ///< of the epoch's last step
  double data_share = 0;  ///< part of the training's time that waited for data, 0 to 1
  double macro_f1 = 0;    ///< of validation: the mean of the classes' F1 (nn/metrics.h); NaN in a row of an older Weft
};

/// Where training stands.
struct Position {
  std::vector<int> fits;          ///< epochs of each finished call of fit()
  std::vector<EpochResult> rows;  ///< of all of them, and of the one under way
  int epoch = 0;                  ///< under way, of this fit
  std::int64_t step = 0;          ///< steps done of it; all of them: validation is still to come
  std::int64_t total_step = 0;    ///< since the first fit: names dropout's numbers
  double loss_sum = 0;            ///< of the epoch, over its pictures
  std::int64_t pictures = 0;
  double seconds = 0, training_seconds = 0, data_seconds = 0;
  double lr = 0;  ///< of the last step
};

/// What a callback remembers over a break. Numbers are kept to the bit; JSON knows no infinity and no NaN.
struct CallbackState {
  std::map<std::string, double> numbers;
  StateDict tensors;
  /// Throws Error where there is none of this name.
  double number(const std::string& name) const;
};

struct Checkpoint {
  Position position;
  RunConfig config;
  std::map<std::string, std::string> settings;  ///< what must be the same for the bits to be
  StateDict state, velocity;  ///< dense; with a frozen trunk the head's alone where that is all that ever moved
  std::map<std::string, CallbackState> callbacks;  ///< by Callback::name()
};

/// Writes RUN/checkpoint.safetensors; on failure the former one is intact.
void save_checkpoint(const std::filesystem::path& run, const Checkpoint& checkpoint);
/// Throws Error: the file, what is wrong.
Checkpoint load_checkpoint(const std::filesystem::path& run);

/// A column of log.csv, behind the first, `epoch`.
struct LogColumn {
  const char* name;
  double EpochResult::*value;
  const char* format;  ///< fmt's, of the value in the file
};
/// In the file's order; a new one goes at the end, and is NaN in the rows of an older Weft.
std::span<const LogColumn> log_columns();

/// RUN/log.csv. Reading gives what was written, rounded.
void save_log(const std::filesystem::path& run, const std::vector<EpochResult>& rows);
std::vector<EpochResult> load_log(const std::filesystem::path& run);

/// 64-bit FNV-1a over names, shapes and numbers: tells one frozen trunk from another.
std::string fingerprint(const StateDict& state);

}  // namespace weft
