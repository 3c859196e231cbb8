// wgmma against PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions": canonical layouts of
// both operands under each swizzle, the fragments of D and A, and what must stand between products and their results.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/wgmma.h"
#include "tests/kernels/ptx_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;

/// How a matrix of `rows` (of M or N) by 16 or more along K lies in shared memory: bytes from its start to an element,
/// as the ISA's figures draw it.
struct Layout {
  Swizzle swizzle;
  bool mn_major;
  int rows, depth;  // in elements
  int size = 2;     // bytes an element

  int chunks() const { return swizzle == Swizzle::none ? 1 : static_cast<int>(swizzle_span(swizzle)) / 16; }
  int per_chunk() const { return 16 / size; }
  // K-major: 8 rows by a span; all of a row group's spans along K, then the next 8 rows. MN-major: spans of 8 positions
  // along K; along M or N side by side, then the next 8 along K.
  int spans() const { return (mn_major ? rows : depth) / (chunks() * per_chunk()); }
  unsigned group_bytes() const { return 8u * 16u * static_cast<unsigned>(chunks()); }
  unsigned leading() const {
    if (swizzle == Swizzle::none && mn_major) return group_bytes() * static_cast<unsigned>(spans());
    return group_bytes();
  }
  unsigned stride() const {
    if (swizzle == Swizzle::none && mn_major) return group_bytes();
    return group_bytes() * static_cast<unsigned>(spans());
  }
  int offset(int row, int k) const {
    const int fast = mn_major ? row : k, slow = mn_major ? k : row;
    const int chunk = fast / per_chunk() % chunks(), span = fast / per_chunk() / chunks(), line = slow % 8;
    // Lines are 16, 32, 64 or 128 bytes; the 128-byte row of shared memory that a line lies in moves its chunks.
    const int moved = chunk ^ (chunks() == 1 ? 0 : line * chunks() / 8 % chunks());
    const int group = slow / 8;
    return (group * spans() + span) * static_cast<int>(group_bytes()) + line * 16 * chunks() + moved * 16 +
           fast % per_chunk() * size;
  }
  int bytes() const { return rows * depth * size; }
};

float value_a(int m, int k) {
  return static_cast<float>((m * 7 + k * 3) % 11 - 5);
}
float value_b(int n, int k) {
  return static_cast<float>((n * 5 + k * 2) % 13 - 6);
}
float start_d(int m, int n) {
  return static_cast<float>((m + n) % 4);
}

std::uint16_t bf16_bits(float value) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

void put(unsigned char* to, const Layout& layout, float (*value)(int, int)) {
  for (int row = 0; row < layout.rows; ++row)
    for (int k = 0; k < layout.depth; ++k) {
      unsigned char* at = to + layout.offset(row, k);
      if (layout.size == 2) {
        const std::uint16_t bits = bf16_bits(value(row, k));
        std::memcpy(at, &bits, 2);
      } else {
        const float element = value(row, k);
        std::memcpy(at, &element, 4);
      }
    }
}

std::uint64_t descriptor(const void* at, const Layout& layout) {
  return wgmma_descriptor(at, layout.swizzle, layout.leading(), layout.stride());
}

// Register i of thread t in the warpgroup holds this element of D (figure "WGMMA .m64nNk16 register fragment layout for
// accumulator matrix D").
int d_row(int t, int i) {
  return t / 32 * 16 + t % 32 / 4 + (i / 2 % 2) * 8;
}
int d_column(int t, int i) {
  return i / 4 * 8 + t % 4 * 2 + i % 2;
}

/// D (64, kN) of one warpgroup after `product` has issued with fences and waits around it.
template <int kN>
struct Run {
  std::vector<float> d = std::vector<float>(64 * kN, -1);
  std::string error;

  template <class Product>
  Run(int shared_bytes, const std::function<void(unsigned char*)>& fill, const Product& product) {
    error = error_of_grid(dim3(1), dim3(128), static_cast<unsigned>(shared_bytes), [&] {
      auto* shared = dynamic_shared<unsigned char>();
      if (threadIdx.x == 0) {
        fill(shared);
        fence_proxy_async();
      }
      __syncthreads();
      const int t = static_cast<int>(threadIdx.x);
      float registers[kN / 2];
      for (int i = 0; i < kN / 2; ++i) registers[i] = start_d(d_row(t, i), d_column(t, i));
      wgmma_fence();
      product(shared, registers);
      wgmma_commit_group();
      wgmma_wait_group<0>();
      for (int i = 0; i < kN / 2; ++i) d[d_row(t, i) * kN + d_column(t, i)] = registers[i];
    });
  }

