// report: RUN/report.html, what a model learned and what it gets wrong, in pictures.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "core/files.h"
#include "core/passes.h"
#include "data/idx.h"
#include "data/resize.h"
#include "kernels/error.h"
#include "nn/exciting_patches.h"
#include "nn/grad_cam.h"
#include "nn/learner.h"
#include "nn/metrics.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/report_page.h"
#include "tools/dogs_vs_cats/use_options.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

struct ReportOptions {
  std::string run, data, layers = "all", device = "auto";
  int threads = 0, loader_threads = 0;
  std::size_t pictures = 4;
  bool no_audit = false;
};

/// The option of the training run, or "".
std::string trained_with(const RunConfig& config, const std::string& name) {
  const auto found = config.options.find(name);
  return found == config.options.end() ? std::string() : found->second;
}

/// The data that the run was trained on, split as it was then.
LabelledData open_data(const ReportOptions& options, const RunConfig& config) {
  const std::string path = options.data.empty() ? trained_with(config, "DATA") : options.data;
  if (path.empty()) fail(fmt::format("{} does not say what it was trained on: give --data DATA", options.run));
  if (!fs::exists(path))
    fail(fmt::format("{} was trained on {}, which is not there: give --data DATA", options.run, path));
  ImageFolderOptions folder;
  folder.size = config.size;
  folder.classes = config.classes;
  folder.normalization = {config.mean, config.std};
  const std::string fraction = trained_with(config, "valid-fraction"), seed = trained_with(config, "seed");
  if (!fraction.empty()) folder.valid_fraction = std::stod(fraction);
  if (!seed.empty()) folder.seed = std::stoull(seed);
  return open_dataset(path, folder);
}

std::vector<std::int64_t> count_classes(const Dataset& data, std::size_t classes) {
  std::vector<std::int64_t> counts(classes);
  for (std::int64_t i = 0; i < data.size(); ++i)
    for (const int label : data.labels(i)) ++counts.at(static_cast<std::size_t>(label));
  return counts;
}

/// Copies `tile` to a place of `sheet`.
void paste(Image& sheet, const Image& tile, int x, int y) {
  for (int row = 0; row < tile.height; ++row)
    std::copy_n(tile.row(row), std::size_t(tile.width) * 3, sheet.row(y + row) + std::size_t(x) * 3);
}

/// A light sheet for tiles of this size, a pixel or more between them.
Image empty_sheet(int columns, int rows, int tile, int gap) {
  Image sheet(columns * (tile + gap) + gap, rows * (tile + gap) + gap);
  std::ranges::fill(sheet.rgb, std::uint8_t{244});
  return sheet;
}

/// Filters (K, R, S, C) as pictures, each from its smallest number (black) to its largest (white).
Image filter_sheet(const Tensor& filters) {
  const Shape& shape = filters.shape();
  const int count = int(shape[0]), rows = int(shape[1]), columns = int(shape[2]), channels = int(shape[3]);
  constexpr int kScale = 6;
  const int across = std::min(count, 16), tile = std::max(rows, columns) * kScale;
  Image sheet = empty_sheet(across, (count + across - 1) / across, tile, 2);
  for (int k = 0; k < count; ++k) {
    const auto filter = filters.values<float>().subspan(std::size_t(k) * rows * columns * channels,
                                                        std::size_t(rows) * columns * channels);
    const auto [low, high] = std::ranges::minmax(filter);
    Image picture(columns * kScale, rows * kScale);
    for (int y = 0; y < picture.height; ++y)
      for (int x = 0; x < picture.width; ++x)
        for (int c = 0; c < 3; ++c) {
          const float value =
              filter[std::size_t((y / kScale * columns + x / kScale) * channels + std::min(c, channels - 1))];
          picture.row(y)[3 * x + c] = std::uint8_t(255 * (high > low ? (value - low) / (high - low) : 0.5f));
        }
    paste(sheet, picture, 2 + k % across * (tile + 2), 2 + k / across * (tile + 2));
  }
  return sheet;
}

