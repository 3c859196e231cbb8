#pragma once
// The learning-rate range test (Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, section 3.3), but
// for the training itself: which rates to try, how the loss is smoothed, when it has diverged, and which rate the curve
// suggests. Smoothing, divergence and the first three suggestions are fastai's (callback/schedule.py, LRFinder).

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace weft {

/// The rates to try, one a mini-batch, from the lowest to the highest.
struct LrSweep {
  double lowest = 1e-7, highest = 10;
  int steps = 100;
  bool linear = false;  ///< by equal differences; else by equal factors
};

/// Throws UsageError unless 0 < lowest < highest and there are 10 steps or more.
void check(const LrSweep& sweep);
/// The rate at step 0 <= i < steps: lowest (highest / lowest)^(i / (steps - 1)), or lowest + (highest - lowest) i /
/// (steps - 1) where it is linear.
double lr_at(const LrSweep& sweep, std::int64_t step);

struct LrPoint {
  double lr = 0, loss = 0;
  double smooth = 0;  ///< loss, smoothed over the points up to this one
};

/// The losses of a sweep as they come in.
class LrCurve {
 public:
  /// Adds the loss that a mini-batch had before the step at rate `lr`. The smoothed loss is the moving average
  /// a = 0.98 a + 0.02 loss, from 0, over 1 - 0.98^n, which makes up for the start. False where the loss has diverged:
  /// it is no number, or its smoothed value is above four times the lowest so far. A loss that is no number is not
  /// kept.
  bool add(double lr, double loss);
  const std::vector<LrPoint>& points() const { return points_; }

 private:
  std::vector<LrPoint> points_;
  double average_ = 0, lowest_ = 0, weight_ = 1;
};

/// Rates to train with. None where there are too few points to tell.
struct LrSuggestions {
  /// Where the smoothed loss falls fastest over log(rate).
  std::optional<double> steepest;
  /// In the middle of the longest way down: of the smoothed losses that form the longest falling subsequence. It
  /// moves with the noise of the flat part before it, and is rather low for a new head.
  std::optional<double> valley;
  /// A tenth of the rate with the lowest smoothed loss: beyond that it is about to diverge.
  std::optional<double> minimum_over_10;
  /// The one to take: sqrt(steepest * minimum_over_10), halfway between the two on a logarithmic axis. A rule of this
  /// project, in no paper and not fastai's, chosen by looking at the curves of two data sets, the drawn cats and dogs
  /// and photos of pets: there `steepest` was the low end of what trains well and `minimum_over_10` the high end, and
  /// each moved with the order of the batches, their mean far less. None where the steepest place is not below the
  /// other, which is what a loss that does not clearly fall looks like.
  std::optional<double> proposed;
};

/// One of them, for a table or a plot.
struct NamedRate {
  const char* name;
  double lr;
  const char* what;  ///< in a few words
};

/// Those that there are, the proposal first.
std::vector<NamedRate> listed(const LrSuggestions& suggestions);

/// Of a sweep's points. The first tenth of them, where nothing moves yet, and the last five, where it breaks down, are
/// left out; with fewer than 10 left there are no suggestions.
LrSuggestions suggest(std::span<const LrPoint> points);

}  // namespace weft
