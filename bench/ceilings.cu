// What a device can do at most: a copy that only moves bytes, and products that stay in registers. The figures that
// measurements are judged by, so these kernels hold nothing back and compute nothing of use.

#include <string>

#include "bench/ceilings.h"
#include "kernels/launch.h"
#include "kernels/ptx.h"

namespace weft::bench::WEFT_TARGET {
namespace {

using namespace weft::WEFT_TARGET;

constexpr int kBlock = 256;
constexpr int kPerThread = 4;  // 16-byte loads that are under way at once

__global__ void copy_kernel(const float4* __restrict__ from, float4* __restrict__ to, int64_t count) {
  const int64_t first = int64_t{blockIdx.x} * kBlock * kPerThread + threadIdx.x;
  float4 pack[kPerThread];
#pragma unroll
  for (int i = 0; i < kPerThread; ++i)
    if (first + i * kBlock < count) pack[i] = from[first + i * kBlock];
#pragma unroll
  for (int i = 0; i < kPerThread; ++i)
    if (first + i * kBlock < count) to[first + i * kBlock] = pack[i];
}

constexpr int kChains = 8;  // multiply-adds that do not wait for each other: more than an FMA takes cycles

__global__ void __launch_bounds__(kBlock) multiply_add_kernel(float* results, int rounds) {
  float sums[kChains];
#pragma unroll
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<float>(threadIdx.x + i);
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * 0.999F + 0.001F;
  float total = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) total += sums[i];
  results[int64_t{blockIdx.x} * kBlock + threadIdx.x] = total;
}

// Random bits that are ordinary numbers, between 0.5 and 1, either sign: zeros would take less power, and run faster
// than any real data.
template <bool kTf32>
struct RandomNumbers {
  std::uint32_t state = blockIdx.x * 2654435761U + threadIdx.x * 40503U + 1;
  __device__ std::uint32_t next() {
    state = state * 1664525U + 1013904223U;
    const std::uint32_t bits = state >> 3;
    return kTf32 ? (bits & 0x807FE000U) | 0x3F000000U : (bits & 0x807F807FU) | 0x3F003F00U;
  }
};

constexpr int kTiles = 8;  // independent 16 x 8 results a warp, for the same reason

// mma.sync.
template <bool kTf32>
__global__ void __launch_bounds__(kBlock) tensor_kernel(float* results, int rounds) {
  float sums[kTiles][4] = {};
  std::uint32_t a[4], b[kTiles][2];
  RandomNumbers<kTf32> numbers;
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = numbers.next();
#pragma unroll
  for (int i = 0; i < kTiles; ++i) b[i][0] = numbers.next(), b[i][1] = numbers.next();
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      if constexpr (kTf32)
        mma_m16n8k8_tf32(sums[i], a, b[i], sums[i]);
      else
        mma_m16n8k16_bf16(sums[i], a, b[i], sums[i]);
    }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  results[int64_t{blockIdx.x} * kBlock + threadIdx.x] = total;
}

constexpr int kRowBytes = 128;  // of a K-major matrix under the 128-byte swizzle: 64 bf16 or 32 tf32
constexpr int kWarpgroups = kBlock / 128;
constexpr int kWgmmas = 16;  // in a group
constexpr unsigned kWgmmaShared = (kWarpgroups * 64 + 256) * kRowBytes;

// wgmma, which alone reaches Hopper's full rate: each warpgroup has 64 rows of A of its own, all share 256 columns of
// B.
template <bool kTf32>
__global__ void __launch_bounds__(kBlock, 1)
    warpgroup_kernel([[maybe_unused]] float* results, [[maybe_unused]] int rounds) {
#if WEFT_HAS_HOPPER
  auto* const shared = dynamic_shared<unsigned char>();
  auto* const words = reinterpret_cast<std::uint32_t*>(shared);
  RandomNumbers<kTf32> numbers;
  for (unsigned i = threadIdx.x; i < kWgmmaShared / 4; i += kBlock) words[i] = numbers.next();
  fence_proxy_async();
  __syncthreads();
  const unsigned warpgroup = threadIdx.x / 128;
  const std::uint64_t b = wgmma_descriptor(shared, Swizzle::bytes128, 0, 8 * kRowBytes);
  const std::uint64_t a =
      wgmma_descriptor(shared + (256 + warpgroup * 64) * kRowBytes, Swizzle::bytes128, 0, 8 * kRowBytes);
  float sums[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) sums[i] = 0;
  for (int round = 0; round < rounds; ++round) {
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < kWgmmas; ++i) {
      const unsigned part = i % 4;  // 32 bytes of each row at a time
      if constexpr (kTf32)
        wgmma_tf32(sums, wgmma_advance(a, 32 * part), wgmma_advance(b, 32 * part), 1);
      else
        wgmma_bf16<false, false>(sums, wgmma_advance(a, 32 * part), wgmma_advance(b, 32 * part), 1);
    }
    wgmma_commit_group();
    wgmma_wait_group<0>();  // the other warpgroup's products fill this pause
    wgmma_keep(sums);
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < 128; ++i) total += sums[i];
  results[int64_t{blockIdx.x} * kBlock + threadIdx.x] = total;
#endif
}

template <bool kTf32>
double launch_warpgroups(float* results, int blocks, int rounds, Stream stream) {
  launch(warpgroup_kernel<kTf32>,
         {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(kBlock),
          .shared_bytes = kWgmmaShared,
          .stream = stream},
         results, rounds);
  return 2.0 * 64 * 256 * (kTf32 ? 8 : 16) * kWgmmas * kWarpgroups * rounds * blocks;
}

}  // namespace

/// Copies `bytes`, a multiple of 16.
void launch_copy(const void* from, void* to, std::int64_t bytes, Stream stream) {
  const int64_t count = bytes / 16;
  const auto blocks = static_cast<unsigned>((count + kBlock * kPerThread - 1) / (kBlock * kPerThread));
  launch(copy_kernel, {.grid = dim3(blocks), .block = dim3(kBlock), .stream = stream}, static_cast<const float4*>(from),
         static_cast<float4*>(to), count);
}

/// Returns the operations that it does. `results` holds blocks * 256 floats.
double launch_multiply_adds(float* results, int blocks, int rounds, Stream stream) {
  launch(multiply_add_kernel, {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kBlock), .stream = stream},
         results, rounds);
  return 2.0 * kChains * rounds * kBlock * blocks;
}

/// The same on tensor cores, by what the device does best; 0 where it has none of this kind. On simt both ways are
/// gone.
double launch_tensor_products(const std::string& arithmetic, float* results, int blocks, int rounds, int capability,
                              Stream stream) {
  const bool tf32 = arithmetic == "tf32";
  double flops = 0;
  if (capability == 90 || capability == 0)
    flops += tf32 ? launch_warpgroups<true>(results, blocks, rounds, stream)
                  : launch_warpgroups<false>(results, blocks, rounds, stream);
  if (capability == 90 || (capability > 0 && capability < 80)) return flops;
  const LaunchConfig config{.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kBlock), .stream = stream};
  if (tf32)
    launch(tensor_kernel<true>, config, results, rounds);
  else
    launch(tensor_kernel<false>, config, results, rounds);
  return flops + 2.0 * 16 * 8 * (tf32 ? 8 : 16) * kTiles * rounds * (kBlock / 32) * blocks;
}

}  // namespace weft::bench::WEFT_TARGET
