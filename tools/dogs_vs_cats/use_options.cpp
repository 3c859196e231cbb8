#include "tools/dogs_vs_cats/use_options.h"

#include "data/augment.h"
#include "tools/command_line.h"

namespace weft::cli {

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
  verb->add_option("--tta", options.tta,
                   "Test-time augmentation: the mean over each picture and so many augmented versions; 4 is usual")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->add_option("--seed", options.seed, "Names the random numbers of --tta")->capture_default_str();
  verb->add_option("--threshold", options.threshold,
                   "Probability above which a picture has a label, where it may have several; -1: the RUN's")
      ->check(number_from_to(-1, 1));
}

LearnerOptions learner_options(const UseOptions& options, const RunConfig& config) {
  LearnerOptions result;
  result.device = options.device;
  result.threads = options.threads;
  result.loader_threads = options.loader_threads;
  result.batch = options.batch;
  result.seed = options.seed;
  result.math = math_of(config);
  result.targets.multi_label = config.multi_label;
  result.threshold = options.threshold >= 0 ? options.threshold : config.threshold;
  return result;
}

Math math_of(const RunConfig& config) {
  const auto math = config.options.find("math");
  const Math trained = math == config.options.end() ? Math::fast : math_named(math->second);
  return trained == Math::tf32 ? Math::fast : trained;
}

Normalization normalization(const RunConfig& config) {
  return {config.mean, config.std};
}

Transforms tta_transform(const RunConfig& config) {
  Augmentation augmentation;
  const auto trained = config.options.find("augment");
  augmentation.set = trained != config.options.end() && trained->second == "top-down" ? "top-down" : "side-on";
  return augmentation.transform(config.size);
}

}  // namespace weft::cli
