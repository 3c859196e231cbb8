#include "nn/interpretation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/transform.h"
#include "kernels/error.h"
#include "nn/metrics.h"

namespace weft {
namespace {

/// How far the likeliest class is ahead of the next.
float lead_of(const Prediction& prediction) {
  std::vector<float> sorted = prediction.probabilities;
  std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
  return sorted[0] - sorted[1];
}

float largest(const Prediction& prediction) {
  return prediction.probabilities[static_cast<std::size_t>(most_probable(prediction))];
}

/// Indices by key, the smallest first, equals in their order; at most `count`.
std::vector<std::size_t> first_of(std::vector<std::pair<double, std::size_t>> ranked, std::size_t count) {
  std::ranges::stable_sort(ranked, [](const auto& a, const auto& b) { return a.first < b.first; });
  ranked.resize(std::min(ranked.size(), count));
  std::vector<std::size_t> indices;
  for (const auto& [key, index] : ranked) indices.push_back(index);
  return indices;
}

}  // namespace

std::vector<std::size_t> notable_pictures(std::span<const Prediction> predictions, int label, Notable which,
                                          std::size_t count) {
  std::vector<std::pair<double, std::size_t>> ranked;
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const Prediction& prediction = predictions[i];
    if (prediction.label != label) continue;
    const bool right = most_probable(prediction) == label;
    if (which == Notable::most_uncertain)
      ranked.emplace_back(lead_of(prediction), i);
    else if (right == (which == Notable::most_correct))
      ranked.emplace_back(-largest(prediction), i);
  }
  return first_of(std::move(ranked), count);
}

bool has_label(const Prediction& prediction, int label) {
  return std::ranges::find(prediction.labels, label) != prediction.labels.end();
}

std::vector<std::size_t> notable_for_label(std::span<const Prediction> predictions, int label, double threshold,
                                           Notable which, std::size_t count) {
  std::vector<std::pair<double, std::size_t>> ranked;
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const double probability = predictions[i].probabilities[static_cast<std::size_t>(label)];
    const bool is = has_label(predictions[i], label), said = probability > threshold;
    if (which == Notable::most_uncertain)
      ranked.emplace_back(std::abs(probability - threshold), i);
    else if (which == Notable::most_correct && is && said)
      ranked.emplace_back(-probability, i);
    else if (which == Notable::most_incorrect && is != said)
      ranked.emplace_back(said ? -probability : probability - 1, i);
  }
  return first_of(std::move(ranked), count);
}

std::vector<ConfusedPair> most_confused(const std::vector<std::vector<std::int64_t>>& confusion) {
  std::vector<ConfusedPair> pairs;
  for (std::size_t truth = 0; truth < confusion.size(); ++truth)
    for (std::size_t predicted = 0; predicted < confusion[truth].size(); ++predicted)
      if (truth != predicted && confusion[truth][predicted] > 0)
        pairs.push_back({static_cast<int>(truth), static_cast<int>(predicted), confusion[truth][predicted]});
  std::stable_sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.pictures > b.pictures; });
  return pairs;
}

Tensor load_items(const Dataset& data, std::span<const std::int64_t> indices) {
  const ItemShape shape = data.shape();
  Tensor items({static_cast<std::int64_t>(indices.size()), shape.height, shape.width, shape.channels});
  float* item = items.values<float>().data();
  for (const std::int64_t index : indices) {
    Philox random = item_random(0, 0, index);
    data.load(index, random, item);
    item += shape.size();
  }
  return items;
}

Image picture_of(std::span<const float> item, ItemShape shape, const Normalization& normalization) {
  if (shape.channels != 1 && shape.channels != 3)
    fail(fmt::format("a picture to look at has 1 or 3 channels, not {}", shape.channels));
  Image image(shape.width, shape.height);
  const auto channels = static_cast<std::size_t>(shape.channels);
  for (std::size_t pixel = 0; pixel < image.rgb.size() / 3; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) {
      const std::size_t from = std::min(c, channels - 1);
      const float value = item[pixel * channels + from] * normalization.std[from] + normalization.mean[from];
      image.rgb[pixel * 3 + c] = static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0f, 1.0f) * 255));
    }
  }
  return image;
}

}  // namespace weft
