// mbarrier against PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier": phases, counts, bytes,
// and each misuse that the ISA leaves undefined.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/mbarrier.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;

/// Runs `body(barrier)` in every thread of one block, with a barrier that thread 0 has initialised with `count`.
template <class Body>
std::string run(unsigned threads, unsigned count, const Body& body) {
  return error_of_grid(dim3(1), dim3(threads), 1024, [&] {
    auto* barrier = dynamic_shared<std::uint64_t>();
    if (threadIdx.x == 0) mbarrier_init(barrier, count);
    __syncthreads();
    body(barrier);
  });
}

TEST_CASE("mbarrier: a phase is complete when its arrivals have come, and the next begins at once") {
  std::vector<int> seen;
  CHECK(run(1, 3, [&](std::uint64_t* barrier) {
          for (int phase = 0; phase < 4; ++phase) {
            const unsigned parity = phase & 1;
            mbarrier_arrive(barrier);
            seen.push_back(mbarrier_test_wait_parity(barrier, parity));      // two are missing
            seen.push_back(mbarrier_test_wait_parity(barrier, parity ^ 1));  // the phase before: long complete
            mbarrier_arrive(barrier, 2);
            seen.push_back(mbarrier_try_wait_parity(barrier, parity));
            mbarrier_wait(barrier, parity);
          }
        }) == "");
  CHECK(seen == std::vector<int>{0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1});
}

TEST_CASE("mbarrier: a wait for parity 1 of a fresh barrier returns at once") {
  CHECK(run(1, 1, [](std::uint64_t* barrier) { mbarrier_wait(barrier, 1); }) == "");
}

TEST_CASE("mbarrier: waiting threads see what the arriving ones wrote before") {
  std::vector<int> out(96, -1);
  for (const std::uint64_t seed : {0, 1, 2}) {
    set_schedule_seed(seed);
    CHECK(error_of_grid(dim3(1), dim3(96), 1024, [&] {
            auto* full = dynamic_shared<std::uint64_t>();
            auto* values = reinterpret_cast<int*>(full + 1);
            if (threadIdx.x == 0) mbarrier_init(full, 32);
            __syncthreads();
            if (threadIdx.x < 32) {
              values[threadIdx.x] = static_cast<int>(seed) * 100 + static_cast<int>(threadIdx.x);
              mbarrier_arrive(full);
            }
            mbarrier_wait(full, 0);
            out[threadIdx.x] = values[95 - threadIdx.x < 32 ? 95 - threadIdx.x : threadIdx.x % 32];
          }) == "");
    for (int i = 0; i < 96; ++i) CHECK(out[i] == static_cast<int>(seed) * 100 + (95 - i < 32 ? 95 - i : i % 32));
  }
  set_schedule_seed(0);
}

TEST_CASE("mbarrier: announced bytes hold a phase open until as many have completed, in either order") {
  std::vector<int> seen;
  CHECK(run(1, 1, [&](std::uint64_t* barrier) {
          mbarrier_arrive_expect_tx(barrier, 96);
          seen.push_back(mbarrier_test_wait_parity(barrier, 0));
          mbarrier_complete_tx(barrier, 64);
          seen.push_back(mbarrier_test_wait_parity(barrier, 0));
          mbarrier_complete_tx(barrier, 32);
          seen.push_back(mbarrier_test_wait_parity(barrier, 0));
          mbarrier_complete_tx(barrier, 128);  // before they are announced: the count is below 0 for a while
          mbarrier_expect_tx(barrier, 100);
          mbarrier_arrive(barrier);
          seen.push_back(mbarrier_test_wait_parity(barrier, 1));
          mbarrier_expect_tx(barrier, 28);
          seen.push_back(mbarrier_test_wait_parity(barrier, 1));
        }) == "");
  CHECK(seen == std::vector<int>{0, 0, 1, 0, 1});
}

TEST_CASE("mbarrier: the counts' ranges") {
  const auto init = [](unsigned count) {
    return run(1, 1, [&](std::uint64_t* barrier) { mbarrier_init(barrier + 1, count); });
  };
  CHECK(contains(init(0), "a count of 0 is not within 1 to 1048575"));
  CHECK(init(1) == "");
  CHECK(init(1048575) == "");
  CHECK(contains(init(1048576), "a count of 1048576 is not within 1 to 1048575"));
  const auto bytes = [](unsigned first, unsigned second) {
    return run(1, 1, [&](std::uint64_t* barrier) {
      mbarrier_expect_tx(barrier, first);
      mbarrier_expect_tx(barrier, second);
    });
  };
  CHECK(bytes(1048575, 0) == "");
  CHECK(contains(bytes(1048575, 1), "the transaction count becomes 1048576, beyond 1048575"));
  CHECK(contains(run(1, 1,
                     [](std::uint64_t* barrier) {
                       mbarrier_complete_tx(barrier, 1048575);
                       mbarrier_complete_tx(barrier, 1);
                     }),
                 "the transaction count becomes -1048576"));
}

