// train: a RUN from a folder of pictures.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "nn/callbacks/step_log.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/fine_tuning.h"
#include "tools/dogs_vs_cats/policy_options.h"
#include "tools/dogs_vs_cats/progress.h"
#include "tools/dogs_vs_cats/training_options.h"
#include "tools/dogs_vs_cats/watch.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

class TrainCommand {
 public:
  explicit TrainCommand(CLI::App& app);

 private:
  void take_from_run();
  void refuse_what_changes_nothing() const;
  void run();
  std::optional<EpochResult> fit(Learner& learner, Progress& progress, Watch* watch);

  KeptOptions kept_;
  TrainingOptions options_;
  SchedulePolicy policy_;
  FineTuning fine_tuning_;
  std::string feature_cache_;
  double checkpoint_seconds_ = 600;
  std::int64_t checkpoint_steps_ = 0;
  bool resume_ = false;
  std::optional<int> watch_port_;  // of this call alone: a resumed run has none unless it is asked for one
  std::string plan_;
};

/// What was asked for, else the user's folder for what can be made again (XDG Base Directory Specification); empty:
/// nowhere.
fs::path cache_folder(const std::string& wanted) {
  if (wanted == "none") return {};
  if (!wanted.empty()) return wanted;
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "weft";
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? fs::path(home) / ".cache" / "weft" : fs::path();
}

TrainCommand::TrainCommand(CLI::App& app)
    : kept_(app.add_subcommand("train", "Trains a classifier and writes it to RUN")) {
  add_training_options(kept_, options_);
  fine_tuning_.add_options(kept_);
  kept_.verb()
      ->add_option("--out", options_.out, "RUN: the folder for the model, its settings and its log")
      ->required();
  add_policy_options(kept_, policy_);
  kept_.verb()
      ->add_option(
          "--feature-cache", feature_cache_,
          "Folder that keeps a frozen trunk's features for the next training with the same trunk and pictures; "
          "none: nowhere; without it ~/.cache/weft")
      ->take_last();
  kept_.verb()
      ->add_option("--checkpoint-seconds", checkpoint_seconds_,
                   "A checkpoint after so many seconds, beside those at the end of each epoch and when stopped")
      ->check(number_from(0))
      ->capture_default_str();
  kept_.verb()
      ->add_option("--checkpoint-steps", checkpoint_steps_, "And after so many steps; 0: not by steps")
      ->check(number_from(0))
      ->capture_default_str();
  kept_.verb()
      ->add_option(
          "--watch", watch_port_,
          "A page with the live curves, for a browser on this machine: http://127.0.0.1:PORT/; 0: any free port")
      ->type_name("PORT")
      ->take_last();
  kept_.verb()->add_flag("--resume", resume_, "Go on where the run in --out was stopped; other options come from it");
  kept_.verb()->callback([this] { run(); });
}

/// Options of a stopped run, for those that were not given now.
void TrainCommand::take_from_run() {
  const RunConfig config = load_run_config_to_resume(options_.out);
  const auto data = config.options.find("DATA");
  if (options_.data.empty() && data != config.options.end()) options_.data = data->second;
  kept_.take(config.options, options_.out);
  plan_ = config.plan;
}

/// A head on kept features never sees an augmented picture.
void TrainCommand::refuse_what_changes_nothing() const {
  const std::vector<Stage> stages = fine_tuning_.stages(options_);
  if (std::ranges::any_of(stages, [](const Stage& stage) { return stage.trains != Stage::Trains::head; })) return;
  for (const char* name : {"--augment", "--max-zoom", "--rotate", "--lighting", "--cutout", "--erase"}) {
    if (kept_.verb()->count(name) == 0 || kept_.verb()->get_option(name)->as<std::string>() == "none") continue;
    throw UsageError(
        fmt::format("train: {} would change nothing: with the head alone trained, each picture's features are computed "
                    "once, of the plain picture. Leave it out, or train other layers too (--stages, or no --freeze)",
                    name));
  }
}

