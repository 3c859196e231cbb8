#include "tools/dogs_vs_cats/fine_tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>

#include "nn/callbacks/accumulate.h"
#include "nn/callbacks/best.h"
#include "nn/callbacks/clip.h"
#include "nn/callbacks/early_stop.h"
#include "nn/callbacks/ema.h"
#include "nn/callbacks/monitor.h"
#include "nn/groups.h"
#include "optim/schedule.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {
namespace {

constexpr int kMostEpochs = 100000;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(CLI::detail::trim_copy(part));
  return parts;
}

/// The numbers of PolicyOptions that a stage may name.
struct Named {
  const char* name;
  double PolicyOptions::*number;
};
constexpr Named kNamed[] = {
    {"warmup", &PolicyOptions::warmup},
    {"cycle_len", &PolicyOptions::cycle_len},
    {"step_size", &PolicyOptions::step_size},
    {"gamma", &PolicyOptions::gamma},
    {"power", &PolicyOptions::power},
    {"lr_min", &PolicyOptions::lr_min},
    {"lr_base", &PolicyOptions::lr_base},
    {"pct_start", &PolicyOptions::pct_start},
    {"div", &PolicyOptions::div},
    {"final_div", &PolicyOptions::final_div},
    {"momentum_range", &PolicyOptions::momentum_range},
};

/// "cycle_mult=2".
void parse_number(const std::string& text, const std::string& where, PolicyOptions& options) {
  const std::size_t equals = text.find('=');
  const std::string name = CLI::detail::trim_copy(text.substr(0, equals));
  const std::string number = equals == std::string::npos ? "" : CLI::detail::trim_copy(text.substr(equals + 1));
  bool understood = false;
  if (name == "cycle_mult") {
    understood = CLI::detail::lexical_cast(number, options.cycle_mult);
  } else {
    for (const Named& named : kNamed)
      if (name == named.name) understood = CLI::detail::lexical_cast(number, options.*named.number);
  }
  if (understood) return;
  std::string names = "cycle_mult";
  for (const Named& named : kNamed) names += std::string(", ") + named.name;
  throw UsageError(fmt::format("{}: '{}' is no NAME=NUMBER of {}", where, text, names));
}

/// "7", or of sgdr "3 cycles".
int parse_epochs(const std::string& text, const std::string& where, const Stage& stage) {
  constexpr const char* kCycles = " cycles";
  std::string number = text;
  const bool in_cycles = stage.options.policy == "sgdr" && text.ends_with(kCycles);
  if (in_cycles) number = text.substr(0, text.size() - std::string(kCycles).size());
  int count = 0;
  if (!CLI::detail::lexical_cast(number, count) || count < 1 || count > kMostEpochs)
    throw UsageError(
        fmt::format("{}: '{}' is no number of epochs from 1 to {} (nor of whole cycles, which sgdr may "
                    "have: '3 cycles')",
                    where, text, kMostEpochs));
  if (!in_cycles) return count;
  double epochs = 0, cycle = stage.options.policy_options->cycle_len;
  for (int i = 0; i < count && epochs <= kMostEpochs; ++i, cycle *= stage.options.policy_options->cycle_mult)
    epochs += cycle;
  if (!(epochs <= kMostEpochs)) throw UsageError(fmt::format("{}: {} cycles take too many epochs", where, count));
  return static_cast<int>(std::ceil(epochs));
}

/// "one-cycle(5)", "sgdr(3 cycles, cycle_mult=2)" or "5".
void parse_course(const std::string& text, const std::string& where, Stage& stage) {
  std::string epochs = text;
  const std::size_t open = text.find('(');
  if (open != std::string::npos && text.back() == ')') {
    stage.options.policy = CLI::detail::trim_copy(text.substr(0, open));
    require_choice(where + ": policy", stage.options.policy, schedule_names());
    const std::vector<std::string> parts = split(text.substr(open + 1, text.size() - open - 2), ',');
    epochs = parts.empty() ? "" : parts.front();
    stage.options.policy_options.emplace();
    for (std::size_t i = 1; i < parts.size(); ++i) parse_number(parts[i], where, *stage.options.policy_options);
    make_schedule(stage.options.policy, {.policy_options = *stage.options.policy_options});  // refuses nonsense
  }
  stage.epochs = parse_epochs(epochs, where, stage);
}

Stage parse_stage(const std::string& text) {
  const std::string where = fmt::format("--stages: '{}'", text);
  const std::size_t colon = text.find(':'), at = text.rfind('@');
  if (colon == std::string::npos || at == std::string::npos || at < colon)
    throw UsageError(where +
                     " is no stage; one is WHAT:EPOCHS@RATES or WHAT:POLICY(EPOCHS, NAME=NUMBER...)@RATES, as in "
                     "head:3@1e-2 or all:sgdr(7, cycle_mult=2)@1e-4,1e-3,1e-2");
  Stage stage;
  const std::string what = CLI::detail::trim_copy(text.substr(0, colon));
  if (what == "head") {
    stage.trains = Stage::Trains::head;
  } else if (what != "all") {
    stage.trains = Stage::Trains::from_layer;
    stage.layer = what;
  }
  parse_course(CLI::detail::trim_copy(text.substr(colon + 1, at - colon - 1)), where, stage);
  stage.rates = parse_rates(text.substr(at + 1));
  return stage;
}

}  // namespace

