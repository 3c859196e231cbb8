#include "nn/metrics.h"

#include <algorithm>
#include <numeric>

namespace weft {
namespace {

double quotient(double above, double below) {
  return below > 0 ? above / below : 0;
}

template <class Metric>
double mean(std::span<const ClassCounts> counts, Metric metric) {
  double sum = 0;
  for (const ClassCounts& one : counts) sum += metric(one);
  return quotient(sum, static_cast<double>(counts.size()));
}

/// Of one picture: its labels against those it was taken for, both ascending.
ClassCounts counts_of(const Prediction& prediction, double threshold) {
  ClassCounts counts;
  std::size_t next = 0;
  for (std::size_t c = 0; c < prediction.probabilities.size(); ++c) {
    const bool is = next < prediction.labels.size() && prediction.labels[next] == static_cast<int>(c);
    next += is;
    counts.add(is, prediction.probabilities[c] > threshold);
  }
  return counts;
}

}  // namespace

double precision(const ClassCounts& counts) {
  return quotient(static_cast<double>(counts.tp), static_cast<double>(counts.tp + counts.fp));
}

double recall(const ClassCounts& counts) {
  return quotient(static_cast<double>(counts.tp), static_cast<double>(counts.tp + counts.fn));
}

double f_beta(const ClassCounts& counts, double beta) {
  const double square = beta * beta, found = (1 + square) * static_cast<double>(counts.tp);
  return quotient(found, found + square * static_cast<double>(counts.fn) + static_cast<double>(counts.fp));
}

double macro_precision(std::span<const ClassCounts> counts) {
  return mean(counts, precision);
}

double macro_recall(std::span<const ClassCounts> counts) {
  return mean(counts, recall);
}

double macro_f_beta(std::span<const ClassCounts> counts, double beta) {
  return mean(counts, [beta](const ClassCounts& one) { return f_beta(one, beta); });
}

double micro_f_beta(std::span<const ClassCounts> counts, double beta) {
  ClassCounts all;
  for (const ClassCounts& one : counts) {
    all.tp += one.tp;
    all.fp += one.fp;
    all.fn += one.fn;
    all.tn += one.tn;
  }
  return f_beta(all, beta);
}

double top_k_accuracy(const Evaluation& evaluation, int k) {
  const auto& ranks = evaluation.ranks;
  const auto within = std::min(ranks.size(), static_cast<std::size_t>(std::max(k, 0)));
  const auto first = std::accumulate(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(within), 0.0);
  return quotient(first, std::accumulate(ranks.begin(), ranks.end(), 0.0));
}

double samples_f_beta(std::span<const Prediction> predictions, double threshold, double beta) {
  double sum = 0;
  for (const Prediction& prediction : predictions) sum += f_beta(counts_of(prediction, threshold), beta);
  return quotient(sum, static_cast<double>(predictions.size()));
}

double exact_match(std::span<const Prediction> predictions, double threshold) {
  double right = 0;
  for (const Prediction& prediction : predictions) {
    const ClassCounts counts = counts_of(prediction, threshold);
    right += counts.fp == 0 && counts.fn == 0;
  }
  return quotient(right, static_cast<double>(predictions.size()));
}

double best_threshold(std::span<const Prediction> predictions, double beta) {
  double best = 0.5, highest = -1;
  for (int percent = 5; percent <= 95; ++percent) {
    const double threshold = percent / 100.0, score = samples_f_beta(predictions, threshold, beta);
    if (score > highest) {
      highest = score;
      best = threshold;
    }
  }
  return best;
}

std::vector<int> labels_above(const Prediction& prediction, double threshold) {
  std::vector<int> labels;
  for (std::size_t c = 0; c < prediction.probabilities.size(); ++c)
    if (prediction.probabilities[c] > threshold) labels.push_back(static_cast<int>(c));
  return labels;
}

int most_probable(const Prediction& prediction) {
  const auto& p = prediction.probabilities;
  return static_cast<int>(std::max_element(p.begin(), p.end()) - p.begin());
}

}  // namespace weft
