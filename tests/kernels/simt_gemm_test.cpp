// gemm's 2D register tile, written for a GPU: right, and how fast the machine runs it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <random>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "kernels/launch.h"

namespace weft::simt {
namespace {

/// What this OS thread has computed for: other programs do not count.
double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

TEST_CASE("simt: gemm's 2D register tile, and its speed") {
  const int M = 256, N = 320, K = 192;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> A(M * K), B(K * N), C(M * N, std::nanf(""));
  for (float& a : A) a = values(random);
  for (float& b : B) b = values(random);
  const GemmCall<float, float> call{
      .a = A.data(), .b = B.data(), .y = C.data(), .M = M, .N = N, .K = K, .lda = K, .ldb = N, .ldy = N};
  gemm_register_tile_2d(call, nullptr);
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) {
      double exact = 0, magnitude = 0;
      for (int k = 0; k < K; ++k) {
        const double product = static_cast<double>(A[m * K + k]) * static_cast<double>(B[k * N + n]);
        exact += product;
        magnitude += std::fabs(product);
      }
      const double error = std::fabs(static_cast<double>(C[m * N + n]) - exact);
      if (!(error <= 4 * 0x1p-24 * std::sqrt(K) * magnitude)) FAIL_CHECK("C[", m, ",", n, "] is off by ", error);
    }
  }

  const int before = thread_count();
  set_thread_count(1);
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const double start = thread_seconds();
    gemm_register_tile_2d(call, nullptr);
    best = std::max(best, 2.0 * M * N * K / (thread_seconds() - start) * 1e-9);
  }
  set_thread_count(before);
  MESSAGE("simt, gemm by register-tile-2d on one core: ", best, " GFLOP/s");
#if WEFT_TESTS_OPTIMISED
  // By processor time and the best of five, so that what shares the core takes away some of its caches and clock only.
  CHECK(best > 3);
#else
  CHECK(best > 0.01);  // unoptimised or sanitized: only a collapse can be told
#endif
}

}  // namespace
}  // namespace weft::simt
