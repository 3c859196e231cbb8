#pragma once
// Means and variances of parts of a channel, which merge without cancellation (Chan, Golub and LeVeque, "Updating
// Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979). The sum of x^2 less the square of the sum
// would lose every digit where the mean is large beside the deviation.

#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Of some elements of a channel: how many, their mean, and the sum of (x - mean)^2.
struct Moments {
  float count = 0, mean = 0, squares = 0;
};

/// With one element more, by the mean's own running correction (Welford, "Note on a Method for Calculating Corrected
/// Sums of Squares and Products", 1962): mean += (x - mean) / count, squares += (x - old mean) (x - new mean).
__device__ inline Moments append(const Moments& so_far, float x) {
  const float count = so_far.count + 1, difference = x - so_far.mean, mean = so_far.mean + difference / count;
  return {count, mean, so_far.squares + difference * (x - mean)};
}

/// Of two parts together (Chan, Golub and LeVeque); append() is its case of a part of one element.
__device__ inline Moments merge(const Moments& a, const Moments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float difference = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + difference * share, a.squares + b.squares + difference * difference * a.count * share};
}

}  // namespace weft::WEFT_TARGET
