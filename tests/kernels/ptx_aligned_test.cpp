// What PTX calls .aligned: all lanes of a warp (of wgmma: all warps of a warpgroup) execute the same instruction. PTX
// ISA, "barrier.cluster", "wgmma.fence", "wgmma.commit_group", "wgmma.wait_group".
#include <doctest/doctest.h>

#include <string>

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/mbarrier.h"
#include "kernels/ptx/wgmma.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;
using test::Settings;

TEST_CASE("cluster: its barrier is .aligned: a warp whose lanes went different ways is an error") {
  const Settings settings;
  int line = 0;
  const auto run = [&](auto body) {
    return error_of_grid(
        dim3(2), dim3(64), 64,
        [&] {
          auto* barrier = dynamic_shared<std::uint64_t>();
          body(barrier);
        },
        dim3(2));
  };
  for (const std::uint64_t seed : {0, 1, 2}) {
    set_schedule_seed(seed);
    const std::string apart = run([&](std::uint64_t* barrier) {
      if (threadIdx.x == 0) mbarrier_init(barrier, 1);
      line = __LINE__, cluster_sync();
    });
    CHECK(contains(apart, "ptx_aligned_test.cpp:" + std::to_string(line)));
    CHECK(contains(apart,
                   "the warp has diverged, and this is .aligned without .sync: since its lanes were together, "
                   "lane 0 came by mbarrier.init at "));
    CHECK(contains(apart, "lane 1 by nothing; put a __syncwarp() before it"));
    CHECK(run([](std::uint64_t* barrier) {
            if (threadIdx.x == 0) mbarrier_init(barrier, 1);
            __syncwarp();
            cluster_sync();
          }) == "");
    CHECK(run([](std::uint64_t* barrier) {
            if (threadIdx.x == 0) mbarrier_init(barrier, 1);
            __syncthreads();
            cluster_arrive();
            cluster_wait();
          }) == "");
    // Half a warp's own collective leaves the warp apart; polling for the same phase for longer or shorter does not.
    CHECK(contains(run([](std::uint64_t*) {
                     if (threadIdx.x % 32 < 16) __syncwarp(0xffff);
                     cluster_sync();
                   }),
                   "the warp has diverged"));
    CHECK(run([](std::uint64_t* barrier) {
            if (threadIdx.x == 0) mbarrier_init(barrier, 1);
            __syncthreads();
            if (threadIdx.x == 40) mbarrier_arrive(barrier);
            __syncwarp();
            mbarrier_wait(barrier, 0);
            cluster_sync();
          }) == "");
  }
  // Between the arrival and the wait, too; and two arrivals in two branches.
  CHECK(contains(run([](std::uint64_t* barrier) {
                   cluster_arrive();
                   if (threadIdx.x == 33) mbarrier_init(barrier, 1);
                   cluster_wait();
                 }),
                 "in barrier.cluster.wait at "));
  const auto two_places = [](std::uint64_t*) {  // outside CHECK, within which all lines are one
    if (threadIdx.x % 2 == 0)
      cluster_arrive();
    else
      cluster_arrive();
    cluster_wait();
  };
  CHECK(contains(run(two_places), "the lanes of one warp came to different collectives"));
}

/// fence, commit, wait in each of 128 threads, with `instead` run in place of the one that is `replaced`.
template <class Instead>
std::string around(int replaced, const Instead& instead) {
  return error_of_grid(dim3(1), dim3(128), 1024, [&] {
    if (replaced == 0)
      instead();
    else
      wgmma_fence();
    if (replaced == 1)
      instead();
    else
      wgmma_commit_group();
    if (replaced == 2)
      instead();
    else
      wgmma_wait_group<0>();
  });
}

TEST_CASE("wgmma: fence, commit and wait are .sync.aligned, of the warp and of the warpgroup") {
  CHECK(around(-1, [] {}) == "");
  const auto execute = [](int which) {
    if (which == 0) wgmma_fence();
    if (which == 1) wgmma_commit_group();
    if (which == 2) wgmma_wait_group<0>();
  };
  for (const int which : {0, 1, 2}) {
    CAPTURE(which);
    const char* const name = which == 0 ? "wgmma.fence" : which == 1 ? "wgmma.commit_group" : "wgmma.wait_group";
    const auto all_but = [&](unsigned first, unsigned last) {
      return around(which, [&] {
        if (threadIdx.x < first || threadIdx.x >= last) execute(which);
      });
    };
    // One lane leaves it out and comes to the next, or leaves the kernel.
    const std::string one_lane = all_but(5, 6);
    CHECK(contains(one_lane, which == 2 ? "not all 32 lanes of the warp take part"
                                        : "the lanes of one warp came to different collectives"));
    CHECK(contains(one_lane, name));
    // A warp does.
    const std::string one_warp = all_but(32, 64);
    CHECK(contains(one_warp, which == 2 ? "warp 1 never came to wgmma.wait_group"
                                        : "the warps of a warpgroup execute different instructions"));
    CHECK(contains(one_warp, name));
    // Lanes come to the same at two places.
    CHECK(contains(around(which,
                          [&] {
                            if (threadIdx.x % 32 < 16)
                              execute(which);
                            else
                              which == 0 ? wgmma_fence() : which == 1 ? wgmma_commit_group() : wgmma_wait_group<0>();
                          }),
                   "the lanes of one warp came to different collectives"));
  }
}

TEST_CASE("wgmma: .sync brings lanes together that went different ways before") {
  CHECK(error_of_grid(dim3(1), dim3(128), 1024, [] {
          if (threadIdx.x == 0) yield_thread();
          wgmma_fence();
          if (threadIdx.x % 32 == 7) yield_thread();
          wgmma_commit_group();
          wgmma_wait_group<0>();
        }) == "");
}

}  // namespace
}  // namespace weft::simt
