// The SIMT machine: barriers, what it reports, poison, exceptions, the schedule.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/launch.h"

namespace weft::simt {
namespace {

/// What launch() throws, or "" where it does not.
template <class... Parameters, class... Args>
std::string error_of(void (*kernel)(Parameters...), const LaunchConfig& config, Args&&... args) {
  try {
    launch(kernel, config, std::forward<Args>(args)...);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string line_text(int line) {
  return "simt_machine_test.cpp:" + std::to_string(line);
}

__global__ void write_indices(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += static_cast<int>(thread + 1000 * block);
}

TEST_CASE("simt: every thread of every block runs once, with its indices") {
  for (const int threads : {1, 2, 5}) {
    const int before = thread_count();
    set_thread_count(threads);
    std::vector<int> out(6 * 4 * 24, 0);
    launch(write_indices, {.grid = dim3(2, 3, 4), .block = dim3(4, 3, 2)}, out.data());
    for (int i = 0; i < static_cast<int>(out.size()); ++i) CHECK(out[i] == i % 24 + i / 24 * 1000);
    set_thread_count(before);
  }
}

__global__ void reverse_in_shared(const float* in, float* out) {
  __shared__ float tile[256];
  float* dynamic = dynamic_shared<float>();
  for (int round = 0; round < 3; ++round) {
    tile[threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x] + static_cast<float>(round);
    dynamic[255 - threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x];
    __syncthreads();
    out[blockIdx.x * 256 + threadIdx.x] = tile[255 - threadIdx.x] + dynamic[threadIdx.x];
    __syncthreads();
  }
}

TEST_CASE("simt: barriers and shared memory, static and dynamic") {
  std::vector<float> in(256 * 9), out(in.size(), -1);
  std::iota(in.begin(), in.end(), 1.0f);
  launch(reverse_in_shared, {.grid = 9, .block = 256, .shared_bytes = 1024}, in.data(), out.data());
  for (int i = 0; i < 256 * 9; ++i) CHECK(out[i] == 2 * in[i / 256 * 256 + 255 - i % 256] + 2);
}

__global__ void count_predicates(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(t % 3 == 0);
  const int all = __syncthreads_and(t < 1000);
  const int not_all = __syncthreads_and(t != 7);
  const int any = __syncthreads_or(t == 7);
  const int none = __syncthreads_or(t == 1000);
  out[t] = count * 16 + all * 8 + not_all * 4 + any * 2 + none;
}

TEST_CASE("simt: barriers that count") {
  std::vector<int> out(70, -1);
  launch(count_predicates, {.grid = 1, .block = 70}, out.data());
  for (int value : out) CHECK(value == 24 * 16 + 8 + 2);
}

__global__ void read_before_write(unsigned* out) {
  __shared__ unsigned first[40];
  if (threadIdx.x == 0) out[blockIdx.x * 4] = first[39];
  first[threadIdx.x] = 1;
  __shared__ __align__(256) float second[40];
  if (threadIdx.x == 0) {
    out[blockIdx.x * 4 + 1] = __float_as_uint(second[7]);
    out[blockIdx.x * 4 + 2] = dynamic_shared<unsigned>()[9];
  }
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x * 4 + 3] = first[0] + first[39];  // the later declaration left them alone
  second[threadIdx.x] = 2;
  dynamic_shared<unsigned>()[threadIdx.x] = 3;
}

template <int N>
__global__ void read_before_write_in_a_template(unsigned* out) {
  __shared__ float tile[N];
  if (threadIdx.x == 0) out[blockIdx.x] = __float_as_uint(tile[N - 1]);
  tile[threadIdx.x] = 5;
}

TEST_CASE("simt: shared memory is poison before it is written, in every block") {
  REQUIRE(shared_poison_available());
  const float nan = __uint_as_float(kPoison);
  CHECK(nan != nan);
  std::vector<unsigned> out(4 * 20, 0);
  for (int launches = 0; launches < 2; ++launches) {
    launch(read_before_write, {.grid = 20, .block = 40, .shared_bytes = 160}, out.data());
    for (int block = 0; block < 20; ++block) {
      CHECK(out[block * 4] == kPoison);
      CHECK(out[block * 4 + 1] == kPoison);
      CHECK(out[block * 4 + 2] == kPoison);
      CHECK(out[block * 4 + 3] == 2);
    }
  }
  launch(read_before_write_in_a_template<64>, {.grid = 20, .block = 64}, out.data());
  for (int block = 0; block < 20; ++block) CHECK(out[block] == kPoison);
  launch(read_before_write_in_a_template<33>, {.grid = 20, .block = 33}, out.data());
  for (int block = 0; block < 20; ++block) CHECK(out[block] == kPoison);
}

constexpr int kLeaverLine = __LINE__ + 3;
__global__ void some_leave_first(int leaver) {
  if (static_cast<int>(threadIdx.x) == leaver) return;
  __syncthreads();
}

constexpr int kTwoBarriersLine = __LINE__ + 3;
__global__ void two_barriers() {
  if (threadIdx.x < 20) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_CASE("simt: a barrier that not all threads reach is reported with both places") {
  for (const int leaver : {0, 40, 63}) {  // before, between and after those who wait
    const std::string error = error_of(some_leave_first, {.grid = 2, .block = 64}, leaver);
    CHECK_MESSAGE(contains(error, line_text(kLeaverLine)), error);
    CHECK_MESSAGE(contains(error, "thread (" + std::to_string(leaver) + ",0,0)"), error);
    CHECK_MESSAGE(contains(error, "left the kernel"), error);
    CHECK_MESSAGE(contains(error, "block (0,0,0)"), error);
  }
  const std::string error = error_of(two_barriers, {.grid = 1, .block = 64});
  CHECK_MESSAGE(contains(error, line_text(kTwoBarriersLine)), error);
  CHECK_MESSAGE(contains(error, line_text(kTwoBarriersLine + 2)), error);
  launch(some_leave_first, {.grid = 2, .block = 64}, 1000);  // and the machine goes on
}

constexpr int kDeadlockLine = __LINE__ + 3;
__global__ void barrier_against_shuffle() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __shfl_sync(0xffffffff, 1, 0);
  }
}

__global__ void wait_for_nobody(int* flag) {
  if (threadIdx.x == 3) wait_until([=] { return *flag == 1; }, "a flag that nobody sets");
  if (threadIdx.x == 4) wait_until([=] { return *flag == 2; }, "another such flag");
}

__global__ void wait_for_the_last(int* flag) {
  if (threadIdx.x == 63) *flag = 1;
  wait_until([=] { return *flag == 1; }, "thread 63");
}

TEST_CASE("simt: threads that wait for each other for ever are reported, those that poll too") {
  const std::string error = error_of(barrier_against_shuffle, {.grid = 1, .block = 32});
  CHECK_MESSAGE(contains(error, "__syncthreads at"), error);
  CHECK_MESSAGE(contains(error, line_text(kDeadlockLine)), error);
  CHECK_MESSAGE(contains(error, line_text(kDeadlockLine + 2)), error);
  int flag = 0;
  const std::string polling = error_of(wait_for_nobody, {.grid = 1, .block = 64}, &flag);
  CHECK_MESSAGE(contains(polling, "a flag that nobody sets"), polling);
  CHECK_MESSAGE(contains(polling, "another such flag"), polling);
  launch(wait_for_the_last, {.grid = 1, .block = 64}, &flag);
  CHECK(flag == 1);
}

__global__ void spin_lock(int* lock, int* counter) {
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  const int before = *counter;
  yield_thread();  // keeps the lock while others try
  *counter = before + 1;
  atomicExch(lock, 0);
}

TEST_CASE("simt: a lock within a block is given back") {
  int lock = 0, counter = 0;
  launch(spin_lock, {.grid = 1, .block = 48}, &lock, &counter);
  CHECK(counter == 48);
}

struct Counted {
  explicit Counted(int* live) : live(live) { __atomic_fetch_add(live, 1, __ATOMIC_RELAXED); }
  ~Counted() { __atomic_fetch_sub(live, 1, __ATOMIC_RELAXED); }
  int* live;
};

__global__ void throws_in_one(int* live, int thrower) {
  const Counted local(live);
  std::vector<int> heap(100, 1);  // leaks unless the stack is unwound
  __syncthreads();
  if (static_cast<int>(threadIdx.x) == thrower && blockIdx.x >= 2) throw std::out_of_range("row 7 of 5");
  __syncthreads();
}

constexpr int kTrapLine = __LINE__ + 2;
__global__ void traps() {
  if (threadIdx.y == 3) __trap();
}

TEST_CASE("simt: an exception in a thread comes out of the launch with its place, and stacks unwind") {
  for (const int thrower : {0, 17, 99}) {
    int live = 0;
    const std::string error = error_of(throws_in_one, {.grid = 5, .block = 100}, &live, thrower);
    CHECK_MESSAGE(contains(error, "row 7 of 5"), error);
    CHECK_MESSAGE(contains(error, "block (2,0,0)"), error);  // the first that fails, whatever the number of OS threads
    CHECK_MESSAGE(contains(error, "thread (" + std::to_string(thrower) + ",0,0)"), error);
    CHECK(live == 0);
  }
  const int launch_line = __LINE__ + 1;
  const std::string error = error_of(traps, {.grid = 1, .block = dim3(2, 4)});
  CHECK_MESSAGE(contains(error, "thread (0,3,0)"), error);
  CHECK_MESSAGE(contains(error, line_text(kTrapLine)), error);
  CHECK_MESSAGE(contains(error, "launched at"), error);
  CHECK_MESSAGE(contains(error, line_text(launch_line)), error);
}

__global__ void does_nothing() {}

TEST_CASE("simt: a launch that no GPU allows is refused") {
  CHECK(contains(error_of(does_nothing, {.grid = 1, .block = 1025}), "1024 threads"));
  CHECK(contains(error_of(does_nothing, {.grid = 1, .block = dim3(1, 1, 65)}), "1024 threads"));
  CHECK(contains(error_of(does_nothing, {.grid = 0, .block = 32}), "grid of (0,1,1)"));
  CHECK(contains(error_of(does_nothing, {.grid = dim3(1, 65536), .block = 32}), "65535"));
  CHECK(contains(error_of(does_nothing, {.grid = 1, .block = 32, .shared_bytes = 240000}), "227 KiB"));
  CHECK_THROWS_AS(__syncthreads(), Error);
}

__global__ void record_order(int* out, int* next) {
  out[(*next)++] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[(*next)++] = static_cast<int>(threadIdx.x);
}

std::vector<int> order_under(std::uint64_t seed) {
  const std::uint64_t before = schedule_seed();
  set_schedule_seed(seed);
  std::vector<int> order(200, -1);
  int next = 0;
  launch(record_order, {.grid = 1, .block = 100}, order.data(), &next);
  set_schedule_seed(before);
  CHECK(next == 200);
  return order;
}

TEST_CASE("simt: the schedule is a function of the seed") {
  const std::vector<int> plain = order_under(0);
  for (int i = 0; i < 200; ++i) CHECK(plain[i] == i % 100);
  const std::vector<int> one = order_under(1);
  CHECK(one == order_under(1));
  CHECK(one != plain);
  CHECK(one != order_under(2));
  for (int phase = 0; phase < 2; ++phase) {  // each thread once in each phase
    std::vector<int> sorted(one.begin() + phase * 100, one.begin() + phase * 100 + 100);
    std::sort(sorted.begin(), sorted.end());
    for (int i = 0; i < 100; ++i) CHECK(sorted[i] == i);
  }
}

constexpr int kSkippedLine = __LINE__ + 4;
__global__ void needs_its_barrier(int* out) {
  __shared__ int tile[64];
  tile[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = tile[63 - threadIdx.x];
}

TEST_CASE("simt: sites of synchronisation are listed, and one can be skipped") {
  forget_sync_sites();
  std::vector<int> out(64, -1);
  launch(needs_its_barrier, {.grid = 1, .block = 64}, out.data());
  const std::vector<SyncSite> sites = sync_sites();
  REQUIRE(sites.size() == 1);
  CHECK(contains(sites[0].file, "simt_machine_test.cpp"));
  CHECK(sites[0].line == kSkippedLine);
  CHECK(sites[0].what == "__syncthreads");
  CHECK(out[0] == 63);
  set_site_fault(SiteFault::left_out, "simt_machine_test.cpp", kSkippedLine);
  launch(needs_its_barrier, {.grid = 1, .block = 64}, out.data());
  CHECK(static_cast<unsigned>(out[0]) == kPoison);  // what the race reads
  clear_site_faults();
  launch(needs_its_barrier, {.grid = 1, .block = 64}, out.data());
  CHECK(out[0] == 63);
}

// The furthest that a warp sees itself ahead of the other.
__global__ void step_by_step(int* lead) {
  __shared__ int steps[2];
  const unsigned warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) steps[warp] = 0;
  __syncthreads();
  for (int i = 1; i <= 20; ++i) {
    __syncwarp();
    if (threadIdx.x % 32 != 0) continue;
    steps[warp] = i;
    if (i - steps[1 - warp] > *lead) *lead = i - steps[1 - warp];
  }
}

TEST_CASE("simt: warps keep step under seed 0, and run ahead of each other under others") {
  const auto furthest = [](std::uint64_t seed) {
    const std::uint64_t before = schedule_seed();
    set_schedule_seed(seed);
    int lead = 0;
    launch(step_by_step, {.grid = 1, .block = 64}, &lead);
    set_schedule_seed(before);
    return lead;
  };
  CHECK(furthest(0) <= 1);
  int most = 0;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CHECK(furthest(seed) == furthest(seed));
    most = std::max(most, furthest(seed));
  }
  CHECK(most == 20);
}

__global__ void named_barriers(int* out) {
  __shared__ int slot;
  const bool producer = threadIdx.x < 32;
  for (int round = 0; round < 4; ++round) {
    if (producer) {
      if (threadIdx.x == 0) slot = round * 10;
      block_barrier_arrive(1, 64, "bar.arrive", Site::here());  // full
      block_barrier(2, 64, 0, "bar.sync", Site::here());        // empty again
    } else {
      block_barrier(1, 64, 0, "bar.sync", Site::here());
      out[round * 32 + threadIdx.x - 32] = slot;
      block_barrier(2, 64, 0, "bar.sync", Site::here());
    }
  }
}

TEST_CASE("simt: named barriers, with arrivals that do not wait") {
  std::vector<int> out(128, -1);
  launch(named_barriers, {.grid = 1, .block = 64}, out.data());
  for (int i = 0; i < 128; ++i) CHECK(out[i] == i / 32 * 10);
}

__global__ void deep(int* out, int depth) {
  struct Recurse {
    static int sum(int n, volatile int* keep) {
      volatile int local[64];
      local[n % 64] = n;
      *keep = local[n % 64];
      return n == 0 ? 0 : local[n % 64] + sum(n - 1, keep);
    }
  };
  volatile int keep = 0;
  __syncthreads();
  out[threadIdx.x] = Recurse::sum(depth, &keep);
}

TEST_CASE("simt: the stack of a thread can be made larger") {
  const std::size_t before = stack_bytes();
  set_stack_bytes(4 << 20);
  std::vector<int> out(3, 0);
  launch(deep, {.grid = 1, .block = 3}, out.data(), 2000);
  for (int value : out) CHECK(value == 2000 * 2001 / 2);
  set_stack_bytes(before);
  launch(deep, {.grid = 1, .block = 3}, out.data(), 20);
  CHECK(out[2] == 210);
}

}  // namespace
}  // namespace weft::simt
