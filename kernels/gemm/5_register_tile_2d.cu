// gemm, rung 5, 2D register tile. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

/// A block computes kBlockM x kBlockN of y in steps of kBlockK; a thread kThreadM x kThreadN of that.
template <int kBlockM_, int kBlockN_, int kBlockK_, int kThreadM_, int kThreadN_>
struct Tiling {
  static constexpr int kBlockM = kBlockM_, kBlockN = kBlockN_, kBlockK = kBlockK_;
  static constexpr int kThreadM = kThreadM_, kThreadN = kThreadN_;
  static constexpr int kThreadsM = kBlockM / kThreadM, kThreadsN = kBlockN / kThreadN;
  static constexpr int kThreads = kThreadsM * kThreadsN;
  // Floats after each row: rows stay aligned for float4, and of a warp's turned-round stores 4 meet in a bank, not 32.
  static constexpr int kPad = 4;
  static_assert(kBlockM % kThreadM == 0 && kBlockN % kThreadN == 0, "threads must cover the tile");
  static_assert(kThreadM % 4 == 0 && kThreadN % 4 == 0, "shared memory is read four floats at a time");
  static_assert(kThreads % kBlockK == 0 && kThreads % kBlockM == 0 && kThreads % kBlockN == 0,
                "a thread's loads lie a whole number of rows apart");
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
};

/// Copies op(x)[first ... first + kWidth) x [k0 ... k0 + kDepth) to tile[k][i], with 0 for what lies outside. Element
/// (i, k) of op(x) lies at x[i * step + k] where k is the contiguous axis, else at x[k * step + i].
template <int kWidth, int kDepth, int kThreads, bool kDepthIsContiguous, int kPitch, class T>
__device__ __forceinline__ void load_tile(const T* __restrict__ x, int64_t step, int64_t first, int64_t width,
                                          int64_t k0, int64_t depth, float (&tile)[kDepth][kPitch]) {
  const int thread = static_cast<int>(threadIdx.x);
  const int rest_width = static_cast<int>(width - first < kWidth ? width - first : kWidth);
  const int rest_depth = static_cast<int>(depth - k0 < kDepth ? depth - k0 : kDepth);
  if constexpr (kDepthIsContiguous) {
    const int k = thread % kDepth;  // a warp's 32 threads read 32 / kDepth runs of kDepth neighbours
    const T* source = x + first * step + k0 + k;
#pragma unroll
    for (int i = thread / kDepth; i < kWidth; i += kThreads / kDepth)
      tile[k][i] = i < rest_width && k < rest_depth ? static_cast<float>(source[i * step]) : 0.0f;
  } else {
    const int i = thread % kWidth;  // a warp's 32 threads read 32 neighbours
    const T* source = x + k0 * step + first + i;
#pragma unroll
    for (int k = thread / kWidth; k < kDepth; k += kThreads / kWidth)
      tile[k][i] = i < rest_width && k < rest_depth ? static_cast<float>(source[k * step]) : 0.0f;
  }
}

// Rung 5, 2D register tile. With one element a thread, each multiplication cost two reads of shared memory. Here a
// thread keeps kThreadM x kThreadN sums in registers: for each k it reads kThreadM + kThreadN numbers and does kThreadM
// * kThreadN multiplications with them, so at 8 x 4 a number read from shared memory serves 2.7 multiplications instead
// of a half. op(a) lies turned round in shared memory, [k][m], so that a thread's numbers are neighbours and one
// instruction reads four. Ragged edges are filled with 0, which adds nothing; only the store looks at the edge again.
template <class Tile, bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(Tile::kThreads) gemm_register_tile_2d_kernel(GemmCall<T, Out> call) {
  constexpr int kM = Tile::kThreadM, kN = Tile::kThreadN;
  alignas(16) __shared__ float tile_a[Tile::kBlockK][Tile::kBlockM + Tile::kPad];  // op(a)[m0 + i][k0 + k] at [k][i]
  alignas(16) __shared__ float tile_b[Tile::kBlockK][Tile::kBlockN + Tile::kPad];  // op(b)[k0 + k][n0 + j] at [k][j]

  const int64_t column_blocks = (call.N + Tile::kBlockN - 1) / Tile::kBlockN;
  const int64_t m0 = blockIdx.x / column_blocks * Tile::kBlockM;        // this block's first row of y
  const int64_t n0 = blockIdx.x % column_blocks * Tile::kBlockN;        // and its first column
  const int m1 = static_cast<int>(threadIdx.x) / Tile::kThreadsN * kM;  // this thread's first row within the block's
  const int n1 = static_cast<int>(threadIdx.x) % Tile::kThreadsN * kN;  // and its first column

  float sums[kM][kN] = {};
  for (int64_t k0 = 0; k0 < call.K; k0 += Tile::kBlockK) {
    load_tile<Tile::kBlockM, Tile::kBlockK, Tile::kThreads, !kTransA>(call.a, call.lda, m0, call.M, k0, call.K, tile_a);
    load_tile<Tile::kBlockN, Tile::kBlockK, Tile::kThreads, kTransB>(call.b, call.ldb, n0, call.N, k0, call.K, tile_b);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < Tile::kBlockK; ++k) {
      float a[kM], b[kN];
#pragma unroll
      for (int i = 0; i < kM; i += 4)
        *reinterpret_cast<float4*>(a + i) = *reinterpret_cast<float4*>(&tile_a[k][m1 + i]);
#pragma unroll
      for (int j = 0; j < kN; j += 4)
        *reinterpret_cast<float4*>(b + j) = *reinterpret_cast<float4*>(&tile_b[k][n1 + j]);
#pragma unroll
      for (int i = 0; i < kM; ++i)
#pragma unroll
        for (int j = 0; j < kN; ++j) sums[i][j] += a[i] * b[j];
    }
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int j = 0; j < kN; ++j)
      if (m0 + m1 + i < call.M && n0 + n1 + j < call.N) store_sum(call, m0 + m1 + i, n0 + n1 + j, sums[i][j]);
}

template <class Tile, bool kTransA, bool kTransB, class T, class Out>
void launch_tiling(const GemmCall<T, Out>& call, Stream stream) {
  const auto blocks = static_cast<unsigned>(ceil_div(call.M, Tile::kBlockM) * ceil_div(call.N, Tile::kBlockN));
  launch(gemm_register_tile_2d_kernel<Tile, kTransA, kTransB, T, Out>,
         {.grid = dim3(blocks), .block = dim3(Tile::kThreads), .stream = stream}, call);
}

}  // namespace

template <class T, class Out>
void gemm_register_tile_2d(const GemmCall<T, Out>& call, Stream stream) {
  using Tile = Tiling<64, 64, 32, 8, 4>;
  if (call.trans_a)
    call.trans_b ? launch_tiling<Tile, true, true>(call, stream) : launch_tiling<Tile, true, false>(call, stream);
  else
    call.trans_b ? launch_tiling<Tile, false, true>(call, stream) : launch_tiling<Tile, false, false>(call, stream);
}

template void gemm_register_tile_2d(const GemmCall<float, float>&, Stream);
template void gemm_register_tile_2d(const GemmCall<__nv_bfloat16, __nv_bfloat16>&, Stream);
template void gemm_register_tile_2d(const GemmCall<__nv_bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