  /// Against the definition, over `depth` along K.
  void check(int depth, bool from_start) const {
    REQUIRE(error == "");
    for (int m = 0; m < 64; ++m)
      for (int n = 0; n < kN; ++n) {
        float expected = from_start ? start_d(m, n) : 0;
        for (int k = 0; k < depth; ++k) expected += value_a(m, k) * value_b(n, k);
        REQUIRE(d[m * kN + n] == expected);
      }
  }
};

constexpr Swizzle kSwizzles[] = {Swizzle::none, Swizzle::bytes32, Swizzle::bytes64, Swizzle::bytes128};

/// 64 x kN x 64 with A and B in these layouts, four products along K.
template <int kN, bool kATransposed, bool kBTransposed>
void check_layouts(Swizzle swizzle_a, Swizzle swizzle_b) {
  const Layout a{swizzle_a, kATransposed, 64, 64}, b{swizzle_b, kBTransposed, kN, 64};
  const Run<kN> run(
      a.bytes() + b.bytes(),
      [&](unsigned char* shared) {
        put(shared, a, value_a);
        put(shared + a.bytes(), b, value_b);
      },
      [&](unsigned char* shared, float(&d)[kN / 2]) {
        for (int k = 0; k < 64; k += 16) {
          // The 16 elements along K begin where element (0, k) would lie without its swizzle: row 0 is not moved.
          wgmma_bf16<kATransposed, kBTransposed>(d, descriptor(shared + a.offset(0, k), a),
                                                 descriptor(shared + a.bytes() + b.offset(0, k), b), 1);
        }
      });
  run.check(64, true);
}

TEST_CASE("wgmma: canonical layouts of A and B, K-major and MN-major, under each swizzle") {
  for (const Swizzle swizzle : kSwizzles) {
    CAPTURE(static_cast<int>(swizzle));
    check_layouts<64, false, false>(swizzle, swizzle);
    check_layouts<64, true, true>(swizzle, swizzle);
    check_layouts<64, false, true>(swizzle, Swizzle::bytes128);
    check_layouts<64, true, false>(Swizzle::bytes128, swizzle);
  }
}

TEST_CASE("wgmma: N of 64, 128, 192 and 256") {
  check_layouts<128, false, false>(Swizzle::bytes128, Swizzle::bytes128);
  check_layouts<192, false, true>(Swizzle::bytes128, Swizzle::bytes128);
  check_layouts<256, false, false>(Swizzle::bytes128, Swizzle::bytes128);
  check_layouts<256, true, true>(Swizzle::bytes128, Swizzle::bytes128);
}

template <int kN>
void check_a_in_registers() {
  const Layout b{Swizzle::bytes128, false, kN, 64};
  const Run<kN> run(
      b.bytes(), [&](unsigned char* shared) { put(shared, b, value_b); },
      [&](unsigned char* shared, float(&d)[kN / 2]) {
        // Figure "WGMMA .m64nNk16 register fragment layout for matrix A": like D's, two elements a register.
        const int t = static_cast<int>(threadIdx.x), row = t / 32 * 16 + t % 32 / 4, column = t % 4 * 2;
        std::uint32_t a[4];
        for (int r = 0; r < 4; ++r) {
          const int m = row + (r == 1 || r == 3 ? 8 : 0), k = column + (r >= 2 ? 8 : 0);
          a[r] = bf16_bits(value_a(m, k)) | static_cast<std::uint32_t>(bf16_bits(value_a(m, k + 1))) << 16;
        }
        wgmma_bf16<false>(d, a, descriptor(shared, b), 1);
        wgmma_commit_group();
        wgmma_wait_group<0>();
        wgmma_fence();
      });
  run.check(16, true);
}

TEST_CASE("wgmma: A in registers") {
  check_a_in_registers<64>();
  check_a_in_registers<128>();
  check_a_in_registers<192>();
  check_a_in_registers<256>();
}

template <int kN>
void check_tf32(Swizzle swizzle) {
  const Layout a{swizzle, false, 64, 32, 4}, b{swizzle, false, kN, 32, 4};
  const Run<kN> run(
      a.bytes() + b.bytes(),
      [&](unsigned char* shared) {
        put(shared, a, value_a);
        put(shared + a.bytes(), b, value_b);
        // What lies below tf32's precision does not count.
        for (int i = 0; i < a.bytes(); i += 4) shared[i] ^= 0x55;
      },
      [&](unsigned char* shared, float(&d)[kN / 2]) {
        for (int k = 0; k < 32; k += 8)
          wgmma_tf32(d, descriptor(shared + a.offset(0, k), a), descriptor(shared + a.bytes() + b.offset(0, k), b),
                     k > 0);
      });
  run.check(32, false);  // the first product writes D
}

TEST_CASE("wgmma: tf32, and a scale of 0 for D") {
  for (const Swizzle swizzle : kSwizzles) check_tf32<64>(swizzle);
  check_tf32<128>(Swizzle::bytes128);
  check_tf32<256>(Swizzle::bytes128);
}

