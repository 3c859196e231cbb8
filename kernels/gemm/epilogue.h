#pragma once
// gemm's epilogue: what happens to a finished sum on its way to y. Every rung ends here.
//
//   y[m][n] = relu?(alpha sum + beta y[m][n] + bias[n] + residual[m][n])
//
// A rung hands over one sum, or kWidth of them that are neighbours in a row of y: 2 as mma.sync's accumulators lie, 4
// as a float4, 8 as 16 bytes of bfloat16. It either lets store_sums() write them, or takes the finished values from
// finish_sums() and writes them its own way (through shared memory and TMA, say). Rows must exist (m < M); columns from
// N on are dropped.

#include "kernels/element.h"
#include "kernels/gemm/gemm.h"

namespace weft::WEFT_TARGET {

/// kWidth neighbours, as one access where they lie aligned.
template <class T, int kWidth>
struct alignas(kWidth * sizeof(T) > 16 ? 16 : kWidth * sizeof(T)) Neighbours {
  static_assert(kWidth == 1 || kWidth == 2 || kWidth == 4 || kWidth == 8);
  T values[kWidth];
};

/// True where kWidth neighbours of y and of the residual can be accessed at once at every column that is a multiple of
/// kWidth. The same for all of a launch; ask once, before the loop over the sums.
template <int kWidth, class T, class Out>
__host__ __device__ __forceinline__ bool epilogue_is_aligned(const GemmCall<T, Out>& call) {
  const auto aligned = [](const Out* row, int64_t pitch) {
    return reinterpret_cast<uintptr_t>(row) % alignof(Neighbours<Out, kWidth>) == 0 && pitch % kWidth == 0;
  };
  return aligned(call.y, call.ldy) && (call.residual == nullptr || aligned(call.residual, call.ld_residual));
}

/// values[i] += scale * row[i] for the columns that exist.
template <int kWidth, class Out>
__device__ __forceinline__ void add_scaled(const Out* row, float scale, int count, bool aligned,
                                           float (&values)[kWidth]) {
  if (aligned && count >= kWidth) {
    const auto all = *reinterpret_cast<const Neighbours<Out, kWidth>*>(row);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] += scale * to_float(all.values[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i)
      if (i < count) values[i] += scale * to_float(row[i]);
  }
}

/// Turns kWidth sums of row m, columns n to n + kWidth - 1, into what y is to hold there, before rounding to its type.
/// `aligned` is epilogue_is_aligned<kWidth>(call) and n a multiple of kWidth, or `aligned` is false. Where n + i >= N,
/// sums[i] is left as alpha sums[i], without anything being read for it.
template <int kWidth, class T, class Out>
__device__ __forceinline__ void finish_sums(const GemmCall<T, Out>& call, int64_t m, int64_t n, bool aligned,
                                            float (&sums)[kWidth]) {
  const int count = call.N - n < kWidth ? static_cast<int>(call.N - n) : kWidth;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sums[i] *= call.alpha;
  if (call.beta != 0) add_scaled(call.y + m * call.ldy + n, call.beta, count, aligned, sums);
  if (call.bias != nullptr) add_scaled(call.bias + n, 1, count, false, sums);
  if (call.residual != nullptr) add_scaled(call.residual + m * call.ld_residual + n, 1, count, aligned, sums);
  if (call.relu) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sums[i] = sums[i] < 0 ? 0 : sums[i];  // as relu.cu: a NaN stays one
  }
}

/// Finishes kWidth sums of row m, columns n to n + kWidth - 1, and writes those that exist. As finish_sums().
template <int kWidth, class T, class Out>
__device__ __forceinline__ void store_sums(const GemmCall<T, Out>& call, int64_t m, int64_t n, bool aligned,
                                           float (&sums)[kWidth]) {
  finish_sums(call, m, n, aligned, sums);
  Out* y = call.y + m * call.ldy + n;
  if (aligned && n + kWidth <= call.N) {
    Neighbours<Out, kWidth> all;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) all.values[i] = from_float<Out>(sums[i]);
    *reinterpret_cast<Neighbours<Out, kWidth>*>(y) = all;
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i)
      if (n + i < call.N) y[i] = from_float<Out>(sums[i]);
  }
}

/// Finishes and writes a thread's tile of sums, which begins at row m and column n: rows lie in fours kApartM apart,
/// columns in fours kApartN apart. What lies outside y is dropped. n and kApartN are multiples of 4.
template <int kApartM, int kApartN, int kM, int kN, class T, class Out>
__device__ __forceinline__ void store_tile(const GemmCall<T, Out>& call, int64_t m, int64_t n, float (&sums)[kM][kN]) {
  static_assert(kM % 4 == 0 && kN % 4 == 0 && kApartM % 4 == 0 && kApartN % 4 == 0);
  const bool aligned = epilogue_is_aligned<4>(call);
#pragma unroll
  for (int i = 0; i < kM; ++i) {
    const int64_t row = m + i / 4 * kApartM + i % 4;
    if (row >= call.M) continue;
#pragma unroll
    for (int j = 0; j < kN; j += 4) {
      const int64_t column = n + j / 4 * kApartN;
      float four[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
      if (column < call.N) store_sums<4>(call, row, column, aligned, four);
    }
  }
}

/// One element: y[m][n] from its sum.
template <class T, class Out>
__device__ __forceinline__ void store_sum(const GemmCall<T, Out>& call, int64_t m, int64_t n, float sum) {
  float sums[1] = {sum};
  store_sums<1>(call, m, n, false, sums);
}

}  // namespace weft::WEFT_TARGET
