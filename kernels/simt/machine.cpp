// Launches: the pool of OS threads, what is allowed, and which error comes out.
#include "kernels/simt/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/cluster.h"
#include "kernels/simt/launches.h"
#include "kernels/simt/sanitizer.h"

namespace weft::simt {
namespace {

std::uint64_t environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr std::size_t kDefaultStack = (WEFT_SIMT_ASAN ? 256 : 64) * 1024;
std::atomic<std::size_t> stack_bytes_setting{kDefaultStack};

std::atomic<int>& thread_setting() {
  static std::atomic<int> setting{static_cast<int>(std::clamp<std::uint64_t>(
      environment("WEFT_SIMT_THREADS", std::max(1u, std::thread::hardware_concurrency())), 1, 1024))};
  return setting;
}

std::atomic<std::uint64_t>& seed_setting() {
  static std::atomic<std::uint64_t> setting{environment("WEFT_SIMT_SEED", 0)};
  return setting;
}

/// The OS threads that run one cluster's blocks.
struct Team {
  Cluster cluster;
  bool go_on = false;

  /// Waits until all `size` have come; the last one does `then` before any goes on.
  template <class Then>
  void meet(unsigned size, const Then& then) {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = round_;
    if (++come_ < size) {
      met_.wait(lock, [&] { return round_ != round; });
      return;
    }
    then();
    come_ = 0;
    ++round_;
    met_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable met_;
  unsigned come_ = 0;
  std::uint64_t round_ = 0;
};

/// One launch as the workers see it. Blocks are numbered in the order of their index, cluster after cluster.
struct Job {
  const Launch* launch = nullptr;
  std::uint64_t blocks = 0;
  unsigned cluster_blocks = 1;
  std::atomic<std::uint64_t> next{0};
  std::atomic<unsigned> next_worker{0};
  std::deque<Team> teams;  // each runs one cluster at a time, where there are any
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::uint64_t failing_block = std::numeric_limits<std::uint64_t>::max();
  std::string error;
};

uint3 index_of(const dim3& extents, std::uint64_t linear) {
  return {static_cast<unsigned>(linear % extents.x), static_cast<unsigned>(linear / extents.x % extents.y),
          static_cast<unsigned>(linear / extents.x / extents.y)};
}

uint3 block_index(const Launch& launch, std::uint64_t number) {
  const dim3 &grid = launch.grid, &cluster = launch.cluster;
  const std::uint64_t blocks = std::uint64_t{cluster.x} * cluster.y * cluster.z;
  const uint3 of_cluster = index_of(dim3(grid.x / cluster.x, grid.y / cluster.y, grid.z / cluster.z), number / blocks);
  const uint3 within = index_of(cluster, number % blocks);
  return {of_cluster.x * cluster.x + within.x, of_cluster.y * cluster.y + within.y,
          of_cluster.z * cluster.z + within.z};
}

// What is kept is the failure of the first failing block, however many OS threads there are.
void keep_failure(Job& job, std::uint64_t block, const std::string& error) {
  const std::lock_guard lock(job.mutex);
  job.failed = true;
  if (block < job.failing_block) {
    job.failing_block = block;
    job.error = error;
  }
}

// Without clusters, blocks are claimed in order, and a claimed block runs to its end even after another failed.
void work_alone(Job& job, BlockRunner& runner) {
  static thread_local Cluster cluster;
  const auto threads = static_cast<unsigned>(job.launch->order.size());
  std::uint64_t block = 0;
  try {
    runner.prepare(*job.launch);
    while (!job.failed.load(std::memory_order_relaxed) && (block = job.next.fetch_add(1)) < job.blocks) {
      cluster.prepare(1, threads, 0);
      const std::string error = runner.run(block_index(*job.launch, block), cluster, 0);
      if (!error.empty()) keep_failure(job, block, error);
    }
  } catch (const std::exception& error) {
    keep_failure(job, block, error.what());
  }
}

// A team takes every n-th cluster, and goes on until it comes to one that lies behind a failure.
void work_in_team(Job& job, BlockRunner& runner, unsigned worker) {
  const unsigned size = job.cluster_blocks;
  Team& team = job.teams[worker / size];
  const unsigned rank = worker % size;
  try {
    runner.prepare(*job.launch);
  } catch (const std::exception& error) {
    keep_failure(job, 0, error.what());
  }
  for (std::uint64_t cluster = worker / size;; cluster += job.teams.size()) {
    const std::uint64_t first = cluster * size;
    team.meet(size, [&] {
      const std::lock_guard lock(job.mutex);
      team.go_on = first < job.blocks && first < job.failing_block;
      team.cluster.prepare(size, static_cast<unsigned>(job.launch->order.size()), schedule_seed());
    });
    if (!team.go_on) return;
    const std::string error = runner.run(block_index(*job.launch, first + rank), team.cluster, rank);
    if (!error.empty()) keep_failure(job, first + rank, error);
  }
}

void work(Job& job) {
  static thread_local BlockRunner runner;
  const unsigned worker = job.next_worker.fetch_add(1);
  if (job.teams.empty()) {
    work_alone(job, runner);
  } else {
    work_in_team(job, runner, worker);
  }
  runner.finish();
}

/// OS threads that wait for launches. The launching thread works along, so there is one less of them than are used.
class Pool {
 public:
  ~Pool() { stop(); }

