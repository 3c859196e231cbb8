#pragma once
// Mean and variance of parts, put together without cancellation: T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating
// formulae and a pairwise algorithm for computing sample variances", 1979.

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
