// gemm, rung 6, float4. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/tile.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 6, float4. The 2D register tile fetched its operands a number a load: each costs an instruction, an address and
// two comparisons. Here a load brings four neighbours, and a store of y writes four. That leaves instructions for
// larger tiles: 128 x 128 to a block, 8 x 8 to a thread, so that a number fetched from global memory serves 128
// multiplications and one read from shared memory 4. The steps are short (8 deep): 256 threads fetch a step of either
// operand with one float4 each.
//
// Where rows do not begin at multiples of 16 bytes, or end before the four do, load_four() and store_sums() take them
// one by one: a branch that a warp of an inner tile takes as one.
template <class Tile, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(Tile::kThreads, 2) gemm_float4_kernel(GemmCall<float, float> call) {
  constexpr int kM = Tile::kThreadM, kN = Tile::kThreadN;
  alignas(16) __shared__ float tile_a[Tile::kBlockK][Tile::kBlockM + kPad];  // op(a)[m0 + i][k0 + k] at [k][i]
  alignas(16) __shared__ float tile_b[Tile::kBlockK][Tile::kBlockN + kPad];  // op(b)[k0 + k][n0 + j] at [k][j]

  const auto [m0, n0] = tile_origin<Tile>(call);
  const int m1 = static_cast<int>(threadIdx.x) / Tile::kThreadsN * kM;  // this thread's first row within the block's
  const int n1 = static_cast<int>(threadIdx.x) % Tile::kThreadsN * kN;  // and its first column
  const bool aligned_a = rows_are_aligned(call.a, call.lda), aligned_b = rows_are_aligned(call.b, call.ldb);

  float sums[kM][kN] = {};
  for (int64_t k0 = 0; k0 < call.K; k0 += Tile::kBlockK) {
    load_tile_float4<Tile::kBlockM, Tile::kBlockK, Tile::kThreads, !kTransA>(call.a, call.lda, m0, call.M, k0, call.K,
                                                                             aligned_a, tile_a);
    load_tile_float4<Tile::kBlockN, Tile::kBlockK, Tile::kThreads, kTransB>(call.b, call.ldb, n0, call.N, k0, call.K,
                                                                            aligned_b, tile_b);
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
  store_tile<4, 4>(call, m0 + m1, n0 + n1, sums);
}

}  // namespace

void gemm_float4(const GemmCall<float, float>& call, Stream stream) {
  using Tile = Tiling<128, 128, 8, 8, 8>;
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    launch(gemm_float4_kernel<Tile, kTransA, kTransB>,
           {.grid = tile_count<Tile>(call), .block = Tile::kThreads, .stream = stream}, call);
  });
}

}  // namespace weft::WEFT_TARGET
