// train: a RUN from a folder of pictures.

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/passes.h"
#include "data/image_folder.h"
#include "kernels/error.h"
#include "nn/learner.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/progress.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

struct TrainOptions {
  std::string data, out;
  std::string arch = "resnet18", weights, policy = "constant", device = "auto", math = "fast";
  bool freeze = false, resume = false, tune = false;
  int size = 224, batch = 64, epochs = 3, threads = 0, loader_threads = 0;
  double lr = 0.01, momentum = 0.9, weight_decay = 0, valid_fraction = 0.2;
  std::uint64_t seed = 0;
};

/// An option that belongs to the result: kept in the RUN, taken again by --resume.
struct KeptOption {
  std::string name;
  CLI::Option* option;
  std::function<std::string()> text;
  std::function<void(const std::string&)> set;
  bool may_differ = false;  ///< another device or thread count goes on, with a line that says so
};

class TrainCommand {
 public:
  explicit TrainCommand(CLI::App& app);

 private:
  template <class T>
  CLI::Option* keep(const std::string& name, T& field, const std::string& help, bool may_differ = false);
  void take_from_run();
  void check() const;
  void run();
  std::map<std::string, std::string> kept_options() const;

  CLI::App* verb_;
  TrainOptions options_;
  std::vector<KeptOption> kept_;
  std::string plan_;
};

template <class T>
CLI::Option* TrainCommand::keep(const std::string& name, T& field, const std::string& help, bool may_differ) {
  CLI::Option* option = nullptr;
  if constexpr (std::is_same_v<T, bool>) {
    option = verb_->add_flag("--" + name, field, help);
  } else {
    // The last one counts, so that a script's defaults can be overruled behind them.
    option = verb_->add_option("--" + name, field, help)->capture_default_str()->take_last();
  }
  kept_.push_back({name, option, [&field] { return fmt::format("{}", field); },
                   [&field, name](const std::string& text) {
                     if (!CLI::detail::lexical_cast(text, field))
                       fail(fmt::format("config.json: option {} is {}", name, text));
                   },
                   may_differ});
  return option;
}

