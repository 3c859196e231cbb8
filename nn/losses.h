#pragma once
// Losses, and the targets that they are given. A loss adds nodes to a graph (Loss, nn/model.h); which share of each
// class a picture is to be taken for is computed on the host, a row a picture: (N, classes) is small.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/dataset.h"
#include "data/mixup.h"
#include "nn/model.h"

namespace weft {

/// The mean over the rows of -sum_c targets[n,c] log softmax(logits)[n,c]: labels are shares (N, classes), float32.
Loss soft_cross_entropy_loss();
/// The mean over rows and classes of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)): torch's BCEWithLogitsLoss. Labels
/// are 0 or 1 or between, (N, classes), float32.
Loss binary_cross_entropy_loss();
/// The same where a label that is there weighs p as much as one that is not: the mean over rows and classes of
/// -p t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), torch's BCEWithLogitsLoss(pos_weight = p). Labels are pairs
/// (1 - t, p t), class by class: (N, 2 classes), float32. It needs no kernel of its own: sigmoid(x) is the softmax of
/// the two logits (0, x), so this is cross-entropy with those pairs over N * classes rows of two.
Loss weighted_binary_cross_entropy_loss();

/// What turns labels into shares.
struct TargetOptions {
  /// Taken from the right class and spread over all: (1 - s) [c = label] + s / classes. Szegedy et al., "Rethinking the
  /// Inception Architecture for Computer Vision", 2016. With several labels a picture: t (1 - s) + s / 2.
  double label_smoothing = 0;
  /// One for each class, or none: all 1. With several labels a picture: what a label that is there weighs beside one
  /// that is not.
  std::vector<float> class_weights = {};
  /// A picture may have several labels, or none.
  bool multi_label = false;
};

/// Rows of shares for rows of labels (the classes of each picture: one, or with multi_label any number), such that
/// soft_cross_entropy_loss() of them is torch's CrossEntropyLoss(weight, label_smoothing), reduced to its mean:
///   for labels      sum_n w[y_n] nll_n / sum_n w[y_n], smoothed;
///   for a mixture   torch's form for probabilities: the weighted sum over n and c, divided by N.
/// With multi_label they are for binary_cross_entropy_loss(), and with weights too the pairs of
/// weighted_binary_cross_entropy_loss(). Throws Error for a label that is no class, and for weights that are not one
/// for each class and positive.
Tensor targets_of(const std::vector<std::vector<int>>& labels, std::int64_t classes, const TargetOptions& options,
                  const Mixture* mixture = nullptr);

/// "balanced": pictures / (classes * pictures of this class), so that each class weighs the same in all (as
/// scikit-learn's). With several labels a picture: pictures without the label / pictures with it, so that both weigh
/// the same (as torch's documentation of pos_weight has it). A class of which there is nothing to compare weighs 1.
std::vector<float> balanced_weights(const Dataset& data, std::int64_t classes);

/// From "balanced" or "1,2.5,1": one for each class, in the classes' order. Empty for "". Throws UsageError.
std::vector<float> parse_class_weights(const std::string& text, const Dataset& data, std::int64_t classes);

}  // namespace weft