class Report {
 public:
  Report(const ReportOptions& options, RunConfig config)
      : options_(options), data_(open_data(options, config)), model_(load_run_model(options.run, config)) {
    report_.run = options.run;
    report_.config = std::move(config);
    if (data_.classes().size() != report_.config.classes.size())
      fail(fmt::format("{} tells {} classes apart, and the data has {}", options.run, report_.config.classes.size(),
                       data_.classes().size()));
    if (data_.valid()->multi_label() != report_.config.multi_label)
      fail(fmt::format("{} was trained with {}, and the data is not of that kind", options.run,
                       report_.config.multi_label ? "several labels a picture" : "one class a picture"));
    device_ = make_device(options.device, {.threads = options.threads});
  }

  ReportData make() {
    report_.epochs = load_log(options_.run);
    report_.steps = load_steps(options_.run);
    report_.tried = load_lr_find(options_.run);
    report_.computed_on = device_->describe();
    const std::size_t classes = report_.config.classes.size();
    report_.training_count = data_.train_plain()->size();
    report_.training_pictures = count_classes(*data_.train_plain(), classes);
    report_.validation_pictures = count_classes(*data_.valid(), classes);
    evaluate();
    choose_pictures();
    look_inside();
    const ItemShape shape = data_.shape();
    report_.layers = layer_table(model_.graph({.batch = 1, .height = shape.height, .width = shape.width}));
    const std::string path = options_.data.empty() ? trained_with(report_.config, "DATA") : options_.data;
    if (!options_.no_audit && !is_idx_folder(path)) {
      report_.odd_files = audit(path);
      report_.audited = true;
    }
    return std::move(report_);
  }

 private:
  void evaluate() {
    LearnerOptions learner;
    learner.device = options_.device;
    learner.threads = options_.threads;
    learner.loader_threads = options_.loader_threads;
    learner.math = math_of(report_.config);
    learner.threshold = report_.threshold = report_.config.threshold;
    report_.evaluation = Learner(model_, nullptr, data_.valid(), learner).validate();
  }

  Image picture(std::int64_t index) const {
    const Tensor item = load_items(*data_.valid(), std::span(&index, 1));
    return picture_of(item.values<float>(), data_.shape(), data_.normalization());
  }

  /// What the network says of a picture where it is asked for a class.
  ShownPicture shown(std::size_t index, int label, int asked) const {
    const Prediction& prediction = report_.evaluation.predictions[index];
    const float probability = prediction.probabilities[static_cast<std::size_t>(asked)];
    const auto& classes = report_.config.classes;
    std::string verdict = asked == label ? "right" : "it is " + classes[static_cast<std::size_t>(label)];
    if (report_.config.multi_label) {
      const bool is = has_label(prediction, label), said = probability > report_.threshold;
      verdict = is == said ? (is ? "right" : "right, it is not there") : is ? "missed" : "it is not there";
    }
    return {prediction.path, classes[static_cast<std::size_t>(asked)],  probability,
            verdict,         picture(static_cast<std::int64_t>(index)), {}};
  }

  void choose_pictures() {
    const auto& predictions = report_.evaluation.predictions;
    const bool multi_label = report_.config.multi_label;
    std::vector<ShownPicture*> pictures;
    std::vector<std::int64_t> indices;
    std::vector<int> asked;
    report_.classes.resize(report_.config.classes.size());
    for (std::size_t c = 0; c < report_.classes.size(); ++c) {
      const int label = static_cast<int>(c);
      const auto take = [&](Notable which, std::vector<ShownPicture>& list) {
        const auto chosen = multi_label
                                ? notable_for_label(predictions, label, report_.threshold, which, options_.pictures)
                                : notable_pictures(predictions, label, which, options_.pictures);
        for (const std::size_t index : chosen) {
          asked.push_back(multi_label ? label : most_probable(predictions[index]));
          list.push_back(shown(index, label, asked.back()));
          indices.push_back(static_cast<std::int64_t>(index));
        }
        for (ShownPicture& picture : list) pictures.push_back(&picture);
      };
      take(Notable::most_correct, report_.classes[c].most_correct);
      take(Notable::most_incorrect, report_.classes[c].most_incorrect);
      take(Notable::most_uncertain, report_.classes[c].most_uncertain);
    }
    GradCam cam(model_, device_, data_.shape());
    if (!cam.has_places()) return;
    report_.heat_layer = cam.layer();
    const auto maps = cam.maps(*data_.valid(), indices, asked);
    for (std::size_t i = 0; i < pictures.size(); ++i) pictures[i]->heat = with_heat(pictures[i]->picture, maps[i]);
  }

