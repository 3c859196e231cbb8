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

constexpr int kTiles = 8;  // independent 16 x 8 results a warp, for the same reason

// mma.sync, on random bits that are ordinary numbers: zeros would take less power, and run faster than any real data.
template <bool kTf32>
__global__ void __launch_bounds__(kBlock) tensor_kernel(float* results, int rounds) {
  float sums[kTiles][4] = {};
  std::uint32_t a[4], b[kTiles][2];
  std::uint32_t state = blockIdx.x * 2654435761U + threadIdx.x * 40503U + 1;
  const auto number = [&]() -> std::uint32_t {  // between 0.5 and 1, either sign
    state = state * 1664525U + 1013904223U;
    const std::uint32_t bits = state >> 3;
    if (kTf32) return (bits & 0x807FE000U) | 0x3F000000U;
    return (bits & 0x807F807FU) | 0x3F003F00U;
  };
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = number();
#pragma unroll
  for (int i = 0; i < kTiles; ++i) b[i][0] = number(), b[i][1] = number();
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

/// The same on tensor cores; 0 where the device has none of this kind, or where mma.sync is not what it does best:
/// Hopper's reaches its full rate through wgmma alone, and half a ceiling is none.
double launch_tensor_products(const std::string& arithmetic, float* results, int blocks, int rounds, int capability,
                              Stream stream) {
  if (capability != 0 && (capability < 80 || capability == 90)) return 0;
  const LaunchConfig config{.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kBlock), .stream = stream};
  const bool tf32 = arithmetic == "tf32";
  if (tf32)
    launch(tensor_kernel<true>, config, results, rounds);
  else
    launch(tensor_kernel<false>, config, results, rounds);
  return 2.0 * 16 * 8 * (tf32 ? 8 : 16) * kTiles * rounds * (kBlock / 32) * blocks;
}

}  // namespace weft::bench::WEFT_TARGET
