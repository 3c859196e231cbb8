#pragma once
// Sums and maxima over a warp and over a block. The order of the additions is fixed, so the same input gives the same
// bits in every run.

#include <limits>

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

/// What kOfWarp makes of a warp's values, made of the whole block's, in every thread. `nothing` stands for the warps
/// that a smaller block does not have. blockDim.x is a multiple of 32, at most 1024, and the block is one-dimensional.
/// Every thread of the block must call it; so for the sum and the maximum below.
template <float (*kOfWarp)(float)>
__device__ inline float block_reduce(float value, float nothing) {
  __shared__ float of_warps[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  value = kOfWarp(value);
  __syncthreads();  // the array may still be read from a call before
  if (lane == 0) of_warps[warp] = value;
  __syncthreads();
  return kOfWarp(lane < blockDim.x / 32 ? of_warps[lane] : nothing);
}

__device__ inline float block_sum(float value) {
  return block_reduce<warp_sum>(value, 0);
}

__device__ inline float block_max(float value) {
  return block_reduce<warp_max>(value, std::numeric_limits<float>::lowest());
}

}  // namespace weft::WEFT_TARGET
