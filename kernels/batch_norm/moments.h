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

__device__ inline Moments merge(const Moments& a, const Moments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float difference = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + difference * share, a.squares + b.squares + difference * difference * a.count * share};
}

}  // namespace weft::WEFT_TARGET
