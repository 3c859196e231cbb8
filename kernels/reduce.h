#pragma once
// Sums and maxima over a warp and over a block. The order of the additions is fixed, so the same input gives the same
// bits in every run.

#include "kernels/target.h"

namespace weft::WEFT_TARGET {

inline constexpr unsigned kWholeWarp = 0xFFFFFFFFu;

/// The sum over the warp's 32 lanes, in every lane. A butterfly: in step k a lane adds the value of the lane whose
/// number differs in bit k, so after five steps each has them all.
__device__ inline float warp_sum(float value) {
  for (int mask = 16; mask > 0; mask /= 2) value += __shfl_xor_sync(kWholeWarp, value, mask);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int mask = 16; mask > 0; mask /= 2) value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, mask));
  return value;
}

/// The sum over the block, in every thread. blockDim.x is a multiple of 32, at most 1024, and the block is
/// one-dimensional. Every thread of the block must call it.
__device__ inline float block_sum(float value) {
  __shared__ float warp_sums[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  value = warp_sum(value);
  __syncthreads();  // the array may still be read from a call before
  if (lane == 0) warp_sums[warp] = value;
  __syncthreads();
  return warp_sum(lane < blockDim.x / 32 ? warp_sums[lane] : 0);
}

}  // namespace weft::WEFT_TARGET
