#pragma once
// Loss, accuracy, confusion and probabilities from logits, in double precision on the host.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace weft {

struct Prediction {
  std::string path;
  int label = -1;                    ///< the true class where known, else -1; with several labels a picture always -1
  std::vector<float> probabilities;  ///< one for each class
  std::vector<int> labels = {};      ///< with several labels a picture: the true ones where known, ascending
};

/// How often a picture was taken for a class (positive) or not, rightly (true) or not.
struct ClassCounts {
  std::int64_t tp = 0, fp = 0, fn = 0, tn = 0;
  void add(bool is, bool taken_for) { ++(is ? (taken_for ? tp : fn) : (taken_for ? fp : tn)); }
  bool operator==(const ClassCounts&) const = default;
};

struct Evaluation {
  /// Accuracy: the part of pictures whose most probable class is theirs; with several labels a picture, the part of all
  /// (picture, label) pairs that are right.
  double loss = 0, accuracy = 0;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [truth][predicted]; empty with several labels a picture
  std::vector<Prediction> predictions;
  std::vector<ClassCounts> counts = {};  ///< by class
  std::vector<std::int64_t> ranks = {};  ///< pictures whose true class was the i-th most probable; with one label each
};

/// Collects pictures one by one.
class Scores {
 public:
  /// With `multi_label` each class is a question of its own, answered by sigmoid(logit) > threshold; else softmax.
  explicit Scores(std::int64_t classes, bool multi_label = false, double threshold = 0.5);
  /// A picture's logits and true class. Returns its cross-entropy. Throws Error for a label that is no class.
  double add(std::span<const float> logits, std::int32_t label);
  /// The same, keeping the prediction under `path`.
  double add(std::span<const float> logits, std::int32_t label, std::string path);
  /// With `multi_label`: a picture's true labels. Returns its binary cross-entropy, a mean over the classes.
  double add(std::span<const float> logits, const std::vector<int>& labels);
  double add(std::span<const float> logits, const std::vector<int>& labels, std::string path);
  /// Counts what probabilities, one for each class, say, and keeps them: the mean over several versions of a picture.
  void add(Prediction prediction);
  /// Means over what was added; `loss` replaces the cross-entropy's sum where the model is trained by another loss.
  Evaluation result(const double* loss_sum = nullptr) const;

 private:
  void check(int label) const;
  void count(std::span<const float> scores, int label);
  void count(const std::vector<bool>& taken_for, const std::vector<int>& labels);

  Evaluation evaluation_;
  bool multi_label_;
  double threshold_;
  double loss_sum_ = 0;
  std::int64_t pictures_ = 0, right_ = 0;
};

/// softmax(logits), in double precision.
std::vector<double> probabilities_of(std::span<const float> logits);
/// sigmoid(logits), each for itself.
std::vector<double> sigmoids_of(std::span<const float> logits);

}  // namespace weft
