#pragma once
// Kernels whose traffic is known by construction, compiled with their loads and stores announced.

#include <cstdint>

namespace weft::test {

/// A warp's 32 lanes each load x[0] and write y[lane].
void run_broadcast(const float* x, float* y);
/// A warp's 32 lanes each load x[lane * stride] and write y[lane], `times` times over.
void run_strided(const float* x, float* y, std::int64_t stride, int times);
/// Two warps each read the same 32 floats as packs of 16 bytes, lane i pack i % 8, and write y[thread].
void run_packs(const float* x, float* y);

}  // namespace weft::test
