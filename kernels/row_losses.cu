// The last step of a loss that is a mean over rows. In a header its kernel would have to be inline for the C++
// compiler, and nvcc, which warns of that, takes warnings for errors here: so it has a file of its own.

#include "kernels/row_losses.h"

#include "kernels/launch.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

// One block, always the same order.
__global__ void mean_of_row_losses(const float* __restrict__ losses, float* __restrict__ loss, int64_t count,
                                   int64_t N) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += losses[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = sum / static_cast<float>(N);
}

}  // namespace

void launch_mean_of_row_losses(const float* losses, float* loss, int64_t count, int64_t N, Stream stream) {
  if (losses == loss) return;
  launch(mean_of_row_losses, {.grid = 1, .block = kBlock, .stream = stream}, losses, loss, count, N);
}

}  // namespace weft::WEFT_TARGET
