// Philox against cuRAND's device API, which compiles for the host as well. A file of its own: the SIMT machine's
// keywords and CUDA's headers do not go together.

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstdio>

#include "kernels/philox.h"

#if __has_include(<cuda_runtime.h>) && __has_include(<curand_kernel.h>)
#include <cuda_runtime.h>
#include <curand_kernel.h>
#define WEFT_TEST_CURAND 1
#else
#define WEFT_TEST_CURAND 0
#endif

namespace weft::test {
namespace {

TEST_CASE("philox: cuRAND's device API gives the same numbers") {
#if WEFT_TEST_CURAND
  Philox draw(99, 1);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t seed = std::uint64_t{draw.next()} << 32 | draw.next();
    const std::uint64_t op = draw.below(1000), step = draw.next(), block = draw.next();
    const std::uint64_t subsequence = (op << 32) + step;
    curandStatePhilox4_32_10_t state;
    curand_init(seed, subsequence, 4 * block, &state);
    const uint4 theirs = curand4(&state);
    const std::array<std::uint32_t, 4> words = {theirs.x, theirs.y, theirs.z, theirs.w};
    REQUIRE(philox4x32_10(seed, subsequence, block) == words);
  }
#else
  std::puts("skipped: no cuRAND headers here");
#endif
}

}  // namespace
}  // namespace weft::test
