#include "nn/scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/error.h"

namespace weft {
namespace {

/// log(sum(exp(logits))), without overflow: the largest is taken out first.
double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

}  // namespace

std::vector<double> probabilities_of(std::span<const float> logits) {
  const double total = log_sum_exp(logits);
  std::vector<double> probabilities;
  for (float logit : logits) probabilities.push_back(std::exp(logit - total));
  return probabilities;
}

Scores::Scores(std::int64_t classes) {
  const auto n = static_cast<std::size_t>(classes);
  evaluation_.confusion.assign(n, std::vector<std::int64_t>(n, 0));
}

double Scores::add(std::span<const float> logits, std::int32_t label) {
  if (label < 0 || static_cast<std::size_t>(label) >= logits.size())
    fail(fmt::format("a picture has label {}, and the model knows {} classes", label, logits.size()));
  const auto predicted = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const double loss = log_sum_exp(logits) - logits[static_cast<std::size_t>(label)];
  ++evaluation_.confusion[static_cast<std::size_t>(label)][static_cast<std::size_t>(predicted)];
  loss_sum_ += loss;
  right_ += predicted == label;
  ++pictures_;
  return loss;
}

double Scores::add(std::span<const float> logits, std::int32_t label, std::string path) {
  const std::vector<double> probabilities = probabilities_of(logits);
  evaluation_.predictions.push_back({std::move(path), label, {probabilities.begin(), probabilities.end()}});
  return add(logits, label);
}

Evaluation Scores::result(const double* loss_sum) const {
  Evaluation evaluation = evaluation_;
  const double pictures = static_cast<double>(std::max<std::int64_t>(pictures_, 1));
  evaluation.loss = (loss_sum ? *loss_sum : loss_sum_) / pictures;
  evaluation.accuracy = static_cast<double>(right_) / pictures;
  return evaluation;
}

}  // namespace weft
