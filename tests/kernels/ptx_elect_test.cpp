// elect.sync. PTX ISA, "elect.sync": one leader of the mask's threads, the same one for the same mask every time. Which
// one, it does not say.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "kernels/ptx/fence.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt {
namespace {

using test::error_of_grid;
using test::Settings;

/// The lane that each of `warps` warps elects under this seed; -1 where that is not one lane, twice the same.
std::vector<int> elected_lanes(std::uint64_t seed, unsigned warps) {
  set_schedule_seed(seed);
  std::vector<int> first(warps * 32, -1), second(warps * 32, -1);
  REQUIRE(error_of_grid(dim3(1), dim3(warps * 32), 0, [&] {
            first[threadIdx.x] = elect_one();
            __syncwarp();
            second[threadIdx.x] = elect_one();
          }) == "");
  std::vector<int> lanes;
  for (unsigned warp = 0; warp < warps; ++warp) {
    const auto begin = first.begin() + warp * 32, end = begin + 32;
    const bool one = std::count(begin, end, 1) == 1 && std::count(begin, end, 0) == 31;
    lanes.push_back(one && first == second ? static_cast<int>(std::find(begin, end, 1) - begin) : -1);
  }
  return lanes;
}

TEST_CASE("elect.sync: one lane of each warp, the same one each time; which one, the schedule seed says") {
  const Settings settings;
  CHECK(elected_lanes(0, 3) == std::vector<int>{0, 0, 0});
  std::set<int> seen;
  for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
    CAPTURE(seed);
    for (const int lane : elected_lanes(seed, 3)) {
      CHECK(lane > 0);
      seen.insert(lane);
    }
    CHECK(elected_lanes(seed, 3) == elected_lanes(seed, 3));
  }
  CHECK(seen.size() > 3);
}

TEST_CASE("elect.sync: who takes the elected lane for lane 0 is found out under another seed") {
  const Settings settings;
  const auto run = [](std::uint64_t seed) {
    set_schedule_seed(seed);
    std::vector<int> out(2, -1);
    CHECK(error_of_grid(dim3(1), dim3(64), 0, [&] {
            const int mine = threadIdx.x % 32 == 0 ? 7 : 0;  // what lane 0 alone has worked out
            if (elect_one()) out[threadIdx.x / 32] = mine;
          }) == "");
    return out;
  };
  CHECK(run(0) == std::vector<int>{7, 7});
  CHECK(run(1) == std::vector<int>{0, 0});
}

TEST_CASE("elect.sync: of a warp of which lanes have left, one of the rest") {
  const Settings settings;
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    CAPTURE(seed);
    set_schedule_seed(seed);
    std::vector<int> elected(32, 0);
    CHECK(error_of_grid(dim3(1), dim3(32), 0, [&] {
            if (threadIdx.x % 16 != 5) return;
            elected[threadIdx.x] = elect_one();
          }) == "");
    CHECK(elected[5] + elected[21] == 1);
    CHECK(elected[seed == 0 ? 5 : 21] == 1);
  }
}

}  // namespace
}  // namespace weft::simt
