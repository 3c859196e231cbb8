#pragma once
// The last step of a loss that is a mean over rows: how the losses of rows, or of blocks of rows, become one number.

#include <cstdint>

#include "kernels/catalogue.h"
#include "kernels/reduce.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// loss (1) = the sum of losses (count) / N: those of the N rows, or of blocks of them. A number a row, written and
/// read again, is little beside a thousand classes, but of two 40% of what must be moved: then a block adds its rows'
/// up first (store_block_loss).
void launch_mean_of_row_losses(const float* losses, float* loss, int64_t count, int64_t N, Stream stream);

/// Writes the sum of the block's rows' losses to losses[blockIdx.x], always in the same order. `mine` is that of the
/// calling thread's team; the others of a team, and a team without a row, are left out. All threads of the block call.
template <class Team>
__device__ inline void store_block_loss(float mine, int64_t N, float* __restrict__ losses) {
  const float sum = block_sum(Team::rank() == 0 && Team::row() < N ? mine : 0);
  if (threadIdx.x == 0) losses[blockIdx.x] = sum;
}

}  // namespace weft::WEFT_TARGET
