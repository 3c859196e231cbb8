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

std::vector<double> sigmoids_of(std::span<const float> logits) {
  std::vector<double> probabilities;
  for (const double logit : logits) {
    const double e = std::exp(-std::abs(logit));
    probabilities.push_back((logit >= 0 ? 1 : e) / (1 + e));
  }
  return probabilities;
}

Scores::Scores(std::int64_t classes, bool multi_label, double threshold)
    : multi_label_(multi_label), threshold_(threshold) {
  const auto n = static_cast<std::size_t>(classes);
  evaluation_.counts.resize(n);
  if (multi_label) return;
  evaluation_.confusion.assign(n, std::vector<std::int64_t>(n, 0));
  evaluation_.ranks.assign(n, 0);
}

void Scores::check(int label) const {
  if (label < 0 || static_cast<std::size_t>(label) >= evaluation_.counts.size())
    fail(fmt::format("a picture has label {}, and the model knows {} classes", label, evaluation_.counts.size()));
}

void Scores::count(std::span<const float> scores, int label) {
  check(label);
  const auto truth = static_cast<std::size_t>(label);
  const auto predicted = static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  ++evaluation_.confusion[truth][predicted];
  std::size_t before = 0;  // the first of equals counts as the more probable, as above
  for (std::size_t c = 0; c < scores.size(); ++c) {
    before += scores[c] > scores[truth] || (scores[c] == scores[truth] && c < truth);
    evaluation_.counts[c].add(c == truth, c == predicted);
  }
  ++evaluation_.ranks[std::min(before, scores.size() - 1)];
  right_ += predicted == truth;
  ++pictures_;
}

void Scores::count(const std::vector<bool>& taken_for, const std::vector<int>& labels) {
  std::vector<bool> is(taken_for.size(), false);
  for (const int label : labels) {
    check(label);
    is[static_cast<std::size_t>(label)] = true;
  }
  for (std::size_t c = 0; c < taken_for.size(); ++c) {
    evaluation_.counts[c].add(is[c], taken_for[c]);
    right_ += is[c] == taken_for[c];
  }
  ++pictures_;
}

double Scores::add(std::span<const float> logits, std::int32_t label) {
  count(logits, label);
  const double loss = log_sum_exp(logits) - logits[static_cast<std::size_t>(label)];
  loss_sum_ += loss;
  return loss;
}

double Scores::add(std::span<const float> logits, std::int32_t label, std::string path) {
  const std::vector<double> probabilities = probabilities_of(logits);
  evaluation_.predictions.push_back({std::move(path), label, {probabilities.begin(), probabilities.end()}});
  return add(logits, label);
}

double Scores::add(std::span<const float> logits, const std::vector<int>& labels) {
  std::vector<bool> taken_for;
  for (const double p : sigmoids_of(logits)) taken_for.push_back(p > threshold_);
  count(taken_for, labels);
  double loss = 0;
  for (const double x : logits) loss += std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  for (const int label : labels) loss -= logits[static_cast<std::size_t>(label)];
  loss /= static_cast<double>(logits.size());
  loss_sum_ += loss;
  return loss;
}

double Scores::add(std::span<const float> logits, const std::vector<int>& labels, std::string path) {
  const std::vector<double> probabilities = sigmoids_of(logits);
  evaluation_.predictions.push_back({std::move(path), -1, {probabilities.begin(), probabilities.end()}, labels});
  return add(logits, labels);
}

void Scores::add(Prediction prediction) {
  const std::vector<float>& p = prediction.probabilities;
  // A float's probability may have rounded to 0 or 1; the loss stays finite.
  const auto nll = [](double probability) { return -std::log(std::max(probability, 1e-12)); };
  if (multi_label_) {
    std::vector<bool> taken_for;
    for (const float probability : p) taken_for.push_back(probability > threshold_);
    count(taken_for, prediction.labels);
    double loss = 0;
    for (std::size_t c = 0; c < p.size(); ++c) {
      const auto& labels = prediction.labels;
      const bool is = std::find(labels.begin(), labels.end(), static_cast<int>(c)) != labels.end();
      loss += nll(is ? p[c] : 1.0 - p[c]);
    }
    loss_sum_ += loss / static_cast<double>(p.size());
  } else {
    count(p, prediction.label);
    loss_sum_ += nll(p[static_cast<std::size_t>(prediction.label)]);
  }
  evaluation_.predictions.push_back(std::move(prediction));
}

Evaluation Scores::result(const double* loss_sum) const {
  Evaluation evaluation = evaluation_;
  const double pictures = static_cast<double>(std::max<std::int64_t>(pictures_, 1));
  const double answers = multi_label_ ? pictures * static_cast<double>(evaluation.counts.size()) : pictures;
  evaluation.loss = (loss_sum ? *loss_sum : loss_sum_) / pictures;
  evaluation.accuracy = static_cast<double>(right_) / answers;
  return evaluation;
}

}  // namespace weft
