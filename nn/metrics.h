#pragma once
// What an evaluation says beyond its loss, in the words of the field. Each is computed from counts that Scores gathers,
// or from predictions, on the host. Where a quotient has nothing below it, it is 0 (scikit-learn's zero_division=0).

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nn/scores.h"

namespace weft {

/// tp / (tp + fp): of what was taken for the class, the part that is.
double precision(const ClassCounts& counts);
/// tp / (tp + fn): of what is the class, the part that was found.
double recall(const ClassCounts& counts);
/// (1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp): the harmonic mean of precision and recall, the latter weighing
/// beta times as much. Van Rijsbergen, "Information Retrieval", 1979.
double f_beta(const ClassCounts& counts, double beta = 1);

/// The mean over the classes, each as heavy as any other ("macro").
double macro_precision(std::span<const ClassCounts> counts);
double macro_recall(std::span<const ClassCounts> counts);
double macro_f_beta(std::span<const ClassCounts> counts, double beta = 1);
/// All classes' counts added up first ("micro"). With one label a picture, precision and recall are then the accuracy.
double micro_f_beta(std::span<const ClassCounts> counts, double beta = 1);

/// Part of the pictures whose true class is among the k most probable. 0 for several labels a picture.
double top_k_accuracy(const Evaluation& evaluation, int k);

/// With several labels a picture: the mean over the pictures of each one's F-beta, as fast.ai's lesson on satellite
/// images scores with beta 2. A picture without labels of which none was said counts 0, as in scikit-learn.
double samples_f_beta(std::span<const Prediction> predictions, double threshold, double beta);
/// Part of the pictures whose labels are all right.
double exact_match(std::span<const Prediction> predictions, double threshold);
/// The threshold from 0.05 to 0.95, in steps of 0.01, with the highest samples_f_beta(); the lowest of equals.
double best_threshold(std::span<const Prediction> predictions, double beta);

/// The classes whose probability is above the threshold: what a picture with several labels is taken for.
std::vector<int> labels_above(const Prediction& prediction, double threshold);
/// The class that is most probable.
int most_probable(const Prediction& prediction);

}  // namespace weft
