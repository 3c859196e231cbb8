#include "tools/dogs_vs_cats/training_options.h"

#include <csignal>

#include "core/passes.h"
#include "nn/groups.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/sized_model.h"

namespace weft::cli {
namespace {

void on_interrupt(int) {
  // A second Ctrl-C ends the program at once.
  if (Learner::stop_requested().exchange(true)) std::signal(SIGINT, SIG_DFL);
}

}  // namespace

void add_training_options(KeptOptions& kept, TrainingOptions& o) {
  CLI::App* verb = kept.verb();
  verb->add_option(
      "DATA", o.data,
      "Class folders (train/CLASS/*, valid/CLASS/*), CLASS/* alone, pictures with labels.csv, or MNIST's IDX files");
  kept.add("arch", o.arch, "Architecture");
  kept.add("weights", o.weights, "Pretrained weights: safetensors, or torchvision's .pth");
  kept.add("freeze", o.freeze, "Train the head alone, on features computed once");
  kept.add("freeze-to", o.freeze_to, "Train from this layer on (layer4), and leave what comes before as it is");
  kept.add("fixed-batch-norm", o.fixed_batch_norm,
           "Batch norm works by its running statistics, which stay; its scale and shift are trained");
  kept.add("size", o.size, "Side of the pictures that the network sees")->check(CLI::Range(1, 4096));
  kept.add("batch", o.batch, "Pictures in a step")->check(CLI::Range(1, 65536));
  kept.add("momentum", o.momentum, "Of SGD")->check(number_from_to(0, 1));
  kept.add("weight-decay", o.weight_decay, "Of SGD")->check(number_from(0));
  kept.add("valid-fraction", o.valid_fraction, "Part kept for validation where DATA has no valid/")
      ->check(number_from_to(0, 0.9));
  kept.add("seed", o.seed, "Names all random numbers");
  add_augment_options(
      [&kept](const std::string& name, auto& field, const std::string& help) { return kept.add(name, field, help); },
      o.augment);
  kept.add("math", o.math,
           "fast (may use Winograd), strict (no Winograd) or tf32 (fast, and on cuda float32 products by tensor cores, "
           "rounded to TF32)");
  kept.add("device", o.device, "auto, cpu, cuda, cuda:N or simt", true);
  kept.add("threads", o.threads, "Threads that compute; part of the result's bits; 0: all", true)
      ->check(CLI::Range(0, 1024));
  verb->add_option("--loader-threads", o.loader_threads, "Threads that decode; never part of it; 0: all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->add_flag("--tune", o.tune, "Measure the algorithms instead of looking them up");
}

void check(const TrainingOptions& options, const std::string& verb) {
  if (options.data.empty()) throw UsageError(verb + ": DATA is missing: the folder of pictures to train on");
  require_choice("--arch", options.arch, model_names());
  require_choice("--math", options.math, math_names());
  require_choice("--augment", options.augment.augmentation.set, Augmentation::names());
  if (options.freeze && !options.freeze_to.empty())
    throw UsageError("--freeze trains the head alone, --freeze-to more: give one");
}

LabelledData open_data(const TrainingOptions& options) {
  ImageFolderOptions folder;
  folder.size = options.size;
  folder.valid_fraction = options.valid_fraction;
  folder.seed = options.seed;
  folder.train_transform = options.augment.augmentation.transform(options.size);
  LabelledData data = open_dataset(options.data, folder);
  fmt::print("{}: {} training and {} validation pictures of {} {}\n", options.data, data.train()->size(),
             data.valid()->size(), data.classes().size(), data.valid()->multi_label() ? "labels" : "classes");
  return data;
}

Model make_model(const TrainingOptions& options, const LabelledData& data) {
  const auto shape = data.shape();
  Model model = sized_model(options.arch, data.classes(), shape.channels, options.seed, {shape.height, shape.width});
  if (!options.freeze_to.empty()) check_layers("--freeze-to", [&] { layers_before(model, options.freeze_to); });
  if (!options.weights.empty()) model.load(options.weights);
  for (const std::string& note : model.notes()) fmt::print("{}: {}\n", options.weights, note);
  fmt::print("{}\n", layer_table(model.graph({.batch = 1, .height = shape.height, .width = shape.width})));
  return model;
}

void check_layers(const std::string& option, const std::function<void()>& check) {
  try {
    check();
  } catch (const Error& error) {
    throw UsageError(fmt::format("{}: {}", option, error.what()));
  }
}

LearnerOptions learner_options(const TrainingOptions& options) {
  LearnerOptions result;
  result.device = options.device;
  result.threads = options.threads;
  result.loader_threads = options.loader_threads;
  result.batch = options.batch;
  result.seed = options.seed;
  result.freeze = options.freeze;
  result.freeze_to = options.freeze_to;
  result.fixed_batch_norm = options.fixed_batch_norm;
  result.momentum = options.momentum;
  result.weight_decay = options.weight_decay;
  result.math = math_named(options.math);
  result.tune = options.tune;
  result.targets.label_smoothing = options.augment.label_smoothing;
  result.mixup = options.augment.mixup;
  return result;
}

LearnerOptions learner_options(const TrainingOptions& options, const LabelledData& data) {
  LearnerOptions result = learner_options(options);
  result.targets = options.augment.targets(*data.train(), data.classes().size());
  return result;
}

void stop_on_signals() {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

}  // namespace weft::cli
