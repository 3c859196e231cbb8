#pragma once
// Grad-CAM: where in a picture a network looked for a class. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep
// Networks via Gradient-based Localization", 2017.
//
// With A (h, w, K) the last activations that still have places, and s the logit of the class:
//   alpha_k = mean over (i, j) of ds / dA[i, j, k]          how much channel k speaks for the class
//   map[i, j] = max(0, sum_k alpha_k A[i, j, k])            where what speaks for it lies

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/executor.h"
#include "data/dataset.h"
#include "data/image.h"
#include "nn/model.h"

namespace weft {

/// A map over a picture: values (height, width), row-major. The largest is 1, or all are 0: nothing spoke for the
/// class.
struct HeatMap {
  int height = 0, width = 0;
  std::vector<float> values;

  /// The share of the map's sum inside a part of the picture, whose corners are given in fractions of its sides; a cell
  /// counts by its centre. 0 for a map without a sum.
  double share_in(double left, double top, double right, double bottom) const;
};

class GradCam {
 public:
  /// For pictures of `shape`, with the numbers that `model` has now, `batch` at a time.
  GradCam(const Model& model, std::shared_ptr<Device> device, ItemShape shape, std::int64_t batch = 16);

  /// False for a network whose first layer forgets the places (mlp): it has no maps.
  bool has_places() const { return executor_ != nullptr; }
  /// The layer whose activations are A; "" where there is none.
  const std::string& layer() const { return layer_; }

  /// The maps of data[indices[i]] for class classes[i], as the network sees them without augmentation. Throws Error
  /// unless has_places().
  std::vector<HeatMap> maps(const Dataset& data, std::span<const std::int64_t> indices, std::span<const int> classes);

 private:
  std::int64_t batch_;
  std::string layer_;
  std::unique_ptr<Executor> executor_;
};

/// `picture` with a map over it: cold is left as it is, dark red to yellow is where the map is high.
Image with_heat(const Image& picture, const HeatMap& map);

}  // namespace weft
