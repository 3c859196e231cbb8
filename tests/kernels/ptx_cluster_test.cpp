// Clusters: ranks, barrier.cluster, mapa and distributed shared memory, remote arrivals; and that a cluster that cannot
// go on says so. PTX ISA, "Special Registers", "barrier.cluster", "mapa", "mbarrier.arrive".
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/mbarrier.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;
using test::Settings;

TEST_CASE("cluster: ranks count x first within the cluster, and clusters tile the grid") {
  const Settings settings;
  for (const int threads : {1, 2, 5}) {
    set_thread_count(threads);
    std::vector<int> rank(4 * 6 * 2, -1), size(4 * 6 * 2, -1);
    const std::string error = error_of_grid(
        dim3(4, 6, 2), dim3(1), 0,
        [&] {
          const unsigned at = (blockIdx.z * 6 + blockIdx.y) * 4 + blockIdx.x;
          rank[at] = static_cast<int>(cluster_rank());
          size[at] = static_cast<int>(cluster_size());
        },
        dim3(2, 3, 1));
    CHECK(error == "");
    for (int z = 0; z < 2; ++z)
      for (int y = 0; y < 6; ++y)
        for (int x = 0; x < 4; ++x) {
          CHECK(rank[(z * 6 + y) * 4 + x] == y % 3 * 2 + x % 2);
          CHECK(size[(z * 6 + y) * 4 + x] == 6);
        }
  }
}

TEST_CASE("cluster: a block without one is rank 0 of 1, and its barrier is the block's own") {
  std::vector<int> out(3 * 40, 0);
  CHECK(error_of_grid(dim3(3), dim3(40), 1024, [&] {
          auto* values = dynamic_shared<int>();
          values[threadIdx.x] = static_cast<int>(threadIdx.x + cluster_rank() + 10 * cluster_size());
          cluster_sync();
          out[blockIdx.x * 40 + threadIdx.x] = values[39 - threadIdx.x];
        }) == "");
  for (int i = 0; i < 120; ++i) CHECK(out[i] == 39 - i % 40 + 10);
}

// Each block writes its shared memory; after a barrier of the cluster each reads its neighbour's through mapa, and
// writes into the next but one.
TEST_CASE("cluster: blocks read and write each other's shared memory between barriers of the cluster") {
  const Settings settings;
  for (const std::uint64_t seed : {0, 1, 2, 3}) {
    set_schedule_seed(seed);
    for (const int threads : {1, 3}) {
      set_thread_count(threads);
      constexpr int kBlocks = 8, kThreads = 33;
      std::vector<int> read(kBlocks * kThreads, -1), written(kBlocks * kThreads, -1);
      const std::string error = error_of_grid(
          dim3(kBlocks), dim3(kThreads), 2048,
          [&] {
            auto* mine = dynamic_shared<int>();
            int* inbox = mine + 64;
            const unsigned rank = cluster_rank(), at = blockIdx.x * kThreads + threadIdx.x;
            mine[threadIdx.x] = static_cast<int>(at);
            cluster_arrive();
            cluster_wait();
            read[at] = map_shared_rank(mine, (rank + 1) % 4)[threadIdx.x];
            map_shared_rank(inbox, (rank + 2) % 4)[threadIdx.x] = static_cast<int>(at);
            cluster_sync();
            written[at] = inbox[threadIdx.x];
          },
          dim3(4));
      CHECK(error == "");
      for (int block = 0; block < kBlocks; ++block)
        for (int t = 0; t < kThreads; ++t) {
          const int first = block / 4 * 4, rank = block % 4;
          CHECK(read[block * kThreads + t] == (first + (rank + 1) % 4) * kThreads + t);
          CHECK(written[block * kThreads + t] == (first + (rank + 2) % 4) * kThreads + t);
        }
    }
  }
}

