#include "tools/dogs_vs_cats/report_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "tools/dogs_vs_cats/fine_tuning.h"
#include "tools/dogs_vs_cats/policy_options.h"
#include "tools/dogs_vs_cats/training_options.h"

namespace weft::cli {
namespace {

/// The options of `train`, read from a RUN as --resume reads them.
struct Recipe {
  explicit Recipe(const ReportData& data) : given(data.config.options) {
    add_training_options(kept, training);
    fine_tuning.add_options(kept);
    add_policy_options(kept, policy);
    defaults = kept.texts();
    kept.take(given, data.run);
  }

  /// Empty where it is the default, or where the run has no such option.
  std::string unusual(const std::string& name) const {
    const auto found = given.find(name);
    return found == given.end() || found->second == defaults.at(name) ? std::string() : found->second;
  }

  CLI::App app;
  KeptOptions kept{&app};
  TrainingOptions training;
  FineTuning fine_tuning;
  SchedulePolicy policy;
  std::map<std::string, std::string> given, defaults;
};

std::string times(std::size_t count, const char* one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

/// "at a learning rate of 0.01 (constant schedule)".
std::string rates_of(const Stage& stage, const SchedulePolicy& run) {
  const std::string& policy = stage.options.policy.empty() ? run.policy : stage.options.policy;
  const PolicyOptions& shape = stage.options.policy_options ? *stage.options.policy_options : run.options;
  std::vector<std::string> rates;
  for (const double rate : stage.rates) rates.push_back(fmt::format("{:g}", rate));
  const bool several = rates.size() > 1;
  const std::string details = to_string(shape);
  return fmt::format("at {} {} {}{} ({} schedule{}{})", several ? "learning rates" : "a learning rate",
                     policy == "constant" ? "of" : "of up to", joined(rates),
                     several ? " from its input to its head" : "", policy, details.empty() ? "" : ",", details);
}

/// "its head alone".
std::string trained_part(const Stage& stage) {
  switch (stage.trains) {
    case Stage::Trains::head:
      return "its head alone";
    case Stage::Trains::from_layer:
      return fmt::format("its layers from {} on", stage.layer);
    case Stage::Trains::all:
      break;
  }
  return "all its layers";
}

std::string one_stage(const Stage& stage, const Recipe& recipe, const ReportData& data) {
  std::string text;
  if (stage.trains == Stage::Trains::head)
    text = "Only its last layer was trained; the layers below were kept as they came. ";
  if (stage.trains == Stage::Trains::from_layer)
    text = fmt::format("It was trained from {} on; the layers below were kept as they came. ", stage.layer);
  return text + fmt::format("It went through the pictures {}, {}. ", times(data.epochs.size(), "time"),
                            rates_of(stage, recipe.policy));
}

/// Epochs are those that were trained: an early stop leaves fewer than were asked for.
std::string several_stages(const std::vector<Stage>& stages, const Recipe& recipe, const ReportData& data) {
  const std::vector<int>& fits = data.config.fits;
  const std::size_t done = std::min(fits.size(), stages.size());
  std::string text = fmt::format("It was trained in {}: ", times(done, "stage"));
  for (std::size_t i = 0; i < done; ++i)
    text += fmt::format("{}{}, {} {}",
                        i == 0          ? ""
                        : i + 1 == done ? "; then "
                                        : "; ",
                        trained_part(stages[i]), times(static_cast<std::size_t>(fits[i]), "epoch"),
                        rates_of(stages[i], recipe.policy));
  text += ". ";
  if (done < stages.size())
    text += fmt::format("It was stopped there: {} more {} to follow. ", stages.size() - done,
                        stages.size() - done == 1 ? "was" : "were");
  return text;
}

/// "side-on, rotate 15, cutout 0.25", or empty. A head alone is trained on features of plain pictures.
std::string augmentation(const Recipe& recipe, const std::vector<Stage>& stages) {
  const auto heads = std::ranges::count(stages, Stage::Trains::head, &Stage::trains);
  if (heads == static_cast<std::ptrdiff_t>(stages.size())) return "";
  std::string what = recipe.unusual("augment");
  for (const char* name : {"max-zoom", "rotate", "lighting", "cutout", "erase"}) {
    const std::string value = recipe.unusual(name);
    if (!value.empty()) what += fmt::format("{}{} {}", what.empty() ? "" : ", ", name, value);
  }
  if (what.empty()) return "";
  return fmt::format("augmented pictures ({}{})", what, heads > 0 ? "; not while its head alone was trained" : "");
}

/// What else differs from the defaults and is part of the result.
std::string besides(const Recipe& recipe, const std::vector<Stage>& stages) {
  static constexpr std::pair<const char*, const char*> kWords[] = {
      {"mixup", "mixup (alpha {})"},
      {"label-smoothing", "label smoothing of {}"},
      {"class-weights", "class weights ({})"},
      {"batch", "batches of {} pictures"},
      {"accumulate", "gradients gathered over {} batches"},
      {"momentum", "momentum {}"},
      {"weight-decay", "weight decay {}"},
      {"clip", "gradients clipped to a norm of {}"},
      {"fixed-batch-norm", "batch norm by its fixed statistics"},
      {"ema", "the exponential average of its weights (decay {})"},
      {"early-stop", "an early stop after {} epochs without progress"},
      {"best", "the weights of its best epoch by {}"},
      {"math", "{} arithmetic"},
  };
  std::vector<std::string> words;
  if (const std::string pictures = augmentation(recipe, stages); !pictures.empty()) words.push_back(pictures);
  for (const auto& [name, text] : kWords)
    if (const std::string value = recipe.unusual(name); !value.empty())
      words.push_back(fmt::format(fmt::runtime(text), value));
  return words.empty() ? std::string() : fmt::format("It used {}. ", joined(words));
}

}  // namespace

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return text;
}

std::string in_words(const ReportData& data) {
  const std::string classes = joined(data.config.classes);
  std::string text = fmt::format(
      "A {} learned {} from {} pictures of {} by {} pixels. ", data.config.arch,
      data.config.multi_label ? "which of the labels " + classes + " a picture has," : "to tell " + classes + " apart",
      data.training_count, data.config.size, data.config.size);
  const Recipe recipe(data);
  text += recipe.training.weights.empty() ? "It started from random numbers. "
                                          : fmt::format("It started from {}. ", recipe.training.weights);
  if (recipe.given.contains("lr")) {
    const std::vector<Stage> stages = recipe.fine_tuning.stages(recipe.training);
    text += stages.size() == 1 && recipe.unusual("stages").empty() ? one_stage(stages.front(), recipe, data)
                                                                   : several_stages(stages, recipe, data);
    text += besides(recipe, stages);
  } else {  // not by `train`: a program's own options say nothing that is known here
    text += fmt::format("It went through the pictures {}. ", times(data.epochs.size(), "time"));
  }
  return text + fmt::format("Of {} {} that it had never seen it gets {:.2f}% right.",
                            data.evaluation.predictions.size(),
                            data.config.multi_label ? "pictures, all their labels asked," : "pictures",
                            data.evaluation.accuracy * 100);
}

}  // namespace weft::cli