std::vector<double> parse_rates(const std::string& text) {
  std::vector<double> rates;
  for (const std::string& part : split(text, ',')) {
    double rate = 0;
    if (!CLI::detail::lexical_cast(part, rate) || !(rate > 0) || !std::isfinite(rate))
      throw UsageError(fmt::format("'{}': a learning rate is a number above 0, or several with commas between", text));
    rates.push_back(rate);
  }
  if (rates.empty() || rates.size() > 3)
    throw UsageError(
        fmt::format("'{}': one rate is for the whole model, two are for trunk and head, three for the "
                    "trunk's two halves and the head",
                    text));
  return rates;
}

std::vector<Stage> parse_stages(const std::string& text) {
  std::vector<Stage> stages;
  for (const std::string& part : split(text, ';'))
    if (!part.empty()) stages.push_back(parse_stage(part));
  if (stages.empty()) throw UsageError("--stages: there is none");
  return stages;
}

void FineTuning::add_options(KeptOptions& options) {
  options.add("epochs", epochs_, "Passes over the training pictures")->check(CLI::Range(1, kMostEpochs));
  options.add("lr", rates_,
              "Learning rate, the largest of the schedule; two for trunk and head; three for the trunk's halves (a "
              "ResNet's before layer3) and the head: 1e-4,1e-3,1e-2");
  options.add(
      "stages", stages_,
      "Trainings one after another, in place of --freeze, --freeze-to, --epochs and --lr: 'head:3@1e-2; layer4:2@1e-3; "
      "all:sgdr(3 cycles, cycle_mult=2)@1e-4,1e-3,1e-2' trains the head alone for 3 epochs by --policy, then from "
      "layer4 on, then everything by SGDR for 1 + 2 + 4 epochs, each at its own rates");
  options.add("accumulate", accumulate_, "Move the weights once in so many batches, along their mean gradient")
      ->check(CLI::Range(1, 65536));
  options.add("clip", clip_, "Longest gradient, as a norm over all parameters; 0: any")->check(number_from(0));
  options
      .add("ema", average_, "Leave the exponential average of the weights, of this decay (0.99); 0: the last weights")
      ->check(number_from_to(0, 0.999999));
  options.add(
      "best", best_,
      "Leave the weights of the best epoch of all stages by valid_loss, accuracy or macro_f1, not of the last one; "
      "each stage begins with the best so far");
  options
      .add("early-stop", early_stop_,
           "End a stage after so many epochs that were not better (by --best, else by "
           "valid_loss); 0: never")
      ->check(CLI::Range(0, kMostEpochs));
}

void FineTuning::check(const TrainingOptions& training) const {
  if (!stages_.empty() && (training.freeze || !training.freeze_to.empty()))
    throw UsageError("--stages says what is trained: leave --freeze and --freeze-to out");
  if (!best_.empty()) Monitor{best_};
  stages(training);
}

void FineTuning::check(const TrainingOptions& training, const Model& model) const {
  for (const Stage& stage : stages(training))
    check_layers(stages_.empty() ? "--lr" : "--stages", [&] {
      if (stage.trains == Stage::Trains::from_layer) layers_before(model, stage.layer);
      group_starts(model, static_cast<int>(stage.rates.size()));
    });
}

std::vector<Stage> FineTuning::stages(const TrainingOptions& training) const {
  if (!stages_.empty()) return parse_stages(stages_);
  Stage stage;
  stage.trains = training.freeze              ? Stage::Trains::head
                 : training.freeze_to.empty() ? Stage::Trains::all
                                              : Stage::Trains::from_layer;
  stage.layer = training.freeze_to;
  stage.rates = parse_rates(rates_);
  stage.epochs = epochs_;
  return {stage};
}

void FineTuning::add_callbacks(Learner& learner) const {
  if (accumulate_ > 1) learner.add(std::make_shared<AccumulateGradients>(accumulate_));
  if (clip_ > 0) learner.add(std::make_shared<ClipGradients>(clip_));
  if (average_ > 0) learner.add(std::make_shared<AverageWeights>(average_));
  if (!best_.empty()) learner.add(std::make_shared<KeepBest>(best_, KeepBest::Over::run));
  if (early_stop_ > 0) learner.add(std::make_shared<EarlyStop>(early_stop_, best_.empty() ? "valid_loss" : best_));
}

std::optional<EpochResult> FineTuning::fit(Learner& learner, const TrainingOptions& training,
                                           const std::function<void(std::size_t, std::size_t)>& begins) const {
  std::vector<EpochResult> rows;
  const std::vector<Stage> all = stages(training);
  for (const Stage& stage : all) {
    begins(static_cast<std::size_t>(&stage - all.data()), all.size());
    switch (stage.trains) {
      case Stage::Trains::head:
        learner.freeze();
        break;
      case Stage::Trains::all:
        learner.unfreeze();
        break;
      case Stage::Trains::from_layer:
        learner.freeze_to(stage.layer);
        break;
    }
    const std::vector<EpochResult> more = learner.fit(stage.rates, stage.epochs, stage.options);
    rows.insert(rows.end(), more.begin(), more.end());
    if (learner.interrupted()) break;
  }
  if (rows.empty()) return std::nullopt;
  if (best_.empty()) return rows.back();
  const Monitor monitor(best_);
  return *std::min_element(rows.begin(), rows.end(), [&](const EpochResult& a, const EpochResult& b) {
    return monitor.better(monitor.value(a), monitor.value(b));
  });
}

}  // namespace weft::cli
