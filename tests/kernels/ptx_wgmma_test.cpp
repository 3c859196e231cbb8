// wgmma against PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions": canonical layouts of
// both operands under each swizzle, the fragments of D and A, and what must stand between products and their results.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/ptx/cluster.h"
#include "kernels/ptx/fence.h"
#include "kernels/ptx/wgmma.h"
#include "tests/kernels/ptx_test.h"
#include "tests/kernels/ptx_wgmma_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;
using namespace test::wgmma;

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
        std::uint32_t a[4];
        fill_fragment(a, 0);
        wgmma_fence();
        wgmma_bf16<false>(d, a, descriptor(shared, b), 1);
        wgmma_commit_group();
        wgmma_wait_group<0>();
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
          unsigned char* const shared = both_operands(layout);
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
            unsigned char* const shared = both_operands(layout);
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
  // Of what must be the same in all lanes, one lane brings one thing alone otherwise; then a whole warp does.
  enum class Differs { a, b, scale };
  const auto differing = [&](Differs differs, bool (*who)(unsigned thread)) {
    return run(128, [&](unsigned char* shared, float(&d)[32]) {
      const bool other = who(threadIdx.x);
      wgmma_bf16<false, false>(d, descriptor(shared + (other && differs == Differs::a ? 1024 : 0), layout),
                               descriptor(shared + (other && differs == Differs::b ? 9216 : 8192), layout),
                               !(other && differs == Differs::scale));
    });
  };
  const auto a_lane = [](unsigned thread) { return thread == 39; };
  const auto a_warp = [](unsigned thread) { return thread / 32 == 2; };
  CHECK(contains(differing(Differs::a, a_lane), "the lanes of a warp bring different descriptors of A"));
  CHECK(contains(differing(Differs::b, a_lane), "the lanes of a warp bring different descriptors of B"));
  CHECK(contains(differing(Differs::scale, a_lane), "the lanes of a warp bring different scales of D"));
  CHECK(contains(differing(Differs::a, a_warp), "the warps of a warpgroup execute different instructions"));
  CHECK(contains(differing(Differs::b, a_warp), "the warps of a warpgroup execute different instructions"));
  CHECK(contains(differing(Differs::scale, a_warp),
                 "the warps of a warpgroup bring different scales of D: warp 2 0, warp 0 1"));
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