TEST_CASE("wgmma: the descriptor's bits") {
  CHECK(error_of_grid(dim3(1), dim3(1), 4096, [] {
          auto* shared = dynamic_shared<unsigned char>();
          const std::uint64_t start = shared_address(shared + 2048) / 16;
          CHECK(shared_address(shared) % 1024 == 0);
          CHECK(wgmma_descriptor(shared + 2048, Swizzle::none, 256, 1024) == (start | 16ull << 16 | 64ull << 32));
          CHECK(wgmma_descriptor(shared + 2048, Swizzle::bytes128, 0, 1024) == (start | 64ull << 32 | 1ull << 62));
          CHECK(wgmma_descriptor(shared + 2048, Swizzle::bytes64, 0, 512) == (start | 32ull << 32 | 2ull << 62));
          CHECK(wgmma_descriptor(shared + 2048, Swizzle::bytes32, 0, 256) == (start | 16ull << 32 | 3ull << 62));
          CHECK(wgmma_advance(wgmma_descriptor(shared, Swizzle::none, 0, 0), 32) ==
                wgmma_descriptor(shared + 32, Swizzle::none, 0, 0));
        }) == "");
}

TEST_CASE("wgmma: a pattern that does not begin at a multiple of 1024 has a base offset") {
  const Layout a{Swizzle::bytes128, false, 64, 64}, b{Swizzle::bytes128, false, 64, 64};
  const int shift = 3 * 128;
  const Run<64> run(
      a.bytes() + b.bytes() + 1024,
      [&](unsigned char* shared) {
        put(shared + shift, a, value_a);  // its rows are moved as counted from its own start
        put(shared + 1024 + a.bytes(), b, value_b);
      },
      [&](unsigned char* shared, float(&d)[32]) {
        const std::uint64_t base_offset = std::uint64_t{3} << 49;
        wgmma_bf16<false, false>(d, descriptor(shared + shift, a) | base_offset,
                                 descriptor(shared + 1024 + a.bytes(), b), 1);
      });
  run.check(16, true);
}

/// One product, with one step left out or added.
enum class Step { none, no_fence, no_proxy_fence, no_wait, no_commit, one_warp, touched, wait_one_too_many };
std::string faulty(Step step, std::vector<float>* out = nullptr) {
  const Layout layout{Swizzle::bytes128, false, 64, 64};
  std::vector<float> d(64 * 64, -1);
  const std::string error = error_of_grid(dim3(1), dim3(128), 16384, [&] {
    auto* shared = dynamic_shared<unsigned char>();
    if (threadIdx.x == 0) {
      put(shared, layout, value_a);
      put(shared + 8192, layout, value_b);
      if (step != Step::no_proxy_fence) fence_proxy_async();
    }
    __syncthreads();
    const int t = static_cast<int>(threadIdx.x);
    float sums[32] = {};
    if (step != Step::no_fence) wgmma_fence();
    if (step != Step::one_warp || t < 32)
      wgmma_bf16<false, false>(sums, descriptor(shared, layout), descriptor(shared + 8192, layout), 1);
    if (step != Step::no_commit) wgmma_commit_group();
    if (step == Step::touched) sums[5] = 1;
    if (step == Step::wait_one_too_many) wgmma_wait_group<1>();
    if (step != Step::no_wait && step != Step::wait_one_too_many) wgmma_wait_group<0>();
    for (int i = 0; i < 32; ++i) d[d_row(t, i) * 64 + d_column(t, i)] = sums[i];
  });
  if (out) *out = d;
  return error;
}

TEST_CASE("wgmma: what is left out shows as an error or as NaN") {
  std::vector<float> d;
  CHECK(faulty(Step::none, &d) == "");
  for (const float value : d) REQUIRE(std::isfinite(value));
  CHECK(contains(faulty(Step::no_fence), "no wgmma.fence since the thread's last wait"));
  CHECK(contains(faulty(Step::one_warp),
                 "the warps of a warpgroup execute different instructions: warp 1 comes to "
                 "wgmma.commit_group"));
  CHECK(contains(faulty(Step::touched), "the accumulators were written while a product in them was under way"));
  CHECK(contains(faulty(Step::no_proxy_fence), "no fence.proxy.async has shown to the asynchronous proxy"));
  for (const Step step : {Step::no_wait, Step::no_commit, Step::wait_one_too_many}) {
    CAPTURE(static_cast<int>(step));
    CHECK(faulty(step, &d) == "");
    for (const float value : d) REQUIRE(std::isnan(value));
  }
}

