#include "optim/lr_finder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace weft {
namespace {

constexpr int kFewest = 10;

bool by_smooth_loss(const LrPoint& a, const LrPoint& b) {
  return a.smooth < b.smooth;
}

double steepest(std::span<const LrPoint> points) {
  std::size_t best = 0;
  double least = 0;
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    const double slope = (points[i + 1].smooth - points[i].smooth) / std::log(points[i + 1].lr / points[i].lr);
    if (i == 0 || slope < least) {
      best = i;
      least = slope;
    }
  }
  return points[best].lr;
}

double valley(std::span<const LrPoint> points) {
  // length[i]: of the longest falling subsequence that ends at i. The square of a few hundred points is nothing.
  std::vector<std::size_t> length(points.size(), 1);
  for (std::size_t i = 1; i < points.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (points[i].smooth < points[j].smooth) length[i] = std::max(length[i], length[j] + 1);
  const auto end = static_cast<std::size_t>(std::max_element(length.begin(), length.end()) - length.begin());
  // A subsequence of so many points takes at least so many steps: that is where it begins, at the latest.
  const std::size_t start = end >= length[end] ? end - length[end] : 0;
  const double third = static_cast<double>(end - start) / 3;
  return points[start + static_cast<std::size_t>(third) + static_cast<std::size_t>(third / 2)].lr;
}

}  // namespace

void check(const LrSweep& sweep) {
  if (!(sweep.lowest > 0) || !(sweep.highest > sweep.lowest) || !std::isfinite(sweep.highest))
    throw UsageError(fmt::format("a sweep goes from a rate above 0 to a higher one, not from {} to {}", sweep.lowest,
                                 sweep.highest));
  if (sweep.steps < kFewest)
    throw UsageError(fmt::format("a sweep of {} steps shows nothing; it takes {} or more", sweep.steps, kFewest));
}

double lr_at(const LrSweep& sweep, std::int64_t step) {
  const double part = static_cast<double>(step) / (sweep.steps - 1);
  if (sweep.linear) return sweep.lowest + (sweep.highest - sweep.lowest) * part;
  return sweep.lowest * std::pow(sweep.highest / sweep.lowest, part);
}

bool LrCurve::add(double lr, double loss) {
  constexpr double kMemory = 0.98, kDiverged = 4;
  if (!std::isfinite(loss)) return false;
  average_ = kMemory * average_ + (1 - kMemory) * loss;
  weight_ *= kMemory;
  const double smooth = average_ / (1 - weight_);
  lowest_ = points_.empty() ? smooth : std::min(lowest_, smooth);
  points_.push_back({lr, loss, smooth});
  return smooth <= kDiverged * lowest_;
}

LrSuggestions suggest(std::span<const LrPoint> points) {
  const std::size_t first = points.size() / 10, last = 5;
  if (points.size() < first + last + kFewest) return {};
  points = points.subspan(first, points.size() - first - last);
  const double low = steepest(points);
  const double high = std::min_element(points.begin(), points.end(), by_smooth_loss)->lr / 10;
  LrSuggestions suggestions{.steepest = low, .valley = valley(points), .minimum_over_10 = high, .proposed = {}};
  if (low < high) suggestions.proposed = std::sqrt(low * high);
  return suggestions;
}

std::vector<NamedRate> listed(const LrSuggestions& suggestions) {
  std::vector<NamedRate> rates;
  const auto add = [&rates](const char* name, const std::optional<double>& lr, const char* what) {
    if (lr) rates.push_back({name, *lr, what});
  };
  add("proposed", suggestions.proposed, "halfway from steepest to minimum / 10: a good --lr");
  add("valley", suggestions.valley, "middle of the longest way down: cautious");
  add("steepest", suggestions.steepest, "where the loss falls fastest");
  add("minimum / 10", suggestions.minimum_over_10, "a tenth of where it is lowest");
  return rates;
}

}  // namespace weft
