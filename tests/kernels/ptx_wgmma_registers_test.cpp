// wgmma's registers: PTX ISA, "wgmma.fence" (it stands between an access to registers and a product that uses them, as
// accumulators or as fragments of A) and "wgmma.mma_async" (they are not touched before the product is waited for).
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/ptx/wgmma.h"
#include "tests/kernels/ptx_test.h"
#include "tests/kernels/ptx_wgmma_test.h"

namespace weft::simt {
namespace {

using test::contains;
using test::error_of_grid;
using namespace test::wgmma;

const Layout kLayout{Swizzle::bytes128, false, 64, 64};

/// B, `k` columns on.
std::uint64_t b_from(unsigned char* shared, int k) {
  return descriptor(shared + 8192 + kLayout.offset(0, k), kLayout);
}

/// Body(shared, sums) in the 128 threads of a warpgroup; D as they leave it in `sums`, in `out`.
template <class Body>
std::string of_warpgroup(const Body& body, std::vector<float>* out = nullptr) {
  std::vector<float> d(64 * 64, -1);
  const std::string error = error_of_grid(dim3(1), dim3(128), 16384, [&] {
    unsigned char* const shared = both_operands(kLayout);
    const int t = static_cast<int>(threadIdx.x);
    float sums[32] = {};
    body(shared, sums);
    for (int i = 0; i < 32; ++i) d[d_row(t, i) * 64 + d_column(t, i)] = sums[i];
  });
  if (out) *out = d;
  return error;
}

void check_product(const std::vector<float>& d, int depth) {
  for (int m = 0; m < 64; ++m)
    for (int n = 0; n < 64; ++n) {
      float expected = 0;
      for (int k = 0; k < depth; ++k) expected += value_a(m, k) * value_b(n, k);
      REQUIRE(d[m * 64 + n] == expected);
    }
}

/// Two products whose A is in the same registers, written again in between.
std::string same_fragment(bool wait, bool fence, std::vector<float>* out = nullptr) {
  return of_warpgroup(
      [&](unsigned char* shared, float(&sums)[32]) {
        std::uint32_t a[4];
        fill_fragment(a, 0);
        wgmma_fence();
        wgmma_bf16<false>(sums, a, b_from(shared, 0), 0);
        wgmma_commit_group();
        if (wait) wgmma_wait_group<0>();
        fill_fragment(a, 16);
        if (fence) wgmma_fence();
        wgmma_bf16<false>(sums, a, b_from(shared, 16), 1);
        wgmma_commit_group();
        wgmma_wait_group<0>();
      },
      out);
}

TEST_CASE("wgmma: registers of A written again want a wait before and a fence after") {
  std::vector<float> d;
  CHECK(same_fragment(true, true, &d) == "");
  check_product(d, 32);
  CHECK(contains(same_fragment(false, true), "registers of A were written while a product that reads them"));
  CHECK(contains(same_fragment(false, false), "of A was written since the thread's last wgmma.fence"));
  CHECK(contains(same_fragment(true, false), "no wgmma.fence since the thread's last wait"));
}

TEST_CASE("wgmma: two fragments of A written before one fence") {
  std::vector<float> d;
  CHECK(of_warpgroup(
            [](unsigned char* shared, float(&sums)[32]) {
              std::uint32_t a[2][4];
              fill_fragment(a[0], 0);
              fill_fragment(a[1], 16);
              wgmma_fence();
              wgmma_bf16<false>(sums, a[0], b_from(shared, 0), 0);
              wgmma_bf16<false>(sums, a[1], b_from(shared, 16), 1);
              wgmma_commit_group();
              wgmma_wait_group<0>();
            },
            &d) == "");
  check_product(d, 32);
}

TEST_CASE("wgmma: one register of A written by one thread between fence and product") {
  for (const unsigned thread : {0u, 77u}) {
    CAPTURE(thread);
    CHECK(contains(of_warpgroup([&](unsigned char* shared, float(&sums)[32]) {
                     std::uint32_t a[4];
                     fill_fragment(a, 0);
                     wgmma_fence();
                     if (threadIdx.x == thread) a[2] ^= 1;
                     wgmma_bf16<false>(sums, a, b_from(shared, 0), 1);
                     wgmma_commit_group();
                     wgmma_wait_group<0>();
                   }),
                   "register 2 of A was written since the thread's last wgmma.fence; the fence must come after it"));
  }
}

/// A product in accumulators of which one thread writes register 9 between the fence and the product.
std::string written_accumulators(bool write, bool fence_again, int scale) {
  return of_warpgroup([&](unsigned char* shared, float(&sums)[32]) {
    wgmma_fence();
    if (write && threadIdx.x == 77) sums[9] = 3;
    if (fence_again) wgmma_fence();
    wgmma_bf16<false, false>(sums, descriptor(shared, kLayout), b_from(shared, 0), scale);
    wgmma_commit_group();
    wgmma_wait_group<0>();
  });
}

TEST_CASE("wgmma: accumulators written between fence and product") {
  CHECK(written_accumulators(false, false, 1) == "");
  CHECK(contains(written_accumulators(true, false, 1),
                 "register 9 of the accumulators was written since the thread's last wgmma.fence"));
  CHECK(written_accumulators(true, true, 1) == "");
  CHECK(written_accumulators(true, false, 0) == "");  // not modelled: kernels/simt/ptx/wgmma.h
}

TEST_CASE("wgmma: accumulators that were waited for, written, and fenced again") {
  std::vector<float> d;
  const auto run = [&](bool fence_before_write) {
    return of_warpgroup(
        [&](unsigned char* shared, float(&sums)[32]) {
          for (int k = 0; k < 32; k += 16) {
            if (fence_before_write) wgmma_fence();
            for (float& sum : sums) sum *= 2;
            if (!fence_before_write) wgmma_fence();
            wgmma_bf16<false, false>(sums, descriptor(shared + kLayout.offset(0, k), kLayout), b_from(shared, k), 1);
            wgmma_commit_group();
            wgmma_wait_group<0>();
            for (float& sum : sums) sum /= 2;
          }
          for (float& sum : sums) sum *= 2;
        },
        &d);
  };
  CHECK(run(false) == "");
  std::vector<float> expected(64 * 64);
  for (int m = 0; m < 64; ++m)
    for (int n = 0; n < 64; ++n)
      for (int k = 0; k < 32; ++k) expected[m * 64 + n] += value_a(m, k) * value_b(n, k);
  CHECK(d == expected);
  CHECK(contains(run(true), "of the accumulators was written since the thread's last wgmma.fence"));
}

// Not inlined: its array begins where the fence's own variables may have been.
__attribute__((noinline)) void product_in_new_array(unsigned char* shared, float (&out)[32]) {
  float sums[32];
  wgmma_bf16<false, false>(sums, descriptor(shared, kLayout), b_from(shared, 0), 0);
  wgmma_commit_group();
  wgmma_wait_group<0>();
  for (int i = 0; i < 32; ++i) out[i] = sums[i];
}

TEST_CASE("wgmma: accumulators that begin after the fence and are only written") {
  std::vector<float> d;
  CHECK(of_warpgroup(
            [](unsigned char* shared, float(&sums)[32]) {
              wgmma_fence();
              product_in_new_array(shared, sums);
            },
            &d) == "");
  check_product(d, 16);
}

}  // namespace
}  // namespace weft::simt
