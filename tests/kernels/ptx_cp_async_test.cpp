// cp.async on simt: what is copied and zero-filled, when it lands, and what is refused. The clauses are those of the
// PTX ISA's sections "cp.async", "cp.async.commit_group" and "cp.async.wait_group / cp.async.wait_all".
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/launch.h"
#include "kernels/ptx.h"

namespace weft::simt {
namespace {

/// Sets the schedule seed for a scope.
class Seed {
 public:
  explicit Seed(std::uint64_t seed) : before_(schedule_seed()) { set_schedule_seed(seed); }
  Seed(const Seed&) = delete;
  Seed& operator=(const Seed&) = delete;
  ~Seed() { set_schedule_seed(before_); }

 private:
  std::uint64_t before_;
};

std::vector<float> counting(int count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

/// Runs `kernel(x, y)` on one thread; y is what it returned.
template <class Kernel>
std::vector<float> run(Kernel kernel, const std::vector<float>& x, std::size_t results, unsigned threads = 1) {
  std::vector<float> y(results, -7.0f);
  launch(
      +[](Kernel k, const float* in, float* out) { k(in, out); }, {.grid = dim3(1), .block = dim3(threads)}, kernel,
      x.data(), y.data());
  return y;
}

template <class Kernel>
std::string error_of(Kernel kernel, unsigned threads = 1) {
  try {
    run(kernel, counting(64), 64, threads);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("cp.async copies 4, 8 and 16 bytes and fills what the source size leaves with zeros") {
  const auto copied = [](auto copy) {
    return run(
        [copy](const float* x, float* y) {
          __shared__ float tile[8];
          copy(tile, x);
          cp_async_wait_all();
          for (int i = 0; i < 8; ++i) y[i] = tile[i];
        },
        counting(8), 8);
  };
  const auto expect = [](const std::vector<float>& y, std::vector<float> first) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      CAPTURE(i);
      if (i < first.size())
        CHECK(y[i] == first[i]);
      else
        CHECK(std::isnan(y[i]));  // beyond the copy nothing was written
    }
  };
  expect(copied([](float* to, const float* from) { cp_async_ca<4>(to, from); }), {1});
  expect(copied([](float* to, const float* from) { cp_async_ca<8>(to, from); }), {1, 2});
  expect(copied([](float* to, const float* from) { cp_async_ca<16>(to, from); }), {1, 2, 3, 4});
  expect(copied([](float* to, const float* from) { cp_async_cg(to, from); }), {1, 2, 3, 4});
  expect(copied([](float* to, const float* from) { cp_async_ca<4>(to, from, 0); }), {0});
  expect(copied([](float* to, const float* from) { cp_async_ca<8>(to, from, 4); }), {1, 0});
  expect(copied([](float* to, const float* from) { cp_async_ca<16>(to, from, 12); }), {1, 2, 3, 0});
  expect(copied([](float* to, const float* from) { cp_async_cg(to, from, 8); }), {1, 2, 0, 0});
  expect(copied([](float* to, const float* from) { cp_async_cg(to, from, 0); }), {0, 0, 0, 0});
  // A source size that is no whole number: the upper bytes of 2.0f (00 00 00 40) become 0.
  expect(copied([](float* to, const float* from) { cp_async_ca<8>(to, from, 7); }), {1, 0});
  // A size of 0 reads nothing, so the source may be any aligned address.
  expect(copied([](float* to, const float*) { cp_async_cg(to, nullptr, 0); }), {0, 0, 0, 0});
}

TEST_CASE("cp.async reads its source when it lands, at the wait, and its destination is undefined before") {
  const Seed seed(0);
  std::vector<float> source = counting(4);
  std::vector<float> y(3);
  float* const in = source.data();
  float* const out = y.data();
  launch(
      +[](float* x, float* result) {
        __shared__ float tile[4];
        tile[0] = 9;
        cp_async_ca<4>(tile, x);
        result[0] = tile[0];
        x[0] = 5;
        cp_async_commit_group();
        result[1] = tile[0];
        cp_async_wait_group<0>();
        result[2] = tile[0];
      },
      {.grid = dim3(1), .block = dim3(1)}, in, out);
  CHECK(std::isnan(y[0]));
  CHECK(std::isnan(y[1]));
  CHECK(y[2] == 5);
}

TEST_CASE("cp.async.wait_group<N> leaves the N newest groups and everything uncommitted under way") {
  const Seed seed(0);
  // Four groups of one float each, the third empty, and a copy in no group.
  const auto landed = [](auto wait) {
    const std::vector<float> y = run(
        [wait](const float* x, float* out) {
          __shared__ float tile[4];
          cp_async_ca<4>(tile, x);
          cp_async_commit_group();
          cp_async_ca<4>(tile + 1, x + 1);
          cp_async_commit_group();
          cp_async_commit_group();
          cp_async_ca<4>(tile + 2, x + 2);
          cp_async_commit_group();
          cp_async_ca<4>(tile + 3, x + 3);
          wait();
          for (int i = 0; i < 4; ++i) out[i] = tile[i];
          cp_async_wait_all();
        },
        counting(4), 4);
    std::string text;
    for (int i = 0; i < 4; ++i) text += y[i] == static_cast<float>(i + 1) ? '1' : std::isnan(y[i]) ? '0' : '?';
    return text;
  };
  CHECK(landed([] { cp_async_wait_group<4>(); }) == "0000");
  CHECK(landed([] { cp_async_wait_group<3>(); }) == "1000");
  CHECK(landed([] { cp_async_wait_group<2>(); }) == "1100");
  CHECK(landed([] { cp_async_wait_group<1>(); }) == "1100");
  CHECK(landed([] { cp_async_wait_group<0>(); }) == "1110");
  CHECK(landed([] { cp_async_wait_all(); }) == "1111");
  CHECK(landed([] {}) == "0000");
}

TEST_CASE("cp.async: a wait is for the copies of the thread that waits alone") {
  const Seed seed(0);
  const std::vector<float> y = run(
      [](const float* x, float* out) {
        __shared__ float tile[2];
        cp_async_ca<4>(tile + threadIdx.x, x + threadIdx.x);
        cp_async_commit_group();
        if (threadIdx.x == 0) cp_async_wait_group<0>();
        __syncthreads();
        if (threadIdx.x == 0) {
          out[0] = tile[0];
          out[1] = tile[1];
        }
        __syncthreads();
        cp_async_wait_group<0>();
        __syncthreads();
        if (threadIdx.x == 0) out[2] = tile[1];
      },
      counting(2), 3, 2);
  CHECK(y[0] == 1);
  CHECK(std::isnan(y[1]));
  CHECK(y[2] == 2);
}

TEST_CASE("cp.async under other seeds lands somewhere between issue and wait, in the same place for the same seed") {
  const auto landed = [](std::uint64_t seed) {
    const Seed order(seed);
    const std::vector<float> y = run(
        [](const float* x, float* out) {
          __shared__ float tile[64];
          for (int i = 0; i < 64; ++i) cp_async_ca<4>(tile + i, x + i);
          for (int i = 0; i < 20; ++i) __syncthreads();
          for (int i = 0; i < 64; ++i) out[i] = tile[i];
          cp_async_wait_all();
          for (int i = 0; i < 64; ++i) out[64 + i] = tile[i];
        },
        counting(64), 128);
    std::string early;
    for (int i = 0; i < 64; ++i) {
      early += std::isnan(y[i]) ? '0' : '1';
      CHECK(y[64 + i] == static_cast<float>(i + 1));
    }
    return early;
  };
  CHECK(!contains(landed(0), "1"));
  const std::string one = landed(1);
  CHECK(contains(one, "1"));
  CHECK(contains(one, "0"));
  CHECK(landed(1) == one);
  CHECK(landed(2) != one);
}

TEST_CASE("cp.async still under way when its block ends is dropped, and the next block starts clean") {
  const Seed seed(0);
  std::vector<float> y(4);
  const std::vector<float> x = counting(4);
  launch(
      +[](const float* in, float* out) {
        __shared__ float tile[1];
        cp_async_ca<4>(tile, in);
        if (blockIdx.x % 2 == 1) cp_async_wait_all();
        out[blockIdx.x] = tile[0];
      },
      {.grid = dim3(4), .block = dim3(1)}, x.data(), y.data());
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == 1);
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == 1);
}

TEST_CASE("cp.async lies in dynamic shared memory too, up to its last byte") {
  std::vector<float> y(8);
  const std::vector<float> x = counting(8);
  const auto kernel = +[](const float* in, float* out) {
    float* const tile = dynamic_shared<float>();
    cp_async_cg(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
    cp_async_wait_all();
    for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = tile[4 * threadIdx.x + i];
  };
  launch(kernel, {.grid = dim3(1), .block = dim3(2), .shared_bytes = 32}, x.data(), y.data());
  CHECK(y == x);
  std::string message;
  try {
    launch(kernel, {.grid = dim3(1), .block = dim3(2), .shared_bytes = 16}, x.data(), y.data());
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(contains(message, "the 16 bytes at the shared address"));
  CHECK(contains(message, "thread (1,0,0)"));
}

TEST_CASE("cp.async.mbarrier.arrive.noinc arrives when the copies before it have landed, without waiting for them") {
  for (const std::uint64_t order : {0, 1, 2, 3}) {
    const Seed seed(order);
    const std::vector<float> y = run(
        [](const float* x, float* out) {
          __shared__ float tile[65];
          __shared__ std::uint64_t barrier;
          if (threadIdx.x == 0) mbarrier_init(&barrier, 64);
          __syncthreads();
          cp_async_ca<4>(tile + threadIdx.x, x + threadIdx.x);
          cp_async_mbarrier_arrive_noinc(&barrier);
          if (threadIdx.x == 0) cp_async_ca<4>(tile + 64, x);  // behind the arrival: nobody waits for it
          mbarrier_wait(&barrier, 0);
          out[threadIdx.x] = tile[63 - threadIdx.x];
          if (threadIdx.x == 0) out[64] = tile[64];
        },
        counting(64), 65, 64);
    for (int i = 0; i < 64; ++i) CHECK(y[i] == static_cast<float>(64 - i));
    if (order == 0) CHECK(std::isnan(y[64]));
  }
  // One arrival too few, and the barrier is never passed.
  CHECK(contains(error_of(
                     [](const float* x, float*) {
                       __shared__ float tile[2];
                       __shared__ std::uint64_t barrier;
                       if (threadIdx.x == 0) mbarrier_init(&barrier, 2);
                       __syncthreads();
                       cp_async_ca<4>(tile + threadIdx.x, x + threadIdx.x);
                       if (threadIdx.x == 0) cp_async_mbarrier_arrive_noinc(&barrier);
                       mbarrier_wait(&barrier, 0);
                     },
                     2),
                 "threads wait for each other for ever"));
  CHECK(contains(error_of([](const float*, float*) {
                   __shared__ std::uint64_t word;
                   word = 0;
                   cp_async_mbarrier_arrive_noinc(&word);
                 }),
                 "no mbarrier has been initialised"));
}

TEST_CASE("cp.async refuses what the ISA leaves undefined, with one line") {
  const std::string unaligned = error_of([](const float* x, float*) {
    __shared__ float tile[8];
    cp_async_cg(tile, x + 1);
  });
  CHECK(contains(unaligned, "cp.async.cg at "));
  CHECK(contains(unaligned, "ptx_cp_async_test.cpp:"));
  CHECK(contains(unaligned, "the global address"));
  CHECK(contains(unaligned, "is not a multiple of 16"));
  CHECK(contains(error_of([](const float* x, float*) {
                   __shared__ float tile[8];
                   cp_async_ca<8>(tile + 1, x);
                 }),
                 "the shared address"));
  CHECK(contains(error_of([](const float* x, float*) {
                   __shared__ float tile[8];
                   cp_async_ca<8>(tile, x, 9);
                 }),
                 "9 source bytes for a copy of 8"));
  if (shared_poison_available()) {
    CHECK(contains(error_of([](const float* x, float*) {
                     alignas(16) float local[4];
                     cp_async_cg(local, x);
                   }),
                   "are not shared memory of this block"));
    CHECK(contains(error_of([](const float* x, float* y) { cp_async_ca<4>(y, x); }), "are not shared memory"));
    CHECK(contains(error_of([](const float* x, float*) {
                     __shared__ float tile[6];
                     cp_async_cg(tile + 4, x);
                   }),
                   "the 16 bytes at the shared address"));
  }
}

TEST_CASE("cp.async: commit and waits are sites that can be skipped") {
  const Seed seed(0);
  constexpr int kCommit = __LINE__ + 6, kWait = kCommit + 1;
  const auto copy = [] {
    return run(
        [](const float* x, float* y) {
          __shared__ float tile[1];
          cp_async_ca<4>(tile, x);
          cp_async_commit_group();
          cp_async_wait_group<0>();
          y[0] = tile[0];
        },
        counting(1), 1)[0];
  };
  forget_sync_sites();
  CHECK(copy() == 1);
  int seen = 0;
  for (const SyncSite& site : sync_sites())
    if (site.line == kCommit)
      seen += site.what == "cp.async.commit_group";
    else if (site.line == kWait)
      seen += site.what == "cp.async.wait_group";
  CHECK(seen == 2);
  for (const int line : {kCommit, kWait}) {
    set_site_fault(SiteFault::left_out, "ptx_cp_async_test.cpp", line);
    CHECK(std::isnan(copy()));
    clear_site_faults();
  }
  CHECK(copy() == 1);
}

}  // namespace
}  // namespace weft::simt
