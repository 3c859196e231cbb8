#include "nn/predictions.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "kernels/error.h"
#include "nn/metrics.h"

namespace weft {
namespace {

using Json = nlohmann::ordered_json;

int index_of(const Classes& classes, const std::string& name, const std::filesystem::path& path) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  if (found == classes.end()) fail(fmt::format("{}: \"{}\" is not one of its classes", path.string(), name));
  return static_cast<int>(found - classes.begin());
}

}  // namespace

void save_predictions(const std::filesystem::path& path, const Predictions& predictions) {
  const Classes& classes = predictions.classes;
  const auto names = [&classes](const std::vector<int>& labels) {
    Json list = Json::array();
    for (const int label : labels) list.push_back(classes[static_cast<std::size_t>(label)]);
    return list;
  };
  // A picture a line: a text that can be looked at, and still one object.
  std::string text = fmt::format("{{\"classes\": {}, \"multi_label\": {}", Json(classes).dump(),
                                 predictions.multi_label ? "true" : "false");
  if (predictions.multi_label) text += fmt::format(", \"threshold\": {}", predictions.threshold);
  text += ",\n\"predictions\": [";
  const char* separator = "\n";
  for (const Prediction& one : predictions.predictions) {
    Json line = {{"path", one.path}};
    if (predictions.multi_label) {
      line["labels"] = names(one.labels);
      line["predicted"] = names(labels_above(one, predictions.threshold));
    } else {
      if (one.label >= 0) line["label"] = classes[static_cast<std::size_t>(one.label)];
      line["predicted"] = classes[static_cast<std::size_t>(most_probable(one))];
    }
    // A float's digits, not those of the double next to it.
    line["probabilities"] = Json::array();
    for (const float p : one.probabilities) line["probabilities"].push_back(std::stod(fmt::format("{}", p)));
    text += separator + line.dump(-1, ' ', false, Json::error_handler_t::replace);  // a path need not be UTF-8
    separator = ",\n";
  }
  write_file_atomically(path, text + "\n]}\n");
}

Predictions load_predictions(const std::filesystem::path& path) {
  Predictions result;
  try {
    const Json json = Json::parse(read_file(path));
    result.classes = json.at("classes").get<Classes>();
    result.multi_label = json.at("multi_label").get<bool>();
    result.threshold = json.value("threshold", 0.5);
    for (const Json& line : json.at("predictions")) {
      Prediction one;
      one.path = line.at("path").get<std::string>();
      one.probabilities = line.at("probabilities").get<std::vector<float>>();
      if (one.probabilities.size() != result.classes.size())
        fail(fmt::format("{}: {} has {} probabilities, and there are {} classes", path.string(), one.path,
                         one.probabilities.size(), result.classes.size()));
      if (line.contains("label")) one.label = index_of(result.classes, line["label"].get<std::string>(), path);
      for (const Json& name : line.value("labels", Json::array()))
        one.labels.push_back(index_of(result.classes, name.get<std::string>(), path));
      result.predictions.push_back(std::move(one));
    }
  } catch (const Json::exception& problem) {
    fail(fmt::format("{}: not a file of predictions: {}", path.string(), problem.what()));
  }
  return result;
}

}  // namespace weft
