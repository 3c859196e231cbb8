// The reductions over a block that kernels share: the barrier that lets a block call one of them again. The catalogue's
// kernels call each once, so no run of theirs can show that it is needed (tests/mutation/survivors.txt).
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/online_softmax.h"
#include "kernels/reduce.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt {
namespace {

using test::error_of_grid;

constexpr unsigned kThreads = 256;
constexpr int kCalls = 4;

/// The results of kCalls calls one after another, in each thread, under one seed; the error is part of it.
using Calls = std::vector<float>;
Calls call_often(const std::function<float(float)>& reduce, std::uint64_t seed) {
  Calls results(kThreads * kCalls, -1);
  set_schedule_seed(seed);
  const std::string error = error_of_grid(dim3(1), dim3(kThreads), 0, [&] {
    for (int call = 0; call < kCalls; ++call)
      results[threadIdx.x * kCalls + call] = reduce(static_cast<float>(threadIdx.x % 8 + call * 100));
  });
  set_schedule_seed(0);
  CHECK(error == "");
  return results;
}

/// The first barrier of the helper in `file`, which is the one before its shared array is written.
int first_barrier(const std::string& file, const std::function<float(float)>& reduce) {
  forget_sync_sites();
  call_often(reduce, 0);
  for (const SyncSite& site : sync_sites())
    if (site.what == "__syncthreads" && site.file.ends_with(file)) return site.line;
  return 0;
}

void check(const std::string& file, const std::function<float(float)>& reduce, const std::function<float(int)>& right) {
  CAPTURE(file);
  const int line = first_barrier(file, reduce);
  REQUIRE(line > 0);
  bool differs = false;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Calls calls = call_often(reduce, seed);
    for (unsigned i = 0; i < kThreads * kCalls; ++i) REQUIRE(calls[i] == right(static_cast<int>(i) % kCalls));
    set_site_fault(SiteFault::left_out, file, line, "__syncthreads");
    const Calls without = call_often(reduce, seed);
    clear_site_faults();
    for (std::size_t i = 0; i < calls.size(); ++i) differs |= !(without[i] == calls[i]);
  }
  CHECK(differs);
}

TEST_CASE("reductions over a block: a second call needs the barrier before the array is written again") {
  check(
      "kernels/reduce.h", [](float value) { return block_sum(value); },
      [](int call) { return kThreads * (3.5f + 100.0f * static_cast<float>(call)); });
  check(
      "kernels/reduce.h", [](float value) { return block_max(value); },
      [](int call) { return 7 + 100.0f * static_cast<float>(call); });
  check(
      "kernels/online_softmax.h",
      [](float value) {
        return block_merge({value, 1}).maximum;
      },
      [](int call) { return 7 + 100.0f * static_cast<float>(call); });
}

}  // namespace
}  // namespace weft::simt
