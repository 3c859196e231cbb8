// gemm, rung 5, 2D register tile. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/tile.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 5, 2D register tile. A column of sums reused what it read of b, but not what it read of a. Here a thread keeps
// kThreadM x kThreadN sums in registers: for each k it reads kThreadM + kThreadN numbers and does kThreadM * kThreadN
// multiplications with them, so at 8 x 4 a multiplication costs 3 / 8 of a read instead of 9 / 8. And as its numbers
// are neighbours in both tiles, one instruction reads four of them.
template <class Tile, bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(Tile::kThreads) gemm_register_tile_2d_kernel(GemmCall<T, Out> call) {
  constexpr int kM = Tile::kThreadM, kN = Tile::kThreadN;
  alignas(16) __shared__ float tile_a[Tile::kBlockK][Tile::kBlockM + kPad];  // op(a)[m0 + i][k0 + k] at [k][i]
  alignas(16) __shared__ float tile_b[Tile::kBlockK][Tile::kBlockN + kPad];  // op(b)[k0 + k][n0 + j] at [k][j]

  const auto [m0, n0] = tile_origin<Tile>(call);
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
      load_fours<4>(&tile_a[k][m1], a);
      load_fours<4>(&tile_b[k][n1], b);
      add_outer_product(a, b, sums);
    }
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
#pragma unroll
  for (int i = 0; i < kM; ++i)
#pragma unroll
    for (int j = 0; j < kN; ++j)
      if (m0 + m1 + i < call.M && n0 + n1 + j < call.N) store_sum(call, m0 + m1 + i, n0 + n1 + j, sums[i][j]);
}

}  // namespace

template <class T, class Out>
void gemm_register_tile_2d(const GemmCall<T, Out>& call, Stream stream) {
  using Tile = Tiling<64, 64, 32, 8, 4>;
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    launch(gemm_register_tile_2d_kernel<Tile, kTransA, kTransB, T, Out>,
           {.grid = tile_count<Tile>(call), .block = Tile::kThreads, .stream = stream}, call);
  });
}

template void gemm_register_tile_2d(const GemmCall<float, float>&, Stream);
template void gemm_register_tile_2d(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_register_tile_2d(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
