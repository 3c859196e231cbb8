#pragma once
// Loss, accuracy, confusion and probabilities from logits, in double precision on the host.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace weft {

struct Prediction {
  std::string path;
  int label = -1;                    ///< the true class where known, else -1
  std::vector<float> probabilities;  ///< one for each class
};

struct Evaluation {
  double loss = 0, accuracy = 0;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [truth][predicted]
  std::vector<Prediction> predictions;
};

/// Collects pictures one by one.
class Scores {
 public:
  explicit Scores(std::int64_t classes);
  /// A picture's logits and true class. Returns its cross-entropy. Throws Error for a label that is no class.
  double add(std::span<const float> logits, std::int32_t label);
  /// The same, keeping the prediction under `path`.
  double add(std::span<const float> logits, std::int32_t label, std::string path);
  /// Means over what was added; `loss` replaces the cross-entropy's sum where the model is trained by another loss.
  Evaluation result(const double* loss_sum = nullptr) const;

 private:
  Evaluation evaluation_;
  double loss_sum_ = 0;
  std::int64_t pictures_ = 0, right_ = 0;
};

/// softmax(logits), in double precision.
std::vector<double> probabilities_of(std::span<const float> logits);

}  // namespace weft
