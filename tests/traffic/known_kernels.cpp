#include "tests/traffic/known_kernels.h"

#include "kernels/element.h"
#include "kernels/launch.h"

namespace weft::test {
namespace {

using namespace weft::simt;

void broadcast(const float* __restrict__ x, float* __restrict__ y) {
  y[threadIdx.x] = 2 * x[0];
}

void strided(const float* __restrict__ x, float* __restrict__ y, std::int64_t stride, int times) {
  for (int i = 0; i < times; ++i) {
    y[threadIdx.x] = x[threadIdx.x * stride];
    __syncwarp();  // so that no load of the loop can be left out
  }
}

void packs(const float* __restrict__ x, float* __restrict__ y) {
  const Pack<float> pack = load_pack(x, threadIdx.x % 8);
  y[threadIdx.x] = pack.values[0] + pack.values[1] + pack.values[2] + pack.values[3];
}

}  // namespace

void run_broadcast(const float* x, float* y) {
  launch(broadcast, {.grid = 1, .block = 32}, x, y);
}
void run_strided(const float* x, float* y, std::int64_t stride, int times) {
  launch(strided, {.grid = 1, .block = 32}, x, y, stride, times);
}
void run_packs(const float* x, float* y) {
  launch(packs, {.grid = 1, .block = 64}, x, y);
}

}  // namespace weft::test