TEST_CASE("cluster: arrivals at another block's mbarrier") {
  const Settings settings;
  for (const std::uint64_t seed : {0, 1, 2}) {
    set_schedule_seed(seed);
    std::vector<int> sums(4, 0);
    const std::string error = error_of_grid(
        dim3(4), dim3(32), 1024,
        [&] {
          auto* barrier = dynamic_shared<std::uint64_t>();
          auto* values = reinterpret_cast<int*>(barrier + 1);
          if (threadIdx.x == 0) {
            mbarrier_init(barrier, 4);
            fence_mbarrier_init();
          }
          __syncwarp();
          cluster_arrive_relaxed();
          cluster_wait();
          if (threadIdx.x < 4) {  // thread t of each block serves block t
            map_shared_rank(values, threadIdx.x)[cluster_rank()] = 1 << cluster_rank();
            mbarrier_arrive_cluster(barrier, threadIdx.x);
          }
          mbarrier_wait(barrier, 0);
          if (threadIdx.x == 0) sums[blockIdx.x] = values[0] + values[1] + values[2] + values[3];
          __syncwarp();
          cluster_sync();
        },
        dim3(4));
    CHECK(error == "");
    CHECK(sums == std::vector<int>(4, 15));
  }
}

/// A ring in which each block signals the next, with what is skipped where `mistake` says so.
enum class Mistake { none, no_fence, no_start_sync, no_end_sync };
std::string ring(Mistake mistake) {
  return error_of_grid(
      dim3(2), dim3(32), 1024,
      [&] {
        auto* barrier = dynamic_shared<std::uint64_t>();
        if (threadIdx.x == 0) {
          mbarrier_init(barrier, 1);
          if (mistake != Mistake::no_fence) fence_mbarrier_init();
        }
        __syncwarp();
        if (mistake != Mistake::no_start_sync) {
          cluster_arrive_relaxed();
          cluster_wait();
        }
        if (cluster_rank() == 0) {
          if (threadIdx.x == 0) mbarrier_arrive_cluster(barrier, 1);
          mbarrier_wait(barrier, 0);
        } else {
          mbarrier_wait(barrier, 0);
          if (threadIdx.x == 0) mbarrier_arrive_cluster(barrier, 0);
        }
        __syncwarp();
        if (mistake != Mistake::no_end_sync) cluster_sync();
      },
      dim3(2));
}

TEST_CASE("cluster: the synchronisation that remote arrivals need") {
  CHECK(ring(Mistake::none) == "");
  CHECK(contains(ring(Mistake::no_fence), "nothing has shown that to the cluster's other blocks"));
  CHECK(contains(ring(Mistake::no_start_sync), "has not begun or has ended"));
  CHECK(ring(Mistake::no_end_sync) == "");  // nobody reaches into a block after its last wait
  CHECK(contains(error_of_grid(
                     dim3(2), dim3(32), 1024,
                     [] {
                       auto* values = dynamic_shared<int>();
                       cluster_sync();
                       if (cluster_rank() == 1) return;  // although block 0 still writes here
                       map_shared_rank(values, 1)[threadIdx.x] = 1;
                     },
                     dim3(2)),
                 "has not begun or has ended"));
}

TEST_CASE("cluster: a releasing arrival shows which mbarriers the thread has made, a relaxed one does not") {
  // Block 1 arrives at block 0's mbarrier. What stands between it and the barrier's initialisation, by `between`.
  const auto run = [](auto between) {
    return error_of_grid(
        dim3(2), dim3(1), 64,
        [&] {
          auto* barrier = dynamic_shared<std::uint64_t>();
          mbarrier_init(barrier, 1);
          between(barrier);
          if (cluster_rank() == 1) mbarrier_arrive_cluster(barrier, 0);
          if (cluster_rank() == 0) mbarrier_wait(barrier, 0);
          cluster_sync();
        },
        dim3(2));
  };
  const char* const unseen = "nothing has shown that to the cluster's other blocks";
  CHECK(run([](std::uint64_t*) { cluster_arrive(), cluster_wait(); }) == "");
  CHECK(run([](std::uint64_t*) { cluster_sync(); }) == "");
  CHECK(contains(run([](std::uint64_t*) { cluster_arrive_relaxed(), cluster_wait(); }), unseen));
  CHECK(run([](std::uint64_t*) { fence_mbarrier_init(), cluster_arrive_relaxed(), cluster_wait(); }) == "");
}

