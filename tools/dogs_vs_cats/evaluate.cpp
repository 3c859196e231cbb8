// evaluate: loss, accuracy, confusion matrix and metrics by class over a folder.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/idx.h"
#include "data/image_folder.h"
#include "data/label_list.h"
#include "kernels/error.h"
#include "nn/metrics.h"
#include "nn/predictions.h"
#include "tools/command_line.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/use_options.h"

namespace weft::cli {
namespace {

using Json = nlohmann::ordered_json;

struct EvaluateOptions : UseOptions {
  double beta = 2;  ///< of the F that is said beside F1
};

/// "f2", "f0.5": as the JSON names it.
std::string f_name(double beta) {
  return fmt::format("f{:g}", beta);
}

/// What is evaluated: `train` is the augmented form of the same pictures, for --tta.
LabelledData data_to_evaluate(const UseOptions& options, const RunConfig& config) {
  const std::string& path = options.paths.front();
  if (is_idx_folder(path)) {
    if (options.tta > 0) throw UsageError("--tta: IDX digits are not augmented; leave it out");
    return open_idx_folder(path);
  }
  ImageFolderOptions folder;
  folder.size = config.size;
  folder.classes = config.classes;
  folder.normalization = normalization(config);
  folder.valid_fraction = 1;  // a folder without valid/ is evaluated whole
  if (config.multi_label != has_label_list(path))
    fail(config.multi_label
             ? fmt::format("{}: {} is not there, and the model says several labels of a picture", path, kLabelsFile)
             : fmt::format("{}: its pictures have several labels each ({}), and the model tells classes "
                           "apart",
                           path, kLabelsFile));
  return open_dataset(path, folder);
}

std::shared_ptr<const Dataset> augmented_form(const LabelledData& data, const RunConfig& config) {
  const auto& pictures = dynamic_cast<const PictureList&>(*data.valid());
  if (pictures.multi_label()) {
    std::vector<std::vector<int>> labels;
    for (std::int64_t i = 0; i < pictures.size(); ++i) labels.push_back(pictures.labels(i));
    return std::make_shared<MultiLabelPictures>(pictures.samples(), std::move(labels), config.size,
                                                tta_transform(config), normalization(config), true);
  }
  return std::make_shared<PictureList>(pictures.samples(), config.size, tta_transform(config), normalization(config),
                                       true);
}

/// The k of "top-k" worth telling: below the number of classes by more than one.
std::vector<int> top_ks(std::size_t classes) {
  std::vector<int> ks;
  for (const int k : {3, 5})
    if (static_cast<std::size_t>(k) + 1 < classes) ks.push_back(k);
  return ks;
}

Json metrics_json(const Evaluation& result, const RunConfig& config, double threshold, double beta) {
  const std::string f = f_name(beta);
  Json json = {{"beta", beta}};
  for (std::size_t c = 0; c < config.classes.size(); ++c) {
    const ClassCounts& counts = result.counts[c];
    json["by_class"][config.classes[c]] = {{"pictures", counts.tp + counts.fn},
                                           {"precision", precision(counts)},
                                           {"recall", recall(counts)},
                                           {"f1", f_beta(counts)}};
    json["by_class"][config.classes[c]][f] = f_beta(counts, beta);
  }
  json["macro"] = {{"precision", macro_precision(result.counts)},
                   {"recall", macro_recall(result.counts)},
                   {"f1", macro_f_beta(result.counts)}};
  json["macro"][f] = macro_f_beta(result.counts, beta);
  json["micro_f1"] = micro_f_beta(result.counts);
  if (config.multi_label) {
    json["threshold"] = threshold;
    json["samples_" + f] = samples_f_beta(result.predictions, threshold, beta);
    json["exact_match"] = exact_match(result.predictions, threshold);
    json["best_threshold"] = best_threshold(result.predictions, beta);
  } else {
    for (const int k : top_ks(config.classes.size())) json[fmt::format("top_{}", k)] = top_k_accuracy(result, k);
  }
  return json;
}

void print_confusion(const Evaluation& result, const Classes& classes, std::size_t width) {
  fmt::print("rows: what it is; columns: what it was taken for\n{:{}}", "", width);
  for (const auto& name : classes) fmt::print("{:>{}}", name, width);
  fmt::print("\n");
  for (std::size_t i = 0; i < classes.size(); ++i) {
    fmt::print("{:<{}}", classes[i], width);
    for (const auto count : result.confusion[i]) fmt::print("{:>{}}", count, width);
    fmt::print("\n");
  }
}

void print_metrics(const Evaluation& result, const RunConfig& config, double threshold, double beta,
                   std::size_t width) {
  const std::string f = fmt::format("F{:g}", beta);
  fmt::print("{:{}}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", width, "precision", "recall", "F1", f, "pictures");
  const auto row = [width](const std::string& name, double p, double r, double f1, double f_beta) {
    fmt::print("{:<{}}{:>10.4f}{:>10.4f}{:>10.4f}{:>10.4f}", name, width, p, r, f1, f_beta);
  };
  for (std::size_t c = 0; c < config.classes.size(); ++c) {
    const ClassCounts& counts = result.counts[c];
    row(config.classes[c], precision(counts), recall(counts), f_beta(counts), f_beta(counts, beta));
    fmt::print("{:>10}\n", counts.tp + counts.fn);
  }
  row("(mean)", macro_precision(result.counts), macro_recall(result.counts), macro_f_beta(result.counts),
      macro_f_beta(result.counts, beta));
  fmt::print("\n");
  if (config.multi_label) {
    const double best = best_threshold(result.predictions, beta);
    fmt::print(
        "{} by picture {:.4f}, all labels right {:.2f}%, at threshold {:.2f}; the best threshold here is {:.2f}, "
        "{} {:.4f}\n",
        f, samples_f_beta(result.predictions, threshold, beta), exact_match(result.predictions, threshold) * 100,
        threshold, best, f, samples_f_beta(result.predictions, best, beta));
  }
  for (const int k : top_ks(config.classes.size()))
    if (!config.multi_label) fmt::print("top-{} accuracy {:.2f}%\n", k, top_k_accuracy(result, k) * 100);
}

/// For whoever ranks pictures by what the model says of them. A RUN that cannot be written to is evaluated all the
/// same.
void keep_predictions(const UseOptions& options, const RunConfig& config, double threshold, const Evaluation& result) {
  const auto path = std::filesystem::path(options.run) / kPredictionsFile;
  try {
    save_predictions(path, {config.classes, config.multi_label, threshold, result.predictions});
  } catch (const Error& error) {
    fmt::print(stderr, "warning: {}; the predictions are not kept\n", error.what());
  }
}

void evaluate(const EvaluateOptions& options) {
  const RunConfig config = load_run_config(options.run);
  const LabelledData whole = data_to_evaluate(options, config);
  const auto data = whole.valid();
  const LearnerOptions settings = learner_options(options, config);
  Learner learner(load_run_model(options.run, config), nullptr, data, settings);
  const Evaluation result =
      options.tta > 0 ? learner.evaluate(*data, *augmented_form(whole, config), options.tta) : learner.evaluate(*data);
  keep_predictions(options, config, settings.threshold, result);
  if (options.json) {
    Json json = {{"pictures", data->size()},
                 {"loss", result.loss},
                 {"accuracy", result.accuracy},
                 {"classes", config.classes},
                 {"tta", options.tta}};
    if (!config.multi_label) json["confusion"] = result.confusion;
    json.update(metrics_json(result, config, settings.threshold, options.beta));
    fmt::print("{}\n", json.dump());
    return;
  }
  fmt::print("{} pictures, loss {:.4f}, accuracy {:.2f}%{}\n", data->size(), result.loss, result.accuracy * 100,
             config.multi_label ? " of all labels" : "");
  std::size_t width = 9;
  for (const auto& name : config.classes) width = std::max(width, name.size() + 2);
  if (!config.multi_label) print_confusion(result, config.classes, width);
  print_metrics(result, config, settings.threshold, options.beta, width);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto* verb = app.add_subcommand(
      "evaluate",
      "Loss, accuracy, confusion matrix, precision and recall over DATA/valid (or DATA); RUN/predictions.json");
  const auto options = std::make_shared<EvaluateOptions>();
  add_use_options(verb, *options);
  verb->add_option("DATA", options->paths, "Class folders, pictures with labels.csv, or MNIST's IDX files")
      ->required()
      ->expected(1);
  verb->add_option("--beta", options->beta,
                   "The F-beta said beside F1: recall weighs so many times as much as precision. 2 is what pictures "
                   "with several labels are mostly scored by")
      ->check(number_from_to(0.001, 1000))
      ->capture_default_str();
  verb->add_flag("--json", options->json, "As one JSON object");
  verb->callback([options] { evaluate(*options); });
}

}  // namespace weft::cli