  void look_inside() {
    const ItemShape shape = data_.shape();
    const Graph graph = model_.graph({.batch = 1, .height = shape.height, .width = shape.width});
    for (const Node& node : graph.nodes()) {
      if (node.definition->name != "conv2d") continue;
      const Value& weight = graph.value(node.inputs[1]);
      if (weight.shape[1] > 1 && (weight.shape[3] == 1 || weight.shape[3] == 3)) {
        report_.first_filters = filter_sheet(model_.state().at(weight.name));
        report_.first_layer = node.name;
      }
      break;
    }
    ExcitingPatchesOptions patches;
    patches.every_layer = report_.every_layer = options_.layers == "all";
    report_.patch_pictures = std::min(patches.pictures, data_.valid()->size());
    for (const LayerPatches& layer : exciting_patches(model_, device_, *data_.valid(), patches))
      report_.patches.push_back(sheet(layer));
  }

  ShownPatches sheet(const LayerPatches& layer) {
    constexpr int kTile = 64;
    std::size_t across = 0;
    for (const ChannelPatches& channel : layer.chosen) across = std::max(across, channel.patches.size());
    ShownPatches shown{.layer = layer.layer,
                       .last_of_size = layer.last_of_size,
                       .height = layer.height,
                       .width = layer.width,
                       .channels = layer.channels,
                       .field = layer.field.rows.size,
                       .chosen = {},
                       .sheet = empty_sheet(static_cast<int>(across), static_cast<int>(layer.chosen.size()), kTile, 2)};
    for (std::size_t row = 0; row < layer.chosen.size(); ++row) {
      const ChannelPatches& channel = layer.chosen[row];
      shown.chosen.push_back(channel.channel);
      for (std::size_t column = 0; column < channel.patches.size(); ++column) {
        const ExcitingPatch& patch = channel.patches[column];
        // Layers share their pictures, of which each is decoded once.
        const auto [found, is_new] = decoded_.try_emplace(patch.item);
        if (is_new) found->second = picture(patch.item);
        const Image& whole = found->second;
        paste(shown.sheet, resize(ImageView(whole).crop(patch.box), kTile, kTile),
              2 + static_cast<int>(column) * (kTile + 2), 2 + static_cast<int>(row) * (kTile + 2));
      }
    }
    return shown;
  }

  const ReportOptions& options_;
  LabelledData data_;
  Model model_;
  std::shared_ptr<Device> device_;
  std::map<std::int64_t, Image> decoded_;  // validation pictures that hold a patch
  ReportData report_;
};

void run(const ReportOptions& options) {
  const fs::path file = fs::path(options.run) / "report.html";
  const ReportData data = Report(options, load_run_config(options.run)).make();
  write_file_atomically(file, report_page(data));
  fmt::print("Wrote {}: accuracy {:.2f}% on {} validation pictures\n", file.string(), data.evaluation.accuracy * 100,
             data.evaluation.predictions.size());
}

}  // namespace

void add_report(CLI::App& app) {
  auto* verb =
      app.add_subcommand("report", "Writes RUN/report.html: what was learned, and what it gets wrong, in pictures");
  const auto options = std::make_shared<ReportOptions>();
  verb->add_option("RUN", options->run, "Folder that `train` wrote")->required();
  verb->add_option("--data", options->data, "The data it was trained on, where that has moved");
  verb->add_option("--pictures", options->pictures, "Pictures shown of each kind and class")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  verb->add_option(
          "--layers", options->layers,
          "Whose most exciting patches are shown: all (each convolution's) or sizes (of those whose activations "
          "are of one size, the last: a smaller page of a deep network)")
      ->check(CLI::IsMember({"all", "sizes"}))
      ->capture_default_str();
  verb->add_flag("--no-audit", options->no_audit, "Do not look through the files of the data set");
  verb->add_option("--device", options->device, "auto, cpu, cuda, cuda:N or simt")->capture_default_str();
  verb->add_option("--threads", options->threads, "Threads that compute; 0: all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->add_option("--loader-threads", options->loader_threads, "Threads that decode; 0: all")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->callback([options] { run(*options); });
}

}  // namespace weft::cli