/// Block 0 has made two mbarriers and arrives at its own second one; block 1, which sees that, at the first. `arrive`
/// is block 0's arrival, by which it shows what it has made, or does not.
template <class Arrive>
std::string shows_by_arrival(const Arrive& arrive) {
  return error_of_grid(
      dim3(2), dim3(1), 64,
      [&] {
        auto* barriers = dynamic_shared<std::uint64_t>();
        if (cluster_rank() == 1) {
          mbarrier_init(&barriers[2], 1);
          fence_mbarrier_init();
        }
        cluster_arrive_relaxed();
        cluster_wait();
        if (cluster_rank() == 0) {
          mbarrier_init(&barriers[0], 1);
          arrive(&barriers[2]);  // block 1's
          mbarrier_wait(&barriers[0], 0);
        } else {
          mbarrier_wait(&barriers[2], 0);
          mbarrier_arrive_cluster(&barriers[0], 0);
        }
        cluster_sync();
      },
      dim3(2));
}

TEST_CASE("cluster: mbarrier_arrive_cluster releases, mbarrier_arrive_cluster_relaxed only counts") {
  CHECK(shows_by_arrival([](std::uint64_t* barrier) { mbarrier_arrive_cluster(barrier, 1); }) == "");
  CHECK(contains(shows_by_arrival([](std::uint64_t* barrier) { mbarrier_arrive_cluster_relaxed(barrier, 1); }),
                 "nothing has shown that to the cluster's other blocks"));
  CHECK(shows_by_arrival([](std::uint64_t* barrier) {
          fence_mbarrier_init();
          mbarrier_arrive_cluster_relaxed(barrier, 1);
        }) == "");
}

TEST_CASE("cluster: a relaxed arrival at any block's mbarrier, its own too, is one of its phase's") {
  const Settings settings;
  for (const std::uint64_t seed : {0, 1, 2}) {
    set_schedule_seed(seed);
    std::vector<int> early(3, -1), late(3, -1);
    CHECK(error_of_grid(
              dim3(3), dim3(1), 64,
              [&] {
                auto* barrier = dynamic_shared<std::uint64_t>();
                mbarrier_init(barrier, 4);  // three blocks', and one of its own to look at it before the last comes
                fence_mbarrier_init();
                cluster_arrive_relaxed();
                cluster_wait();
                for (unsigned rank = 0; rank < 3; ++rank) mbarrier_arrive_cluster_relaxed(barrier, rank);
                cluster_sync();
                early[blockIdx.x] = mbarrier_test_wait_parity(barrier, 0);
                mbarrier_arrive_cluster_relaxed(barrier, cluster_rank());
                late[blockIdx.x] = mbarrier_test_wait_parity(barrier, 0);
                cluster_sync();
              },
              dim3(3)) == "");
    CHECK(early == std::vector<int>(3, 0));
    CHECK(late == std::vector<int>(3, 1));
  }
  const auto in_pair = [](auto body) { return error_of_grid(dim3(2), dim3(1), 64, body, dim3(2)); };
  CHECK(contains(in_pair([] { mbarrier_arrive_cluster_relaxed(dynamic_shared<std::uint64_t>(), 2); }), "mapa at "));
  CHECK(contains(in_pair([] {
                   cluster_sync();
                   mbarrier_arrive_cluster_relaxed(dynamic_shared<std::uint64_t>(), 1 - cluster_rank());
                   cluster_sync();
                 }),
                 "mbarrier.arrive.relaxed.shared::cluster at "));
}

