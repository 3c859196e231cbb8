// The counter on kernels whose traffic is known.

#include <doctest/doctest.h>

#include <vector>

#include "kernels/error.h"
#include "kernels/simt/traffic/counter.h"
#include "tests/traffic/known_kernels.h"

namespace weft::test {
namespace {

struct alignas(128) Floats {
  float values[1024] = {};
};

struct Counted {
  simt::Traffic loads_x, stores_y;
  std::size_t places = 0;
};

template <class Run>
Counted count(Run&& run) {
  static Floats x, y;
  const simt::WatchedRange ranges[] = {{x.values, sizeof x}, {y.values, sizeof y}};
  simt::TrafficWatch watch(ranges);
  run(x.values, y.values);
  Counted counted;
  for (const auto& [place, traffic] : watch.stop()) {
    CHECK(place.store == (place.range == 1));
    (place.store ? counted.stores_y : counted.loads_x) += traffic;
    counted.places += 1;
  }
  return counted;
}

void check(const simt::Traffic& traffic, unsigned asked, unsigned bytes, unsigned sectors, unsigned requests) {
  CHECK(traffic.asked == asked);
  CHECK(traffic.bytes == bytes);
  CHECK(traffic.sectors == sectors);
  CHECK(traffic.requests == requests);
}

TEST_CASE("traffic: a broadcast is one request for one element") {
  const Counted counted = count([](const float* x, float* y) { run_broadcast(x, y); });
  CHECK(counted.places == 2);
  check(counted.loads_x, 128, 4, 1, 1);
  check(counted.stores_y, 128, 128, 4, 1);
}

TEST_CASE("traffic: a stride of 8 floats wants a sector for each lane") {
  const Counted counted = count([](const float* x, float* y) { run_strided(x, y, 8, 3); });
  check(counted.loads_x, 3 * 128, 3 * 128, 3 * 32, 3);
  check(counted.stores_y, 3 * 128, 3 * 128, 3 * 4, 3);
}

TEST_CASE("traffic: lanes share bytes within a warp, warps do not") {
  const Counted counted = count([](const float* x, float* y) { run_packs(x, y); });
  check(counted.loads_x, 64 * 16, 2 * 128, 2 * 4, 2);
  check(counted.stores_y, 256, 256, 8, 2);
}

TEST_CASE("traffic: nothing is counted outside the ranges, or after the end; one watch at a time") {
  static Floats x, y, other;
  const simt::WatchedRange range[] = {{other.values, sizeof other}};
  simt::TrafficWatch watch(range);
  CHECK_THROWS_AS(simt::TrafficWatch{range}, Error);
  run_broadcast(x.values, y.values);
  CHECK(watch.stop().empty());
  run_broadcast(other.values, other.values);
  CHECK(watch.stop().empty());
}

}  // namespace
}  // namespace weft::test
