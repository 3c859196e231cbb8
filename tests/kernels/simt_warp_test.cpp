// Warp collectives, lane by lane, and the atomics.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/launch.h"

namespace weft::simt {
namespace {

constexpr unsigned kAll = 0xffffffff;

template <class T>
__global__ void shuffles(T* out, int width) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T value = static_cast<T>(100 * (threadIdx.x / 32) + lane) + T(1) / T(4);
  out[threadIdx.x * 4] = __shfl_sync(kAll, value, 5, width);
  out[threadIdx.x * 4 + 1] = __shfl_up_sync(kAll, value, 3, width);
  out[threadIdx.x * 4 + 2] = __shfl_down_sync(kAll, value, 3, width);
  out[threadIdx.x * 4 + 3] = __shfl_xor_sync(kAll, value, 6, width);
}

template <class T>
void check_shuffles() {
  for (const int width : {32, 16, 8}) {
    std::vector<T> out(96 * 4, T(-1));
    launch(shuffles<T>, {.grid = 1, .block = 96}, out.data(), width);
    for (int thread = 0; thread < 96; ++thread) {
      const int lane = thread % 32, segment = lane / width * width;
      const auto of = [&](int source) { return static_cast<T>(100 * (thread / 32) + source) + T(1) / T(4); };
      CHECK(out[thread * 4] == of(segment + 5 % width));
      CHECK(out[thread * 4 + 1] == of(lane - segment >= 3 ? lane - 3 : lane));
      CHECK(out[thread * 4 + 2] == of(lane - segment + 3 < width ? lane + 3 : lane));
      CHECK(out[thread * 4 + 3] == of((lane ^ 6) < segment + width ? lane ^ 6 : lane));
    }
  }
}

TEST_CASE("simt: shuffles of every type and width") {
  check_shuffles<float>();
  check_shuffles<int>();
  check_shuffles<unsigned>();
  check_shuffles<double>();
  check_shuffles<long long>();
  check_shuffles<unsigned long long>();
}

__global__ void votes(unsigned* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  unsigned* mine = out + threadIdx.x * 8;
  mine[0] = __ballot_sync(kAll, lane % 3 == 0);
  mine[1] = static_cast<unsigned>(__any_sync(kAll, lane == 9) * 2 + __any_sync(kAll, lane == 99));
  mine[2] = static_cast<unsigned>(__all_sync(kAll, lane >= 0) * 2 + __all_sync(kAll, lane != 9));
  mine[3] = __match_any_sync(kAll, lane / 4);
  int same = 7;
  mine[4] = __match_all_sync(kAll, 1.5f, &same);
  mine[5] = static_cast<unsigned>(same);
  mine[6] = __match_all_sync(kAll, lane, &same) + static_cast<unsigned>(same);
  mine[7] = __activemask();
  __syncwarp();
}

__global__ void odd_lanes_stay(int* out) {
  if (threadIdx.x % 2 == 0) return;
  out[threadIdx.x] = __shfl_sync(__activemask(), static_cast<int>(threadIdx.x), 31);
}

TEST_CASE("simt: __activemask serves those that stay") {
  std::vector<int> out(32, -1);
  launch(odd_lanes_stay, {.grid = 1, .block = 32}, out.data());
  for (int lane = 0; lane < 32; ++lane) CHECK(out[lane] == (lane % 2 ? 31 : -1));
}

TEST_CASE("simt: votes and matches") {
  std::vector<unsigned> out(64 * 8, 0);
  launch(votes, {.grid = 1, .block = 64}, out.data());
  for (unsigned thread = 0; thread < 64; ++thread) {
    const unsigned* mine = &out[thread * 8];
    CHECK(mine[0] == 0x49249249u);
    CHECK(mine[1] == 2);
    CHECK(mine[2] == 2);
    CHECK(mine[3] == 0xfu << (thread % 32 / 4 * 4));
    CHECK(mine[4] == kAll);
    CHECK(mine[5] == 1);
    CHECK(mine[6] == 0);
    CHECK(mine[7] == kAll);
  }
}

__global__ void reductions(int* out, unsigned* unsigned_out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane * 3] = __reduce_add_sync(kAll, lane - 20);
  out[lane * 3 + 1] = __reduce_min_sync(kAll, lane - 20);
  out[lane * 3 + 2] = __reduce_max_sync(kAll, lane - 20);
  const unsigned value = 0xf0000000u + static_cast<unsigned>(lane);
  unsigned* mine = unsigned_out + lane * 6;
  mine[0] = __reduce_add_sync(kAll, value);
  mine[1] = __reduce_min_sync(kAll, value);
  mine[2] = __reduce_max_sync(kAll, value);
  mine[3] = __reduce_and_sync(kAll, value);
  mine[4] = __reduce_or_sync(kAll, value);
  mine[5] = __reduce_xor_sync(kAll, value | (lane == 0 ? 0x100u : 0u));
}

