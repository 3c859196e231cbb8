// What launches ask for is noted, and no rung asks for more shared memory than a GPU that it is said to run on has.

#include "kernels/simt/rung_resources.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/simt/launches.h"
#include "kernels/targets.h"
#include "tests/kernels/harness.h"

namespace weft::simt {
namespace {

__global__ void without_shared() {}

__global__ void with_both(int* out) {
  __shared__ float row[100];
  __shared__ double total;
  row[threadIdx.x] = 1;
  dynamic_shared<int>()[threadIdx.x] = 2;
  if (threadIdx.x == 0) total = 3;
  __syncthreads();
  if (threadIdx.x == 0) *out = static_cast<int>(row[1] + total) + dynamic_shared<int>()[1];
}

// The first block alone comes by the larger of the two.
template <int kSize>
void through_shared(int* out) {
  __shared__ int tile[kSize];
  tile[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = tile[31 - threadIdx.x];
}
__global__ void by_block(int* out) {
  if (blockIdx.x == 0)
    through_shared<64>(out);
  else
    through_shared<32>(out + 32 * blockIdx.x);
}

__global__ void traps_at_once() {
  __trap();
}

TEST_CASE("launches: noted are place, threads, cluster and shared memory, each different launch once") {
  REQUIRE(shared_poison_available());
  int out = 0;
  launch(with_both, {.grid = 1, .block = 32, .shared_bytes = 4000}, &out);  // nobody watches
  LaunchWatch watch;
  const int line = __LINE__ + 2;
  for (const unsigned bytes : {512u, 128u, 512u})
    launch(with_both, {.grid = 2, .block = dim3(8, 2, 2), .shared_bytes = bytes}, &out);
  CHECK(out == 6);
  launch(without_shared, {.grid = 4, .block = 7, .cluster = dim3(2, 1, 1)});
  std::vector<int> reversed(96, -1);
  launch(by_block, {.grid = 3, .block = 32}, reversed.data());
  CHECK_THROWS_AS(launch(traps_at_once, {.grid = 1, .block = 1, .shared_bytes = 16}), Error);
  const std::vector<LaunchShape> noted = watch.stop();
  REQUIRE(noted.size() == 5);
  for (const LaunchShape& launch : noted) CHECK(launch.file == __FILE__);
  for (int i = 0; i < 2; ++i) {
    CHECK(noted[i].line == line);
    CHECK(noted[i].threads == 32);
    CHECK(noted[i].cluster_blocks == 1);
    CHECK(noted[i].dynamic_shared_bytes == (i == 0 ? 128 : 512));
    CHECK(noted[i].static_shared_bytes == 100 * sizeof(float) + sizeof(double));
  }
  CHECK(noted[2].threads == 7);
  CHECK(noted[2].cluster_blocks == 2);
  CHECK(noted[2].dynamic_shared_bytes == 0);
  CHECK(noted[2].static_shared_bytes == 0);
  CHECK(noted[3].static_shared_bytes == 64 * sizeof(int));
  CHECK(noted[4].dynamic_shared_bytes == 16);
}

TEST_CASE("launches: one watch at a time, and none sees what was before or after it") {
  {
    LaunchWatch watch;
    CHECK_THROWS_AS(LaunchWatch(), Error);
    launch(without_shared, {.grid = 1, .block = 1});
    CHECK(watch.stop().size() == 1);
    launch(without_shared, {.grid = 1, .block = 1});
    CHECK(watch.stop().empty());
    LaunchWatch dropped;
    launch(without_shared, {.grid = 1, .block = 1});
  }
  launch(without_shared, {.grid = 1, .block = 1});
  LaunchWatch watch;
  CHECK(watch.stop().empty());
}

TEST_CASE("rung resources: the limit is that of the least GPU that a rung may run on") {
  CHECK(shared_limit({.exact_capability = 90}) == 232448);
  CHECK(shared_limit({.min_capability = 80}) == 101376);
  CHECK(shared_limit({.min_capability = 90}) == 101376);  // 12.0 is newer, and has no more
  CHECK(shared_limit({.min_capability = 75}) == 49152);
  CHECK(shared_limit({}) == 49152);
}

TEST_CASE("rung resources: every rung launches, and no block wants more shared memory than its needs allow") {
  std::set<const Rung*> launched;
  std::size_t most = 0;
  for (const RungLaunches& launches : rung_launches([](const Op& op) { return test::op_selected(op.name); })) {
    launched.insert(launches.rung);
    most = std::max(most, launches.dynamic_shared_bytes);
    const std::string what = fmt::format("{}/{} at {}: {} bytes of {}", launches.op->name, launches.rung->name,
                                         launches.place, launches.shared_bytes, shared_limit(launches.rung->needs));
    CHECK_MESSAGE(launches.shared_bytes <= shared_limit(launches.rung->needs), what);
    // launch() asks for more than a block gets unasked by its dynamic memory alone: the static one must leave room.
    CHECK_MESSAGE((launches.dynamic_shared_bytes == 0 || launches.static_shared_bytes <= kMostStaticBeside), what);
    CHECK_MESSAGE(launches.place.rfind("kernels/", 0) == 0, what);
    CHECK_MESSAGE(launches.threads > 0, what);
  }
  for (const Op* op : target().catalogue()) {
    if (!test::op_selected(op->name)) continue;
    for (const Rung& rung : op->rungs)
      CHECK_MESSAGE(launched.count(&rung) == 1, std::string(op->name), "/", std::string(rung.name),
                    " launched nothing");
  }
  if (std::getenv("WEFT_OPS") == nullptr) CHECK(most > 99 * 1024);  // Hopper's rungs were seen
}

}  // namespace
}  // namespace weft::simt