  void run(Job& job, int helpers) {
    if (helpers != static_cast<int>(threads_.size())) {
      stop();
      stopping_ = false;
      for (int i = 0; i < helpers; ++i) threads_.emplace_back([this, seen = generation_] { wait_for_work(seen); });
    }
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
      busy_ = helpers;
    }
    started_.notify_all();
    work(job);
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    started_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  void wait_for_work(std::uint64_t seen) {
    std::unique_lock lock(mutex_);
    for (;;) {
      started_.wait(lock, [&] { return stopping_ || generation_ != seen; });
      if (stopping_) return;
      seen = generation_;
      Job& job = *job_;
      lock.unlock();
      work(job);
      lock.lock();
      if (--busy_ == 0) finished_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable started_, finished_;
  std::vector<std::thread> threads_;
  Job* job_ = nullptr;
  std::uint64_t generation_ = 0;
  int busy_ = 0;
  bool stopping_ = false;
};

std::uint64_t split_mix(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::vector<unsigned> thread_order(std::size_t count) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (std::uint64_t state = schedule_seed()) {
    for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[split_mix(state) % i]);
  }
  return order;
}

std::string extents(const dim3& d) {
  return fmt::format("({},{},{})", d.x, d.y, d.z);
}

// The limits of every GPU since compute capability 3.0, and 9.0's for shared memory: what runs here can run there.
void check_extents(const dim3& grid, const dim3& block, const dim3& cluster, unsigned shared_bytes, Site where) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  std::string fault;
  if (threads == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024) {
    fault = fmt::format("a block of {} is not within 1 to 1024 threads, (1024,1024,64)", extents(block));
  } else if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    fault = fmt::format("a grid of {} is not within (1,1,1) to (2^31-1,65535,65535)", extents(grid));
  } else if (const std::uint64_t blocks = std::uint64_t{cluster.x} * cluster.y * cluster.z;
             blocks == 0 || blocks > Cluster::kMaxBlocks) {
    fault = fmt::format("a cluster of {} is not within 1 to {} blocks", extents(cluster), Cluster::kMaxBlocks);
  } else if (grid.x % cluster.x != 0 || grid.y % cluster.y != 0 || grid.z % cluster.z != 0) {
    fault = fmt::format("a grid of {} is not a whole number of clusters of {}", extents(grid), extents(cluster));
  } else if (shared_bytes > 227 * 1024) {
    fault = fmt::format("{} bytes of dynamic shared memory are more than 227 KiB", shared_bytes);
  } else if (running_block) {
    fault = "a kernel cannot launch another";
  }
  if (!fault.empty()) fail(fmt::format("simt: kernel launched at {}:{}: {}", where.file, where.line, fault));
}

}  // namespace

void run_grid(dim3 grid, dim3 block, dim3 cluster, unsigned shared_bytes, void (*body)(const void*),
              const void* closure, Site where) {
  check_extents(grid, block, cluster, shared_bytes, where);
  const Launch launch{grid, block,   cluster, shared_bytes,
                      body, closure, where,   thread_order(std::size_t{block.x} * block.y * block.z)};
  Job job;
  job.launch = &launch;
  job.blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  job.cluster_blocks = cluster.x * cluster.y * cluster.z;
  {
    // One launch at a time: two of them would only share the same cores, and under AddressSanitizer a block's static
    // shared memory is the process's.
    static std::mutex one_launch;
    static Pool pool;
    const std::lock_guard lock(one_launch);
    const bool watched = launches_watched();
    if (watched) note_launch_begins();
    const int threads = thread_count();
    if (job.cluster_blocks > 1) {
      static Pool cluster_pool;  // of another size than the pool, which would otherwise be made anew each time
      const std::uint64_t teams = std::min<std::uint64_t>(threads, job.blocks / job.cluster_blocks);
      for (std::uint64_t i = 0; i < teams; ++i) job.teams.emplace_back();
      cluster_pool.run(job, static_cast<int>(teams * job.cluster_blocks) - 1);
    } else if (threads == 1 || job.blocks == 1) {
      work(job);
    } else {
      pool.run(job, threads - 1);
    }
    if (watched) {
      note_launch({.file = where.file,
                   .line = where.line,
                   .threads = block.x * block.y * block.z,
                   .cluster_blocks = job.cluster_blocks,
                   .dynamic_shared_bytes = shared_bytes});
    }
  }
  if (job.failed) {
    const uint3 at = block_index(launch, job.failing_block);
    fail(fmt::format("simt: kernel launched at {}:{} with grid {} and block {}: block ({},{},{}): {}", where.file,
                     where.line, extents(grid), extents(block), at.x, at.y, at.z, job.error));
  }
}

int thread_count() {
  return WEFT_SIMT_ASAN ? 1 : thread_setting().load();
}
void set_thread_count(int count) {
  thread_setting() = std::clamp(count, 1, 1024);
}

std::size_t stack_bytes() {
  return stack_bytes_setting;
}
void set_stack_bytes(std::size_t bytes) {
  stack_bytes_setting = std::max<std::size_t>(bytes, 16 * 1024);
}

std::uint64_t schedule_seed() {
  return seed_setting();
}
void set_schedule_seed(std::uint64_t seed) {
  seed_setting() = seed;
}

}  // namespace weft::simt
