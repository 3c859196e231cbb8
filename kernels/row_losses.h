#pragma once
// The last step of a loss that is a mean over rows: how the rows' losses become one number.

#include <cstdint>

#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/reduce.h"

namespace weft::WEFT_TARGET {

/// One block, always the same order. A number a row is little beside the (N, C) that went before.
inline __global__ void mean_of_row_losses(const float* __restrict__ row_loss, float* __restrict__ loss, int64_t N) {
  float sum = 0;
  for (int64_t n = threadIdx.x; n < N; n += blockDim.x) sum += row_loss[n];
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = sum / static_cast<float>(N);
}

/// loss (1) = the mean of row_loss (N).
inline void launch_mean_of_row_losses(const float* row_loss, float* loss, int64_t N, Stream stream) {
  launch(mean_of_row_losses, {.grid = 1, .block = kBlock, .stream = stream}, row_loss, loss, N);
}

}  // namespace weft::WEFT_TARGET