TEST_CASE("wgmma: shared memory is read when the group is waited for, and not before") {
  const Layout layout{Swizzle::bytes128, false, 64, 64};
  std::vector<float> d(64 * 64);
  CHECK(error_of_grid(dim3(1), dim3(128), 16384, [&] {
          auto* shared = dynamic_shared<unsigned char>();
          if (threadIdx.x == 0) {
            put(shared, layout, value_a);
            put(shared + 8192, layout, value_b);
            fence_proxy_async();
          }
          __syncthreads();
          const int t = static_cast<int>(threadIdx.x);
          float sums[32] = {};
          wgmma_fence();
          wgmma_bf16<false, false>(sums, descriptor(shared, layout), descriptor(shared + 8192, layout), 1);
          wgmma_commit_group();
          __syncthreads();
          if (threadIdx.x == 0) {  // too early
            std::memset(shared, 0, 8192);
            fence_proxy_async();
          }
          __syncthreads();
          wgmma_wait_group<0>();
          for (int i = 0; i < 32; ++i) d[d_row(t, i) * 64 + d_column(t, i)] = sums[i];
        }) == "");
  for (const float value : d) CHECK(value == 0);
}

TEST_CASE("wgmma: groups complete in order, and a wait for all but one leaves the newest under way") {
  const Layout layout{Swizzle::bytes128, false, 64, 64};
  std::vector<float> first(64 * 64), second(64 * 64), late(64 * 64);
  for (const std::uint64_t seed : {0, 1, 2}) {
    set_schedule_seed(seed);
    CHECK(error_of_grid(dim3(1), dim3(128), 16384, [&] {
            auto* shared = dynamic_shared<unsigned char>();
            if (threadIdx.x == 0) {
              put(shared, layout, value_a);
              put(shared + 8192, layout, value_b);
              fence_proxy_async();
            }
            __syncthreads();
            const int t = static_cast<int>(threadIdx.x);
            float one[32] = {}, two[32] = {};
            wgmma_fence();
            wgmma_bf16<false, false>(one, descriptor(shared, layout), descriptor(shared + 8192, layout), 0);
            wgmma_commit_group();
            wgmma_bf16<false, false>(two, descriptor(shared, layout), descriptor(shared + 8192, layout), 0);
            wgmma_commit_group();
            wgmma_wait_group<1>();
            for (int i = 0; i < 32; ++i) {
              first[d_row(t, i) * 64 + d_column(t, i)] = one[i];
              late[d_row(t, i) * 64 + d_column(t, i)] = two[i];
            }
            wgmma_wait_group<0>();
            for (int i = 0; i < 32; ++i) second[d_row(t, i) * 64 + d_column(t, i)] = two[i];
          }) == "");
    CHECK(first == second);
    for (const float value : late) REQUIRE(std::isnan(value));
    for (const float value : first) REQUIRE(std::isfinite(value));
  }
  set_schedule_seed(0);
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

TEST_CASE("wgmma: wgmma_keep changes nothing, for it is no instruction") {
  float d[4] = {1, 2, 3, 4};
  wgmma_keep(d);
  for (int i = 0; i < 4; ++i) CHECK(d[i] == static_cast<float>(i + 1));
}

TEST_CASE("wgmma: misuse") {
  const auto run = [](unsigned threads, const std::function<void(unsigned char*, float(&)[32])>& body) {
    return error_of_grid(dim3(1), dim3(threads), 16384, [&] {
      float d[32] = {};
      wgmma_fence();
      body(dynamic_shared<unsigned char>(), d);
    });
  };
  const Layout layout{Swizzle::bytes128, false, 64, 64};
  const auto product = [&](unsigned char* shared, float(&d)[32]) {
    wgmma_bf16<false, false>(d, descriptor(shared, layout), descriptor(shared + 8192, layout), 1);
  };
  CHECK(contains(run(96, product), "the last warpgroup of the block has fewer than four warps"));
  CHECK(contains(
      run(128, [&](unsigned char* shared, float(&d)[32]) { product(shared + 16 * 8 * threadIdx.x / 32 / 8 * 8, d); }),
      "bring different"));
  CHECK(contains(run(128, [&](unsigned char* shared, float(&d)[32]) { product(shared + threadIdx.x / 32 * 1024, d); }),
                 "the warps of a warpgroup execute different instructions"));
  CHECK(contains(run(128,
                     [&](unsigned char* shared, float(&d)[32]) {
                       product(shared + 4096, d);
                       wgmma_commit_group();
                       wgmma_wait_group<0>();
                     }),
                 "outside the block's dynamic shared memory"));
  CHECK(contains(run(128,
                     [&](unsigned char* shared, float(&d)[32]) {
                       const std::uint64_t reserved = std::uint64_t{1} << 46;
                       wgmma_bf16<false, false>(d, descriptor(shared, layout) | reserved, descriptor(shared, layout),
                                                1);
                     }),
                 "has bits set that must be 0"));
}

}  // namespace
}  // namespace weft::simt