TrainCommand::TrainCommand(CLI::App& app) {
  verb_ = app.add_subcommand("train", "Trains a classifier and writes it to RUN");
  auto& o = options_;
  verb_->add_option("DATA", o.data,
                    "Class folders (train/CLASS/*, valid/CLASS/*), CLASS/* alone, or MNIST's IDX files");
  verb_->add_option("--out", o.out, "RUN: the folder for the model, its settings and its log")->required();
  keep("arch", o.arch, "Architecture");
  keep("weights", o.weights, "Pretrained weights: safetensors, or torchvision's .pth");
  keep("freeze", o.freeze, "Train the head alone, on features computed once");
  keep("size", o.size, "Side of the pictures that the network sees")->check(CLI::Range(1, 4096));
  keep("batch", o.batch, "Pictures in a step")->check(CLI::Range(1, 65536));
  keep("epochs", o.epochs, "Passes over the training pictures")->check(CLI::Range(1, 100000));
  keep("lr", o.lr, "Learning rate, the largest of the schedule")->check(CLI::PositiveNumber);
  keep("policy", o.policy, "Schedule of the learning rate");
  keep("momentum", o.momentum, "Of SGD")->check(CLI::Range(0.0, 1.0));
  keep("weight-decay", o.weight_decay, "Of SGD")->check(CLI::NonNegativeNumber);
  keep("valid-fraction", o.valid_fraction, "Part kept for validation where DATA has no valid/")
      ->check(CLI::Range(0.0, 0.9));
  keep("seed", o.seed, "Names all random numbers");
  keep("math", o.math, "fast (may use Winograd) or strict (direct convolution)");
  keep("device", o.device, "auto, cpu, cuda, cuda:N or simt", true);
  keep("threads", o.threads, "Threads that compute; part of the result's bits; 0: all", true)
      ->check(CLI::Range(0, 1024));
  verb_->add_option("--loader-threads", o.loader_threads, "Threads that decode; never part of it; 0: all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb_->add_flag("--resume", o.resume, "Go on where the run in --out was stopped; other options come from it");
  verb_->add_flag("--tune", o.tune, "Measure the algorithms instead of looking them up");
  verb_->callback([this] { run(); });
}

void TrainCommand::check() const {
  if (options_.data.empty()) throw UsageError("train: DATA is missing: the folder of pictures to train on");
  require_choice("--arch", options_.arch, model_names());
  require_choice("--policy", options_.policy, schedule_names());
  require_choice("--math", options_.math, {"fast", "strict"});
}

/// Options of a stopped run, for those that were not given now.
void TrainCommand::take_from_run() {
  const RunConfig config = load_run_config_to_resume(options_.out);
  const auto stored = [&](const std::string& name) {
    const auto found = config.options.find(name);
    return found == config.options.end() ? std::string() : found->second;
  };
  if (options_.data.empty()) options_.data = stored("DATA");
  for (auto& kept : kept_) {
    const auto found = config.options.find(kept.name);
    if (found == config.options.end()) continue;
    if (kept.option->count() == 0) {
      kept.set(found->second);
    } else if (kept.text() != found->second) {
      const auto what = fmt::format("--{} is {} now and was {}", kept.name, kept.text(), found->second);
      if (!kept.may_differ)
        fail(fmt::format("{}: {}; leave it out to go on, or train into another --out", options_.out, what));
      fmt::print("Going on although {}: the result's bits will differ.\n", what);
    }
  }
  plan_ = config.plan;
}

std::map<std::string, std::string> TrainCommand::kept_options() const {
  std::map<std::string, std::string> texts = {{"DATA", fs::absolute(options_.data).lexically_normal().string()}};
  for (const auto& kept : kept_) texts[kept.name] = kept.text();
  return texts;
}

void on_interrupt(int) {
  // A second Ctrl-C ends the program at once.
  if (Learner::stop_requested().exchange(true)) std::signal(SIGINT, SIG_DFL);
}

void TrainCommand::run() {
  if (options_.resume) take_from_run();
  check();
  prepare_run(options_.out);

  ImageFolderOptions folder;
  folder.size = options_.size;
  folder.valid_fraction = options_.valid_fraction;
  folder.seed = options_.seed;
  const LabelledData data = open_dataset(options_.data, folder);
  const auto shape = data.shape();
  fmt::print("{}: {} training and {} validation pictures of {} classes\n", options_.data, data.train()->size(),
             data.valid()->size(), data.classes().size());

  Model model = make_model(options_.arch, data.classes(), shape.channels, options_.seed);
  model.set_size(shape.height, shape.width);
  if (!options_.weights.empty()) model.load(options_.weights);
  for (const std::string& note : model.notes()) fmt::print("{}: {}\n", options_.weights, note);
  fmt::print("{}\n", layer_table(model.graph({.batch = 1, .height = shape.height, .width = shape.width})));

  LearnerOptions learner_options;
  learner_options.device = options_.device;
  learner_options.threads = options_.threads;
  learner_options.loader_threads = options_.loader_threads;
  learner_options.batch = options_.batch;
  learner_options.seed = options_.seed;
  learner_options.freeze = options_.freeze;
  learner_options.momentum = options_.momentum;
  learner_options.weight_decay = options_.weight_decay;
  learner_options.policy = options_.policy;
  learner_options.math = options_.math == "strict" ? Math::strict : Math::fast;
  learner_options.tune = options_.tune;
  learner_options.plan = plan_;
  learner_options.run = options_.out;
  learner_options.resume = options_.resume;
  learner_options.command = command_line();
  learner_options.options = kept_options();

  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  const auto progress = std::make_shared<Progress>();
  Learner learner(std::move(model), data, learner_options);
  fmt::print("Training {} on {}\n", options_.arch, learner.device().describe());
  std::fflush(stdout);
  learner.add(progress);
  const auto rows = learner.fit(options_.lr, options_.epochs);
  progress->finish();
  if (learner.interrupted()) {
    fmt::print(stderr,
               "dogs_vs_cats: stopped; everything so far is in {}. Go on with: dogs_vs_cats train --out {} --resume\n",
               options_.out, options_.out);
    throw CLI::RuntimeError(1);
  }
  if (!rows.empty())
    fmt::print("Accuracy {:.2f}% on {} validation pictures\n", rows.back().accuracy * 100, data.valid()->size());
  fmt::print("Results lie in {} (model.safetensors, config.json, log.csv)\n", options_.out);
}

}  // namespace

void add_train(CLI::App& app) {
  // The command lives as long as the app's callbacks, which is as long as the program.
  static std::unique_ptr<TrainCommand> command;
  command = std::make_unique<TrainCommand>(app);
}

}  // namespace weft::cli
