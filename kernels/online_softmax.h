#pragma once
// The maximum of a row and the sum of exp(x - maximum) in one pass: Milakov and Gimelshein, "Online normalizer
// calculation for softmax" (2018). Whenever the maximum grows, the sum so far is scaled down to the new one.

#include <limits>

#include "kernels/element.h"
#include "kernels/reduce.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Of no elements: the lowest finite number, not minus infinity, since exp(-inf - -inf) would be NaN. A row that is all
/// minus infinity ends as 0 / 0, NaN, which is what torch says of it.
struct MaxSum {
  float maximum = std::numeric_limits<float>::lowest();
  float sum = 0;  ///< of exp(x - maximum)
};

__device__ inline MaxSum append(const MaxSum& so_far, float x) {
  const float maximum = fmaxf(so_far.maximum, x);
  return {maximum, so_far.sum * expf(so_far.maximum - maximum) + expf(x - maximum)};
}

/// The same for a pack: the sum so far is scaled once rather than for each element.
template <class T>
__device__ inline MaxSum append(const MaxSum& so_far, const Pack<T>& pack) {
  MaxSum next = so_far;
#pragma unroll
  for (const T& x : pack.values) next.maximum = fmaxf(next.maximum, to_float(x));
  next.sum *= expf(so_far.maximum - next.maximum);
#pragma unroll
  for (const T& x : pack.values) next.sum += expf(to_float(x) - next.maximum);
  return next;
}

__device__ inline MaxSum merge(const MaxSum& a, const MaxSum& b) {
  const float maximum = fmaxf(a.maximum, b.maximum);
  return {maximum, a.sum * expf(a.maximum - maximum) + b.sum * expf(b.maximum - maximum)};
}

/// Of the warp's 32 lanes together, in every lane.
__device__ inline MaxSum warp_merge(MaxSum value) {
  for (int mask = 16; mask > 0; mask /= 2)
    value =
        merge(value, {__shfl_xor_sync(kWholeWarp, value.maximum, mask), __shfl_xor_sync(kWholeWarp, value.sum, mask)});
  return value;
}

/// Of the whole one-dimensional block, in every thread. Every thread of the block must call it.
__device__ inline MaxSum block_merge(MaxSum value) {
  __shared__ float maxima[32], sums[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  value = warp_merge(value);
  __syncthreads();  // the arrays may still be read from a call before
  if (lane == 0) {
    maxima[warp] = value.maximum;
    sums[warp] = value.sum;
  }
  __syncthreads();
  return warp_merge(lane < blockDim.x / 32 ? MaxSum{maxima[lane], sums[lane]} : MaxSum{});
}

}  // namespace weft::WEFT_TARGET
