// The engine of operations in flight (kernels/simt/ptx/async.h): what becomes of those that nobody waited for, groups,
// and errors. Landing in time is tested with the instructions that use it.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/error.h"
#include "kernels/simt/ptx/async.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt::test {
namespace {

AsyncEngine& engine() {
  return block_async("the test", Site::here()).engine;
}

AsyncEngine::Ticket issue(float* to, float value, AsyncEnd end = AsyncEnd::dropped) {
  return engine().issue({.what = "a test's operation",
                         .site = Site::here(),
                         .destination = {{to, sizeof *to}},
                         .perform = [to, value] { *to = value; },
                         .end = end});
}

class SeedZero {
 public:
  SeedZero() : before_(schedule_seed()) { set_schedule_seed(0); }
  SeedZero(const SeedZero&) = delete;
  SeedZero& operator=(const SeedZero&) = delete;
  ~SeedZero() { set_schedule_seed(before_); }

 private:
  std::uint64_t before_;
};

TEST_CASE("simt async: an operation lands once, where it is completed") {
  const SeedZero seed;
  float value = 1;
  bool flew = false, landed = false;
  run_grid(dim3(1), dim3(1), 0, [&] {
    const AsyncEngine::Ticket ticket = issue(&value, 5);
    flew = engine().in_flight(ticket) && std::isnan(value);
    engine().complete(ticket);
    landed = !engine().in_flight(ticket) && value == 5;
    value = 6;
    engine().complete(ticket);  // for the second time
  });
  CHECK(flew);
  CHECK(landed);
  CHECK(value == 6);
}

TEST_CASE("simt async: what nobody waited for is dropped or performed when its block ends, as it asks") {
  const SeedZero seed;
  float dropped = 1, performed = 1;
  run_grid(dim3(1), dim3(1), 0, [&] {
    issue(&dropped, 5, AsyncEnd::dropped);
    issue(&performed, 5, AsyncEnd::performed);
  });
  CHECK(std::isnan(dropped));
  CHECK(performed == 5);
}

TEST_CASE("simt async: what would write a thread's registers goes with the thread") {
  const SeedZero seed;
  float first = 1, second = 1;
  run_grid(dim3(1), dim3(2), 0, [&] {
    __shared__ AsyncEngine::Ticket tickets[2];
    tickets[threadIdx.x] = issue(threadIdx.x == 0 ? &first : &second, 5,
                                 threadIdx.x == 0 ? AsyncEnd::leaves_with_thread : AsyncEnd::dropped);
    if (threadIdx.x == 0) return;
    wait_until([] { return live_lanes() == 2u; }, "thread 0 to leave");
    engine().complete(tickets[0]);
    engine().complete(tickets[1]);
  });
  CHECK(std::isnan(first));
  CHECK(second == 5);
}

TEST_CASE("simt async: groups land from the oldest on, and the open one only with wait_all") {
  const SeedZero seed;
  std::vector<float> values(5, 0);
  std::vector<int> landed;
  run_grid(dim3(1), dim3(1), 0, [&] {
    AsyncGroups groups;
    const auto count = [&] {
      int number = 0;
      for (const float value : values) number += value == 1;
      landed.push_back(number);
    };
    for (int i = 0; i < 4; ++i) {
      groups.add(issue(&values[i], 1));
      if (i == 1) groups.add(issue(&values[4], 1));
      if (i < 3) groups.commit();
    }
    CHECK(groups.all().size() == 5);
    groups.wait(engine(), 3);
    count();
    groups.wait(engine(), 2);
    count();
    groups.wait(engine(), 1);
    count();
    groups.wait(engine(), 0);
    count();
    groups.wait_all(engine());
    count();
  });
  CHECK(landed == std::vector<int>{0, 1, 3, 4, 5});
}

TEST_CASE("simt async: an exception of an operation ends the launch, with the instruction and its line") {
  const auto fails = [](AsyncEnd end, bool wait) {
    return error_of_grid(dim3(1), dim3(1), 0, [=] {
      const AsyncEngine::Ticket ticket = engine().issue({.what = "an impossible copy",
                                                         .site = Site::here(),
                                                         .destination = {},
                                                         .perform = [] { fail("no such place"); },
                                                         .end = end});
      if (wait) engine().complete(ticket);
    });
  };
  for (const std::string& text : {fails(AsyncEnd::dropped, true), fails(AsyncEnd::performed, false)}) {
    CHECK(contains(text, "in an impossible copy issued at "));
    CHECK(contains(text, "simt_async_test.cpp:"));
    CHECK(contains(text, "no such place"));
  }
  CHECK(fails(AsyncEnd::dropped, false).empty());
}

}  // namespace
}  // namespace weft::simt::test
