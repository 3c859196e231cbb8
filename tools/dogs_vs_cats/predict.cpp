// predict: a line for each picture.

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/image_folder.h"
#include "kernels/error.h"
#include "nn/metrics.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/use_options.h"

namespace weft::cli {
namespace {

/// The files below `paths` that are pictures. Others are left out with a warning each; a path that is not there is an
/// Error.
std::vector<Sample> usable_pictures(const std::vector<std::string>& paths) {
  std::vector<Sample> samples;
  std::size_t skipped = 0;
  for (const auto& path : paths) {
    for (const auto& file : list_files(path)) {
      const std::string reason = why_unusable(file);
      if (reason.empty()) {
        samples.push_back({file, 0});
      } else if (++skipped <= 10) {
        fmt::print(stderr, "warning: left out {}\n",
                   reason.find(file) == std::string::npos ? file + ": " + reason : reason);
      }
    }
  }
  if (skipped > 0) fmt::print(stderr, "warning: {} of {} files left out\n", skipped, skipped + samples.size());
  if (samples.empty())
    fail(fmt::format("{}: no picture to predict (JPEG or PNG files, or folders of them, are wanted)", paths.front()));
  return samples;
}

/// One class and its probability, or with several labels a picture those above the threshold, the most probable first.
std::vector<int> said_of(const Prediction& prediction, const RunConfig& config, double threshold) {
  if (!config.multi_label) return {most_probable(prediction)};
  std::vector<int> labels = labels_above(prediction, threshold);
  const auto& p = prediction.probabilities;
  std::stable_sort(labels.begin(), labels.end(),
                   [&p](int a, int b) { return p[static_cast<std::size_t>(a)] > p[static_cast<std::size_t>(b)]; });
  return labels;
}

void print_json(const Prediction& prediction, const RunConfig& config, const std::vector<int>& said) {
  const auto& p = prediction.probabilities;
  nlohmann::ordered_json line = {{"path", prediction.path}};
  if (config.multi_label) {
    line["labels"] = nlohmann::ordered_json::array();
    for (const int label : said) line["labels"].push_back(config.classes[static_cast<std::size_t>(label)]);
  } else {
    line["class"] = config.classes[static_cast<std::size_t>(said.front())];
    line["probability"] = p[static_cast<std::size_t>(said.front())];
  }
  for (std::size_t i = 0; i < p.size(); ++i) line["probabilities"][config.classes[i]] = p[i];
  fmt::print("{}\n", line.dump());
}

/// path, then a class and its probability for each that is said of the picture, apart by tabs.
void print_line(const Prediction& prediction, const RunConfig& config, const std::vector<int>& said, bool log) {
  std::string line = prediction.path;
  for (const int label : said) {
    const double p = prediction.probabilities[static_cast<std::size_t>(label)];
    line += fmt::format("\t{}\t{:.6f}", config.classes[static_cast<std::size_t>(label)], log ? std::log(p) : p);
  }
  fmt::print("{}\n", line);
}

void predict(const UseOptions& options) {
  const RunConfig config = load_run_config(options.run);
  const std::vector<Sample> files = usable_pictures(options.paths);
  const auto list = [&](const Transforms& transform, bool augmented) {
    return std::make_shared<PictureList>(files, config.size, transform, normalization(config), augmented);
  };
  const auto pictures = list(validation_transform(config.size), false);
  const LearnerOptions settings = learner_options(options, config);
  Learner learner(load_run_model(options.run, config), nullptr, pictures, settings);
  const auto predictions = options.tta > 0 ? learner.predict(*pictures, *list(tta_transform(config), true), options.tta)
                                           : learner.predict(*pictures);
  for (const auto& prediction : predictions) {
    const std::vector<int> said = said_of(prediction, config, settings.threshold);
    if (options.json) {
      print_json(prediction, config, said);
    } else {
      print_line(prediction, config, said, options.log);
    }
  }
}

}  // namespace

void add_predict(CLI::App& app) {
  auto* verb = app.add_subcommand("predict", "Prints path <tab> class <tab> probability for each picture");
  const auto options = std::make_shared<UseOptions>();
  add_use_options(verb, *options);
  verb->add_option("IMAGE_OR_FOLDER", options->paths, "Pictures, or folders of them")->required();
  const auto log = verb->add_flag("--log", options->log, "Logarithms of the probabilities");
  verb->add_flag("--json", options->json, "A JSON object a line, with every class's probability")->excludes(log);
  verb->callback([options] { predict(*options); });
}

}  // namespace weft::cli
