// predict: a line for each picture. evaluate: loss, accuracy and confusion matrix over a folder.

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/idx.h"
#include "data/image_folder.h"
#include "kernels/error.h"
#include "nn/learner.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {
namespace {

struct UseOptions {
  std::string run;
  std::vector<std::string> paths;
  std::string device = "auto";
  int threads = 0, loader_threads = 0, batch = 64;
  bool json = false, log = false;
};

void add_use_options(CLI::App* verb, UseOptions& options) {
  verb->add_option("RUN", options.run, "Folder that `train` wrote")->required();
  verb->add_option("--device", options.device, "auto, cpu, cuda, cuda:N or simt")->capture_default_str();
  verb->add_option("--threads", options.threads, "Threads that compute; 0: all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->add_option("--loader-threads", options.loader_threads, "Threads that decode; 0: all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->add_option("--batch", options.batch, "Pictures at once")->check(CLI::Range(1, 65536))->capture_default_str();
}

LearnerOptions learner_options(const UseOptions& options) {
  LearnerOptions result;
  result.device = options.device;
  result.threads = options.threads;
  result.loader_threads = options.loader_threads;
  result.batch = options.batch;
  return result;
}

Normalization normalization(const RunConfig& config) {
  return {config.mean, config.std};
}

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

void predict(const UseOptions& options) {
  const RunConfig config = load_run_config(options.run);
  const auto pictures = std::make_shared<PictureList>(usable_pictures(options.paths), config.size,
                                                      validation_transform(config.size), normalization(config));
  Learner learner(load_run_model(options.run, config), nullptr, pictures, learner_options(options));
  for (const auto& prediction : learner.predict(*pictures)) {
    const auto& p = prediction.probabilities;
    const auto best = static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
    if (options.json) {
      nlohmann::ordered_json line = {
          {"path", prediction.path}, {"class", config.classes[best]}, {"probability", p[best]}};
      for (std::size_t i = 0; i < p.size(); ++i) line["probabilities"][config.classes[i]] = p[i];
      fmt::print("{}\n", line.dump());
    } else if (options.log) {
      fmt::print("{}\t{}\t{:.6f}\n", prediction.path, config.classes[best], std::log(static_cast<double>(p[best])));
    } else {
      fmt::print("{}\t{}\t{:.6f}\n", prediction.path, config.classes[best], p[best]);
    }
  }
}

std::shared_ptr<const Dataset> data_to_evaluate(const std::string& path, const RunConfig& config) {
  if (is_idx_folder(path)) return open_idx_folder(path).valid();
  ImageFolderOptions folder;
  folder.size = config.size;
  folder.classes = config.classes;
  folder.normalization = normalization(config);
  folder.valid_fraction = 1;  // a folder without valid/ is evaluated whole
  return ImageFolder(path, folder).valid();
}

void evaluate(const UseOptions& options) {
  const RunConfig config = load_run_config(options.run);
  const auto data = data_to_evaluate(options.paths.front(), config);
  Learner learner(load_run_model(options.run, config), nullptr, data, learner_options(options));
  const Evaluation result = learner.evaluate(*data);
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"pictures", data->size()},
                                              {"loss", result.loss},
                                              {"accuracy", result.accuracy},
                                              {"classes", config.classes},
                                              {"confusion", result.confusion}}
                           .dump());
    return;
  }
  fmt::print("{} pictures, loss {:.4f}, accuracy {:.2f}%\n", data->size(), result.loss, result.accuracy * 100);
  std::size_t width = 9;
  for (const auto& name : config.classes) width = std::max(width, name.size() + 2);
  fmt::print("rows: what it is; columns: what it was taken for\n{:{}}", "", width);
  for (const auto& name : config.classes) fmt::print("{:>{}}", name, width);
  fmt::print("\n");
  for (std::size_t i = 0; i < config.classes.size(); ++i) {
    fmt::print("{:<{}}", config.classes[i], width);
    for (const auto count : result.confusion[i]) fmt::print("{:>{}}", count, width);
    fmt::print("\n");
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

void add_evaluate(CLI::App& app) {
  auto* verb = app.add_subcommand("evaluate", "Loss, accuracy and confusion matrix over DATA/valid (or DATA)");
  const auto options = std::make_shared<UseOptions>();
  add_use_options(verb, *options);
  verb->add_option("DATA", options->paths, "Class folders, or MNIST's IDX files")->required()->expected(1);
  verb->add_flag("--json", options->json, "As one JSON object");
  verb->callback([options] { evaluate(*options); });
}

}  // namespace weft::cli
