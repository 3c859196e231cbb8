#pragma once
// The last step of a loss that is a mean over rows: how the losses of rows, or of blocks of rows, become one number.

#include <cstdint>

#include "kernels/catalogue.h"
#include "kernels/reduce.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// loss (1) = the sum of losses (count) / N: those of the N rows, or of blocks of them. A number a row, written and
/// read again, is little beside a thousand classes, but of two 40% of what must be moved: then a block adds its rows'
/// up first (store_block_loss). Nothing is left to do where losses is loss.
void launch_mean_of_row_losses(const float* losses, float* loss, int64_t count, int64_t N, Stream stream);

/// Where `blocks` blocks leave their losses by store_block_loss: one alone finds the mean, and leaves it in its place.
inline float* losses_of_blocks(void* workspace, float* loss, int64_t blocks) {
  return blocks > 1 ? static_cast<float*>(workspace) : loss;
}

/// Writes the sum of the block's rows' losses to losses[blockIdx.x], always in the same order; of a block that is
/// alone, the mean over the N rows. `mine` is the loss of the calling thread's team; the others of a team, and a team
/// without a row, are left out. All threads of the block call.
template <class Team>
__device__ inline void store_block_loss(float mine, int64_t N, float* __restrict__ losses) {
  const float sum = block_sum(Team::rank() == 0 && Team::row() < N ? mine : 0);
  if (threadIdx.x == 0) losses[blockIdx.x] = gridDim.x == 1 ? sum / static_cast<float>(N) : sum;
}

}  // namespace weft::WEFT_TARGET