TEST_CASE("mbarrier: what the ISA leaves undefined is an error that names the line") {
  int line = 0;
  const std::string arrivals = run(1, 2, [&](std::uint64_t* barrier) { line = __LINE__, mbarrier_arrive(barrier, 3); });
  CHECK(contains(arrivals,
                 "ptx_mbarrier_test.cpp:" + std::to_string(line) + ": 3 arrivals where the phase has 2 of 2 pending"));
  CHECK(contains(run(1, 1, [](std::uint64_t* barrier) { mbarrier_arrive(barrier + 1); }), "no mbarrier has been"));
  CHECK(contains(run(1, 1, [](std::uint64_t* barrier) { mbarrier_wait(barrier + 1, 0); }), "no mbarrier has been"));
  CHECK(contains(run(1, 1, [](std::uint64_t* barrier) { mbarrier_init(barrier, 1); }), "is still valid here"));
  CHECK(contains(run(1, 1,
                     [](std::uint64_t* barrier) {
                       mbarrier_inval(barrier);
                       mbarrier_arrive(barrier);
                     }),
                 "no mbarrier has been"));
  CHECK(run(1, 1, [](std::uint64_t* barrier) {
          mbarrier_inval(barrier);
          mbarrier_init(barrier, 5);
        }) == "");
  CHECK(contains(run(1, 1,
                     [](std::uint64_t* barrier) {
                       *reinterpret_cast<float*>(barrier) = 1;
                       mbarrier_arrive(barrier);
                     }),
                 "has been overwritten by something else"));
  CHECK(contains(run(1, 1,
                     [](std::uint64_t* barrier) {
                       mbarrier_init(reinterpret_cast<std::uint64_t*>(reinterpret_cast<char*>(barrier) + 12), 1);
                     }),
                 "is not a multiple of 8"));
  std::uint64_t outside = 0;
  CHECK(contains(run(1, 1, [&](std::uint64_t*) { mbarrier_init(&outside, 1); }), "not shared memory of this block"));
  CHECK(contains(run(1, 1, [](std::uint64_t* barrier) { mbarrier_wait(barrier, 2); }), "a parity is 0 or 1, not 2"));
}

TEST_CASE("mbarrier: between its initialisation and another thread's use stands a barrier") {
  enum class Between { nothing, syncwarp, syncthreads, named, cluster };
  const auto use_by = [](unsigned user, Between between) {
    return error_of_grid(dim3(1), dim3(64), 64, [&] {
      auto* barrier = dynamic_shared<std::uint64_t>();
      if (threadIdx.x == 0) mbarrier_init(barrier, 1);
      if (between == Between::syncwarp) __syncwarp();
      if (between == Between::syncthreads) __syncthreads();
      if (between == Between::named) named_barrier_sync(1, 64);
      if (between == Between::cluster) {
        __syncwarp();
        cluster_sync();
      }
      if (threadIdx.x == user) mbarrier_wait(barrier, 1);
    });
  };
  const char* const unseen = "and no barrier of the block stands between that and this";
  for (const std::uint64_t seed : {0, 1, 2}) {
    set_schedule_seed(seed);
    CHECK(use_by(0, Between::nothing) == "");
    CHECK(use_by(0, Between::syncthreads) == "");
    const std::string other_lane = use_by(5, Between::nothing);  // or it has not been initialised yet
    CHECK((contains(other_lane, unseen) || contains(other_lane, "no mbarrier has been initialised")));
    CHECK(use_by(5, Between::syncwarp) == "");
    for (const Between between : {Between::syncthreads, Between::named, Between::cluster})
      CHECK(use_by(40, between) == "");
  }
  set_schedule_seed(0);
  CHECK(contains(use_by(40, Between::nothing), unseen));
  CHECK(contains(use_by(40, Between::syncwarp), "thread 0 initialised the mbarrier at "));
}

TEST_CASE("mbarrier: it may lie in a __shared__ variable") {
  CHECK(error_of_grid(dim3(3), dim3(64), 0, [] {
          __shared__ std::uint64_t barrier;
          if (threadIdx.x == 0) mbarrier_init(&barrier, 64);
          __syncthreads();
          mbarrier_arrive(&barrier);
          mbarrier_wait(&barrier, 0);
        }) == "");
}

