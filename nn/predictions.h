#pragma once
// predictions.json: what a model says of each picture, for whoever ranks pictures by it.
//
//   {"classes": ["cats", "dogs"], "multi_label": false,
//    "predictions": [{"path": "...", "label": "cats", "predicted": "dogs", "probabilities": [0.2, 0.8]}, ...]}
//
// With several labels a picture there is a "threshold", and "labels" and "predicted" are lists. A label that is not
// known is left out.

#include <filesystem>
#include <string>
#include <vector>

#include "nn/model.h"
#include "nn/scores.h"

namespace weft {

inline constexpr const char* kPredictionsFile = "predictions.json";

struct Predictions {
  Classes classes;
  bool multi_label = false;
  double threshold = 0.5;
  std::vector<Prediction> predictions;
};

/// Throws Error where the file cannot be written; a former one is then intact.
void save_predictions(const std::filesystem::path& path, const Predictions& predictions);
/// Throws Error: the file, what is wrong.
Predictions load_predictions(const std::filesystem::path& path);

}  // namespace weft
