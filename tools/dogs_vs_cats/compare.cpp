// compare: two evaluated runs on the same pictures, photo by photo: what the second mends, what it breaks, and whether
// chance would do as much.

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "kernels/error.h"
#include "nn/paired_comparison.h"
#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct CompareOptions {
  std::string a, b;
  bool list = false, json = false;
};

Predictions predictions_of(const std::string& run) {
  const fs::path file = fs::is_directory(run) ? fs::path(run) / kPredictionsFile : fs::path(run);
  if (!fs::exists(file))
    fail(fmt::format("{}: is not there; `dogs_vs_cats evaluate RUN DATA` writes it", file.string()));
  return load_predictions(file);
}

double part(std::int64_t right, const PairedComparison& result) {
  return static_cast<double>(right) / static_cast<double>(result.pictures);
}

Json to_json(const CompareOptions& options, const PairedComparison& result) {
  Json json = {{"pictures", result.pictures},
               {"a", {{"run", options.a}, {"right", result.right_a}, {"accuracy", part(result.right_a, result)}}},
               {"b", {{"run", options.b}, {"right", result.right_b}, {"accuracy", part(result.right_b, result)}}},
               {"mended", result.mended.size()},
               {"broken", result.broken.size()},
               {"right_in_both", result.right_in_both},
               {"p", result.p}};
  if (options.list) {
    json["mended_pictures"] = result.mended;
    json["broken_pictures"] = result.broken;
  }
  return json;
}

void run(const CompareOptions& options) {
  const Predictions a = predictions_of(options.a), b = predictions_of(options.b);
  const PairedComparison result = compare(a, b, options.a, options.b);
  if (options.json) {
    fmt::print("{}\n", to_json(options, result).dump(2, ' ', false, Json::error_handler_t::replace));
    return;
  }
  const char* const of = a.multi_label ? " with all labels right" : "";
  fmt::print("A: accuracy {:.2f}%, {} of {} pictures{}  ({})\n", part(result.right_a, result) * 100, result.right_a,
             result.pictures, of, options.a);
  fmt::print("B: accuracy {:.2f}%, {} of {} pictures{}  ({})\n", part(result.right_b, result) * 100, result.right_b,
             result.pictures, of, options.b);
  const auto mended = std::ssize(result.mended), broken = std::ssize(result.broken);
  fmt::print("{} mended (A wrong, B right), {} broken (A right, B wrong); {} right in both, {} wrong in both\n", mended,
             broken, result.right_in_both, result.pictures - result.right_in_both - mended - broken);
  fmt::print("p = {:.4g}: exact two-sided sign test (McNemar's) over the {} that differ\n", result.p, mended + broken);
  if (!options.list) return;
  for (const std::string& path : result.mended) fmt::print("mended\t{}\n", path);
  for (const std::string& path : result.broken) fmt::print("broken\t{}\n", path);
}

}  // namespace

void add_compare(CLI::App& app) {
  auto* verb = app.add_subcommand(
      "compare", "Two evaluated runs photo by photo: accuracies, photos that B mends and breaks, an exact sign test");
  const auto options = std::make_shared<CompareOptions>();
  verb->add_option("RUN_A", options->a, "Folder with predictions.json (train and evaluate write it), or such a file")
      ->required();
  verb->add_option("RUN_B", options->b, "Another, over the same pictures")->required();
  verb->add_flag("--list", options->list, "Names the photos: mended or broken, tab, path");
  verb->add_flag("--json", options->json, "As a JSON object");
  verb->footer(
      "p is how often a fair coin, tossed once for each photo that only one of the two has right, would fall at least "
      "as unevenly.");
  verb->callback([options] { run(*options); });
}

}  // namespace weft::cli
