#pragma once
// What a trained model gets right and wrong, and which pictures show it best.

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "data/dataset.h"
#include "data/image.h"
#include "nn/scores.h"

namespace weft {

/// Which pictures of a class are looked at, as fast.ai's first lesson shows them.
enum class Notable {
  most_correct,    ///< taken for what they are, the surest first
  most_incorrect,  ///< of this class and taken for another, the surest of it first
  most_uncertain,  ///< of this class, the two likeliest classes closest to each other first
};

/// At most `count` predictions whose true class is `label`, by index, the most notable first; equals in their order.
std::vector<std::size_t> notable_pictures(std::span<const Prediction> predictions, int label, Notable which,
                                          std::size_t count);

/// The same where a picture may have several labels and each is a question of its own, answered by a probability above
/// `threshold`. Most correct: those with the label that are said to have it, the surest first. Most incorrect: those
/// with it that are not, and those without it that are, the surest first. Most uncertain: the closest to the threshold.
std::vector<std::size_t> notable_for_label(std::span<const Prediction> predictions, int label, double threshold,
                                           Notable which, std::size_t count);

/// Whether a picture has the label, where it may have several.
bool has_label(const Prediction& prediction, int label);

/// A pair of classes that are confused.
struct ConfusedPair {
  int truth = 0, predicted = 0;
  std::int64_t pictures = 0;
};

/// Pairs of different classes by how often one was taken for the other, the most often first; none that never was.
/// `confusion` is Evaluation's, [truth][predicted].
std::vector<ConfusedPair> most_confused(const std::vector<std::vector<std::int64_t>>& confusion);

/// Items as the network gets them without augmentation: (count, H, W, C), normalised.
Tensor load_items(const Dataset& data, std::span<const std::int64_t> indices);

/// Such an item as a picture to look at: the normalisation undone, rounded to 8 bits, one channel as grey. `item` is
/// (height, width, channels). Throws Error unless there are 1 or 3 channels.
Image picture_of(std::span<const float> item, ItemShape shape, const Normalization& normalization);

}  // namespace weft