TEST_CASE("simt: reductions over a warp") {
  std::vector<int> out(96, -1);
  std::vector<unsigned> unsigned_out(32 * 6, 1);
  launch(reductions, {.grid = 1, .block = 32}, out.data(), unsigned_out.data());
  for (int lane = 0; lane < 32; ++lane) {
    CHECK(out[lane * 3] == 31 * 16 - 20 * 32);
    CHECK(out[lane * 3 + 1] == -20);
    CHECK(out[lane * 3 + 2] == 11);
    CHECK(unsigned_out[lane * 6] == 496);
    CHECK(unsigned_out[lane * 6 + 1] == 0xf0000000u);
    CHECK(unsigned_out[lane * 6 + 2] == 0xf000001fu);
    CHECK(unsigned_out[lane * 6 + 3] == 0xf0000000u);
    CHECK(unsigned_out[lane * 6 + 4] == 0xf000001fu);
    CHECK(unsigned_out[lane * 6 + 5] == 0x100u);
  }
}

__global__ void divergent_halves(float* out) {
  const unsigned lane = threadIdx.x;
  float value = static_cast<float>(lane);
  if (lane < 16) {
    for (int offset = 8; offset > 0; offset /= 2) value += __shfl_xor_sync(0x0000ffffu, value, offset);
  } else if (lane < 24) {
    value = __shfl_sync(0x00ff0000u, value, 20);
  } else {
    return;  // lanes that have left are not waited for
  }
  __syncwarp(0x00ffffffu);
  out[lane] = value;
}

__global__ void partial_warp(int* out) {
  out[threadIdx.x] = __shfl_sync(kAll, static_cast<int>(threadIdx.x), 4);
}

TEST_CASE("simt: groups of lanes go their own ways, and a warp may be partly there") {
  std::vector<float> out(32, -1);
  launch(divergent_halves, {.grid = 1, .block = 32}, out.data());
  for (int lane = 0; lane < 32; ++lane) CHECK(out[lane] == (lane < 16 ? 120 : lane < 24 ? 20 : -1));
  std::vector<int> partial(37, -1);
  launch(partial_warp, {.grid = 1, .block = 37}, partial.data());
  for (int lane = 0; lane < 32; ++lane) CHECK(partial[lane] == 4);
  for (int lane = 32; lane < 37; ++lane) CHECK(partial[lane] == 36);
}

__global__ void mask_without_caller() {
  __shfl_sync(0x0000ffffu, 1, 0);
}
__global__ void source_outside_mask() {
  if (threadIdx.x < 16) __shfl_sync(0x0000ffffu, 1, 20);
}
__global__ void source_has_left() {
  if (threadIdx.x >= 16) return;
  __shfl_sync(kAll, 1, 20);
}
constexpr int kDifferentLine = __LINE__ + 3;
__global__ void different_places() {
  if (threadIdx.x < 16) {
    __shfl_sync(kAll, 1, 0);
  } else {
    __shfl_sync(kAll, 2, 0);
  }
}
__global__ void different_kinds() {
  if (threadIdx.x < 16) {
    __any_sync(kAll, 1);
  } else {
    __syncwarp();
  }
}
__global__ void fences_in_both_branches() {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __syncwarp();
  }
}