TEST_CASE("cluster: a cluster that waits for ever says where each of its blocks does") {
  const Settings settings;
  for (const int threads : {1, 4}) {
    set_thread_count(threads);
    int barrier_line = 0, wait_line = 0;
    const std::string error = error_of_grid(
        dim3(4), dim3(32), 1024,
        [&] {
          auto* barrier = dynamic_shared<std::uint64_t>();
          if (threadIdx.x == 0) mbarrier_init(barrier, 1);
          __syncthreads();
          if (cluster_rank() == 0) {
            wait_line = __LINE__, mbarrier_wait(barrier, 0);
          } else {
            barrier_line = __LINE__, cluster_sync();
          }
        },
        dim3(2));
    CHECK(contains(error, "32 in mbarrier.try_wait.parity at "));
    CHECK(contains(error, "ptx_cluster_test.cpp:" + std::to_string(wait_line)));
    CHECK(contains(error, "32 in cluster_sync at "));
    CHECK(contains(error, "ptx_cluster_test.cpp:" + std::to_string(barrier_line)));
    CHECK(contains(error, "block (1,0,0): threads wait for each other for ever"));
    CHECK(contains(error, "block 0 of the cluster: threads wait"));
  }
}

TEST_CASE("cluster: of several failing clusters the first is told, and the rest of the failing one is unwound") {
  const Settings settings;
  for (const int threads : {1, 2, 4}) {
    set_thread_count(threads);
    const std::string error = error_of_grid(
        dim3(16), dim3(32), 0,
        [] {
          if (blockIdx.x >= 4 && cluster_rank() == 1 && threadIdx.x == 5) fail("thrown on purpose");
          cluster_sync();
        },
        dim3(2));
    CHECK(contains(error, "block (5,0,0): thread (5,0,0): thrown on purpose"));
  }
}

TEST_CASE("cluster: misuse of its barrier, of mapa and of the launch") {
  const auto in_pair = [](auto body) { return error_of_grid(dim3(2), dim3(32), 64, body, dim3(2)); };
  CHECK(contains(in_pair([] { cluster_wait(); }), "the thread has not arrived before"));
  CHECK(contains(in_pair([] {
                   cluster_arrive();
                   cluster_arrive();
                 }),
                 "has arrived already"));
  CHECK(contains(in_pair([] { map_shared_rank(dynamic_shared<int>(), 2); }), "there is no block 2"));
  CHECK(contains(in_pair([] {
                   int local = 0;
                   map_shared_rank(&local, 1 - cluster_rank());
                 }),
                 "not in this block's dynamic shared memory"));
  CHECK(contains(error_of_grid(
                     dim3(3), dim3(32), 0, [] {}, dim3(2)),
                 "not a whole number of clusters"));
  CHECK(contains(error_of_grid(
                     dim3(16), dim3(32), 0, [] {}, dim3(16)),
                 "not within 1 to 8 blocks"));
}

TEST_CASE("cluster: threads that have left are not waited for") {
  std::vector<int> out(2, 0);
  CHECK(error_of_grid(
            dim3(2), dim3(64), 0,
            [&] {
              if (threadIdx.x >= 32) return;
              cluster_sync();
              if (threadIdx.x == 0) out[blockIdx.x] = 1;
            },
            dim3(2)) == "");
  CHECK(out == std::vector<int>{1, 1});
}

__global__ void rank_kernel(int* out) {
  out[blockIdx.x] = static_cast<int>(cluster_rank());
}

TEST_CASE("cluster: launch() takes its extents") {
  std::vector<int> out(4, -1);
  launch(rank_kernel, {.grid = dim3(4), .block = dim3(1), .cluster = dim3(2)}, out.data());
  CHECK(out == std::vector<int>{0, 1, 0, 1});
}

}  // namespace
}  // namespace weft::simt