/// Trains; where that fails, the page says what the terminal does.
std::optional<EpochResult> TrainCommand::fit(Learner& learner, Progress& progress, Watch* watch) {
  try {
    return fine_tuning_.fit(learner, options_,
                            [&](std::size_t number, std::size_t count) { progress.stage(number, count); });
  } catch (const std::exception& error) {
    if (watch != nullptr) watch->ended(Watch::End::failed, error.what());
    throw;
  }
}

void TrainCommand::run() {
  if (resume_) take_from_run();
  check(options_, "train");
  check(policy_);
  fine_tuning_.check(options_);
  refuse_what_changes_nothing();
  const auto step_log = std::make_shared<StepLog>();
  // Before anything is written: a port that cannot be had is known at once.
  const auto watch = watch_port_ ? std::make_shared<Watch>(*watch_port_, step_log) : nullptr;
  prepare_run(options_.out);
  if (watch) {
    fmt::print("Watch it at {}\n", watch->address());
    std::fflush(stdout);
  }

  const LabelledData data = open_data(options_);
  Model model = make_model(options_, data);
  fine_tuning_.check(options_, model);

  LearnerOptions learner_options = cli::learner_options(options_, data);
  learner_options.policy = policy_.policy;
  learner_options.policy_options = policy_.options;
  learner_options.checkpoint_seconds = checkpoint_seconds_;
  learner_options.checkpoint_steps = checkpoint_steps_;
  learner_options.feature_cache = cache_folder(feature_cache_);
  learner_options.plan = plan_;
  learner_options.run = options_.out;
  learner_options.resume = resume_;
  learner_options.command = command_line();
  learner_options.options = kept_.texts();
  learner_options.options["DATA"] = fs::absolute(options_.data).lexically_normal().string();

  if (!options_.freeze && (data.train()->augmented() || options_.augment.mixup > 0))
    write_augmented_sheet(fs::path(options_.out) / "augmented.png", data,
                          {.seed = options_.seed,
                           .count = std::min(options_.batch, 16),
                           .batch = options_.batch,
                           .mixup = options_.augment.mixup});

  stop_on_signals();
  const auto progress = std::make_shared<Progress>();
  Learner learner(std::move(model), data, learner_options);
  fmt::print("Training {} on {}\n", options_.arch, learner.device().describe());
  std::fflush(stdout);
  fine_tuning_.add_callbacks(learner);
  learner.add(progress).add(step_log);
  if (watch) {
    watch->describe(fmt::format("{}: {}", options_.arch, fmt::join(data.classes(), ", ")), options_.out,
                    fine_tuning_.stages(options_).size());
    learner.add(watch);
  }
  const std::optional<EpochResult> row = fit(learner, *progress, watch.get());
  progress->finish();
  if (learner.interrupted()) {
    const std::string line =
        fmt::format("stopped; everything so far is in {}. Go on with: dogs_vs_cats train --out {} --resume",
                    options_.out, options_.out);
    fmt::print(stderr, "dogs_vs_cats: {}\n", line);
    if (watch) watch->ended(Watch::End::stopped, line);
    throw CLI::RuntimeError(1);
  }
  std::string line;
  if (row)
    line = fmt::format("Accuracy {:.2f}% on {} validation pictures\n", row->accuracy * 100, data.valid()->size());
  fmt::print("{}", line);
  if (watch) watch->ended(Watch::End::finished, "Done. " + line);
  fmt::print("Results lie in {} (model.safetensors, config.json, log.csv)\n", options_.out);
}

}  // namespace

void add_train(CLI::App& app) {
  // The command lives as long as the app's callbacks, which is as long as the program.
  static std::unique_ptr<TrainCommand> command;
  command = std::make_unique<TrainCommand>(app);
}

}  // namespace weft::cli