std::string error_of(void (*kernel)()) {
  try {
    launch(kernel, {.grid = 1, .block = 32});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("simt: what CUDA leaves undefined in a warp is an error") {
  const auto reports = [](void (*kernel)(), const std::string& part) {
    const std::string error = error_of(kernel);
    CHECK_MESSAGE(error.find(part) != std::string::npos, error);
  };
  reports(mask_without_caller, "leaves out the calling lane 16");
  reports(source_outside_mask, "lane 0 reads lane 20");
  reports(source_has_left, "lane 0 reads lane 20");
  reports(different_places, "simt_warp_test.cpp:" + std::to_string(kDifferentLine));
  reports(different_places, "simt_warp_test.cpp:" + std::to_string(kDifferentLine + 2));
  reports(different_kinds, "__any_sync at");
  reports(different_kinds, "__syncwarp at");
  CHECK(error_of(fences_in_both_branches) == "");
}

struct AtomicResults {
  int add = 0, sub = 0, min = 1000, max = -1000, last = 0, and_bits = -1, or_bits = 0, xor_bits = 0, cas = 0;
  unsigned uadd = 0, umin = 1000, umax = 0, inc = 0, dec = 0, uexch = 0;
  unsigned long long wide = 0, wide_max = 0;
  long long signed_max = -5;
  float sum = 0;
  double double_sum = 0;
  __nv_bfloat16 half_sum = 0.0f;
};

__global__ void atomics(AtomicResults* r) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&r->add, i);
  atomicSub(&r->sub, i);
  atomicMin(&r->min, i - 50);
  atomicMax(&r->max, i - 500);
  atomicExch(&r->last, 77);
  atomicAnd(&r->and_bits, ~(1 << (i % 8)));
  atomicOr(&r->or_bits, 1 << (i % 8));
  atomicXor(&r->xor_bits, 1 << (i % 3));
  for (int old = r->cas, seen; (seen = atomicCAS(&r->cas, old, old + 1)) != old;) old = seen;
  atomicAdd(&r->uadd, static_cast<unsigned>(i));
  atomicMin(&r->umin, static_cast<unsigned>(i + 3));
  atomicMax(&r->umax, static_cast<unsigned>(i + 3));
  atomicInc(&r->inc, 6);
  atomicDec(&r->dec, 6);
  atomicExch(&r->uexch, 5u);
  atomicAdd(&r->wide, 1ull << 33);
  atomicMax(&r->wide_max, (1ull << 40) + static_cast<unsigned>(i));
  atomicMax(&r->signed_max, static_cast<long long>(i) - 3);
  atomicAdd(&r->sum, 0.5f);
  atomicAdd(&r->double_sum, 0.25);
  if (i < 64) atomicAdd(&r->half_sum, __nv_bfloat16(2.0f));
}

TEST_CASE("simt: atomics") {
  AtomicResults r;
  launch(atomics, {.grid = 10, .block = 100}, &r);
  CHECK(r.add == 499500);
  CHECK(r.sub == -499500);
  CHECK(r.min == -50);
  CHECK(r.max == 499);
  CHECK(r.last == 77);
  CHECK(r.and_bits == static_cast<int>(0xffffff00u));
  CHECK(r.or_bits == 0xff);
  CHECK(r.xor_bits == 6);  // 334, 333 and 333 times
  CHECK(r.cas == 1000);
  CHECK(r.uadd == 499500u);
  CHECK(r.umin == 3);
  CHECK(r.umax == 1002);
  CHECK(r.inc == 1000 % 7);
  CHECK(r.dec == (7 - 1000 % 7) % 7);
  CHECK(r.uexch == 5);
  CHECK(r.wide == 1000ull << 33);
  CHECK(r.wide_max == (1ull << 40) + 999);
  CHECK(r.signed_max == 996);
  CHECK(r.sum == 500);
  CHECK(r.double_sum == 250);
  CHECK(static_cast<float>(r.half_sum) == 128);
  int x = 5;
  CHECK(atomicAdd(&x, 2) == 5);
  CHECK(atomicCAS(&x, 7, 9) == 7);
  CHECK(atomicCAS(&x, 7, 1) == 9);
  CHECK(atomicMin(&x, 3) == 9);
  CHECK(x == 3);
}

}  // namespace
}  // namespace weft::simt
