// A register-blocked SGEMM as one would write it for a GPU: right, and how fast the machine runs it.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <random>
#include <vector>

#include "kernels/launch.h"

namespace weft::simt {
namespace {

constexpr int kTile = 64, kDepth = 16, kPerThread = 4;

// A block of 16x16 threads computes 64x64 of C = A B, a thread 4x4. A is (M, K), B (K, N), C (M, N); multiples of 64.
__global__ void __launch_bounds__(256)
    sgemm_64x64(const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C, int N, int K) {
  __shared__ float tile_a[kDepth][kTile];
  __shared__ __align__(16) float tile_b[kDepth][kTile];
  const int thread = threadIdx.y * 16 + threadIdx.x;
  const float* a = A + static_cast<int>(blockIdx.y) * kTile * K;
  const float* b = B + static_cast<int>(blockIdx.x) * kTile;
  float sums[kPerThread][kPerThread] = {};
  for (int k0 = 0; k0 < K; k0 += kDepth) {
    const int row = thread / 4, column = thread % 4 * 4;
    const float4 four = *reinterpret_cast<const float4*>(a + row * K + k0 + column);
    tile_a[column][row] = four.x;
    tile_a[column + 1][row] = four.y;
    tile_a[column + 2][row] = four.z;
    tile_a[column + 3][row] = four.w;
    *reinterpret_cast<float4*>(&tile_b[thread / 16][thread % 16 * 4]) =
        *reinterpret_cast<const float4*>(b + (k0 + thread / 16) * N + thread % 16 * 4);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      const float4 x = *reinterpret_cast<const float4*>(&tile_a[k][threadIdx.y * 4]);
      const float4 y = *reinterpret_cast<const float4*>(&tile_b[k][threadIdx.x * 4]);
      const float left[4] = {x.x, x.y, x.z, x.w}, right[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int i = 0; i < kPerThread; ++i)
#pragma unroll
        for (int j = 0; j < kPerThread; ++j) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
    }
    __syncthreads();
  }
  for (int i = 0; i < kPerThread; ++i) {
    float* c = C + (blockIdx.y * kTile + threadIdx.y * 4 + i) * N + blockIdx.x * kTile + threadIdx.x * 4;
    *reinterpret_cast<float4*>(c) = make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
  }
}

/// What this OS thread has computed for: other programs do not count.
double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

TEST_CASE("simt: a register-blocked SGEMM, unchanged, and its speed") {
  const int M = 256, N = 320, K = 192;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> A(M * K), B(K * N), C(M * N, std::nanf(""));
  for (float& a : A) a = values(random);
  for (float& b : B) b = values(random);
  const LaunchConfig config{.grid = dim3(N / kTile, M / kTile), .block = dim3(16, 16)};
  launch(sgemm_64x64, config, A.data(), B.data(), C.data(), N, K);
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
    launch(sgemm_64x64, config, A.data(), B.data(), C.data(), N, K);
    best = std::max(best, 2.0 * M * N * K / (thread_seconds() - start) * 1e-9);
  }
  set_thread_count(before);
  MESSAGE("simt SGEMM, 64x64 tiles, on one core: ", best, " GFLOP/s");
  CHECK(best > 0.01);  // the machine is shared and may be built with sanitizers: this only catches a collapse
}

}  // namespace
}  // namespace weft::simt