TEST_CASE("mbarrier: an arrival that never comes is told, with the line that waits") {
  int line = 0;
  const std::string error = run(64, 2, [&](std::uint64_t* barrier) {
    if (threadIdx.x == 0) mbarrier_arrive(barrier);
    line = __LINE__, mbarrier_wait(barrier, 0);
  });
  CHECK(contains(error, "threads wait for each other for ever: 64 in mbarrier.try_wait.parity"));
  CHECK(contains(error, "ptx_mbarrier_test.cpp:" + std::to_string(line)));
  const std::string polled = run(32, 1, [&](std::uint64_t* barrier) {
    line = __LINE__;
    while (!mbarrier_test_wait_parity(barrier, 0)) {
    }
  });
  CHECK(contains(polled, "32 in mbarrier.test_wait.parity"));
}

TEST_CASE("mbarrier: a skipped site does nothing") {
  const auto body = [&](std::uint64_t* barrier) {
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, 0);
  };
  CHECK(run(32, 32, body) == "");
  forget_sync_sites();
  CHECK(run(32, 32, body) == "");
  int arrive_line = 0;
  for (const SyncSite& site : sync_sites())
    if (site.what == "mbarrier.arrive") arrive_line = site.line;
  REQUIRE(arrive_line > 0);
  set_site_fault(SiteFault::left_out, "ptx_mbarrier_test.cpp", arrive_line);
  CHECK(contains(run(32, 32, body), "wait for each other for ever"));
  clear_site_faults();
  CHECK(run(32, 32, body) == "");
}

TEST_CASE("mbarrier: a wait whose phase is stuck, or inverted") {
  int line = 0;
  std::vector<int> seen;
  const auto look = [&](std::vector<unsigned> parities) {
    seen.clear();
    const std::string error = run(1, 1, [&](std::uint64_t* barrier) {
      const auto complete = [&](unsigned parity) {
        line = __LINE__ + 1;
        return mbarrier_test_wait_parity(barrier, parity);
      };
      for (const unsigned parity : parities) {
        seen.push_back(complete(parity));
        mbarrier_arrive(barrier);
        seen.push_back(complete(parity));
      }
    });
    CHECK(error == "");
    return seen;
  };
  forget_sync_sites();
  CHECK(look({0, 1, 0}) == std::vector<int>{0, 1, 0, 1, 0, 1});
  int waits = 0;
  for (const SyncSite& site : sync_sites()) {
    CHECK(site.names_phase == (site.what == "mbarrier.test_wait.parity"));
    waits += site.names_phase && site.line == line;
  }
  CHECK(waits == 1);

  set_site_fault(SiteFault::phase_stuck, "ptx_mbarrier_test.cpp", line);
  CHECK(look({0, 1, 0}) == std::vector<int>{0, 1, 1, 0, 0, 1});
  CHECK(look({1}) == std::vector<int>{1, 0});  // another block: what it names first
  clear_site_faults();
  set_site_fault(SiteFault::phase_inverted, "ptx_mbarrier_test.cpp", line);
  CHECK(look({0, 1, 0}) == std::vector<int>{1, 0, 1, 0, 1, 0});
  clear_site_faults();
  set_site_fault(SiteFault::left_out, "ptx_mbarrier_test.cpp", line);
  CHECK(look({0, 1, 0}) == std::vector<int>{1, 1, 1, 1, 1, 1});
  clear_site_faults();
  CHECK(look({0, 1, 0}) == std::vector<int>{0, 1, 0, 1, 0, 1});
}

TEST_CASE("bar.sync and bar.arrive: a named barrier of some of the block's warps") {
  std::vector<int> out(64, 0);
  CHECK(error_of_grid(dim3(1), dim3(96), 1024, [&] {
          auto* values = dynamic_shared<int>();
          if (threadIdx.x < 32) {
            values[threadIdx.x] = static_cast<int>(threadIdx.x) + 1;
            named_barrier_arrive(3, 96);
          } else {
            named_barrier_sync(3, 96);
            out[threadIdx.x - 32] = values[threadIdx.x % 32];
          }
        }) == "");
  for (int i = 0; i < 64; ++i) CHECK(out[i] == i % 32 + 1);
  CHECK(contains(error_of_grid(dim3(1), dim3(64), 0, [] { named_barrier_sync(1, 33); }), "whole number of warps"));
}

TEST_CASE("bar.sync and bar.arrive: they count warps, so all of a warp's lanes come, and to the same one") {
  const auto run = [](auto body) { return error_of_grid(dim3(1), dim3(64), 0, body); };
  const auto halves = [](auto barrier) {  // 32 threads, but of two warps
    return [=] {
      if (threadIdx.x % 32 < 16) barrier();
    };
  };
  const char* const part = "a barrier counts whole warps, and of this one only lanes 0x0000ffff come";
  CHECK(contains(run(halves([] { named_barrier_sync(1, 32); })), part));
  CHECK(contains(run(halves([] { named_barrier_arrive(1, 32); })), part));
  const auto two_places = [] {
    if (threadIdx.x % 2 == 0)
      named_barrier_sync(1, 64);
    else
      named_barrier_sync(1, 64);
  };
  CHECK(contains(run(two_places), "the lanes of one warp came to different collectives"));
  CHECK(run([] {
          if (threadIdx.x / 32 == 0)
            named_barrier_sync(1, 64);
          else
            named_barrier_sync(1, 64);  // another warp may come at another place
        }) == "");
}

TEST_CASE("setmaxnreg: what some warps give back, others take") {
  // 65536 / 384 threads, in eights: 168 each. Three warpgroups hold 504; 40 + 232 + 232 are 504 again.
  const auto take = [](unsigned /*unused*/) {
    return error_of_grid(dim3(1), dim3(384), 0, [] {
      if (threadIdx.x < 128) {
        set_max_registers_dec<40>();
      } else {
        set_max_registers_inc<232>();
      }
    });
  };
  CHECK(take(0) == "");
  CHECK(contains(error_of_grid(dim3(1), dim3(384), 0,
                               [] {
                                 if (threadIdx.x < 128) {
                                   set_max_registers_dec<40>();
                                 } else {
                                   set_max_registers_inc<240>();
                                 }
                               }),
                 "in setmaxnreg.inc"));  // eight too many: somebody waits for ever
  CHECK(contains(error_of_grid(dim3(1), dim3(384), 0, [] { set_max_registers_dec<176>(); }), "cannot give some back"));
  CHECK(contains(error_of_grid(dim3(1), dim3(384), 0, [] { set_max_registers_inc<160>(); }), "cannot take more"));
}

TEST_CASE("setmaxnreg: the counts that the ISA has") {
  const auto dec = [](unsigned count) {
    return error_of_grid(dim3(1), dim3(128), 0, [&] { emulate_set_max_registers(count, false, Site::here()); });
  };
  CHECK(dec(24) == "");
  CHECK(dec(248) == "");  // what a thread begins with where 128 have 65536 between them: 255 at most, in eights
  CHECK(contains(dec(16), "16 registers a thread are no multiple of 8 within 24 to 256"));
  CHECK(contains(dec(25), "25 registers a thread are no multiple of 8 within 24 to 256"));
  CHECK(contains(dec(264), "264 registers a thread are no multiple of 8 within 24 to 256"));
}

TEST_CASE("setmaxnreg: it is .sync.aligned, all warps of a warpgroup execute it, and meet before the next") {
  const auto run = [](auto body) { return error_of_grid(dim3(1), dim3(256), 0, body); };
  CHECK(run([] { set_max_registers_dec<64>(); }) == "");
  CHECK(contains(run([] {
                   if (threadIdx.x != 40) set_max_registers_dec<64>();
                 }),
                 "not all 32 lanes of the warp take part"));
  const auto two_places = [](unsigned split, unsigned of) {  // outside CHECK, within which all lines are one
    if (threadIdx.x % of < split)
      set_max_registers_dec<64>();
    else
      set_max_registers_dec<72>();
  };
  CHECK(contains(run([&] { two_places(4, 32); }), "the lanes of one warp came to different collectives"));
  CHECK(contains(run([] {
                   if (threadIdx.x / 32 != 6) set_max_registers_dec<64>();
                 }),
                 "warp 6 never came to setmaxnreg.dec"));
  CHECK(contains(run([&] { two_places(32, 256); }), "the warps of a warpgroup execute different instructions"));
  CHECK(run([&] { two_places(128, 256); }) == "");
  CHECK(run([] {
          if (threadIdx.x < 128) set_max_registers_dec<64>();  // the other warpgroup need not
        }) == "");
  CHECK(contains(error_of_grid(dim3(1), dim3(96), 0, [] { set_max_registers_dec<64>(); }),
                 "the last warpgroup of the block has fewer than four warps"));
  const auto twice = [](bool meet) {
    return error_of_grid(dim3(1), dim3(128), 0, [&] {
      set_max_registers_dec<64>();
      if (meet) __syncthreads();
      set_max_registers_dec<32>();
    });
  };
  CHECK(twice(true) == "");
  CHECK(contains(twice(false), "a barrier of the warpgroup must stand between two"));
}

}  // namespace
}  // namespace weft::simt
