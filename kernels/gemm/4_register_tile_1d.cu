// gemm, rung 4, 1D register tile. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/tile.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 4, 1D register tile. With one element a thread, each multiplication cost two reads of shared memory. Here a
// thread computes kThreadM elements of one column of y: what it reads of b serves kThreadM multiplications, so at 8 the
// reads for a multiplication fall from 2 to 9 / 8. The threads of a warp have the same rows and neighbouring columns:
// their reads of a are one address for all, those of b 32 neighbours. Larger tiles come with it: the block's 64 x 64
// let a number that is fetched from global memory serve 64 multiplications, where 32 x 32 let it serve 32.
//
// op(a) lies turned round in shared memory, [k][m], as op(b) does by itself, [k][n]: a thread's numbers of a are
// neighbours. Ragged edges are filled with 0, which adds nothing; only the store looks at the edge again.
//
// Two blocks an SM are asked for: left alone, ptxas aims at four on sm_80, 32 registers a thread, and spills.
template <class Tile, bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(Tile::kThreads, 2) gemm_register_tile_1d_kernel(GemmCall<T, Out> call) {
  static_assert(Tile::kThreadN == 1 && Tile::kBlockN % 32 == 0, "a warp's threads have one row of tiles");
  alignas(16) __shared__ float tile_a[Tile::kBlockK][Tile::kBlockM + kPad];  // op(a)[m0 + i][k0 + k] at [k][i]
  alignas(16) __shared__ float tile_b[Tile::kBlockK][Tile::kBlockN + kPad];  // op(b)[k0 + k][n0 + j] at [k][j]

  const auto [m0, n0] = tile_origin<Tile>(call);
  const int m1 = static_cast<int>(threadIdx.x) / Tile::kBlockN * Tile::kThreadM;  // first row within the block's
  const int n1 = static_cast<int>(threadIdx.x) % Tile::kBlockN;                   // column: a thread each

  float sums[Tile::kThreadM] = {};
  for (int64_t k0 = 0; k0 < call.K; k0 += Tile::kBlockK) {
    load_tile<Tile::kBlockM, Tile::kBlockK, Tile::kThreads, !kTransA>(call.a, call.lda, m0, call.M, k0, call.K, tile_a);
    load_tile<Tile::kBlockN, Tile::kBlockK, Tile::kThreads, kTransB>(call.b, call.ldb, n0, call.N, k0, call.K, tile_b);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < Tile::kBlockK; ++k) {
      const float b = tile_b[k][n1];
#pragma unroll
      for (int i = 0; i < Tile::kThreadM; ++i) sums[i] += tile_a[k][m1 + i] * b;
    }
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
#pragma unroll
  for (int i = 0; i < Tile::kThreadM; ++i)
    if (m0 + m1 + i < call.M && n0 + n1 < call.N) store_sum(call, m0 + m1 + i, n0 + n1, sums[i]);
}

}  // namespace

template <class T, class Out>
void gemm_register_tile_1d(const GemmCall<T, Out>& call, Stream stream) {
  using Tile = Tiling<64, 64, 16, 8, 1>;
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    launch(gemm_register_tile_1d_kernel<Tile, kTransA, kTransB, T, Out>,
           {.grid = tile_count<Tile>(call), .block = Tile::kThreads, .stream = stream}, call);
  });
}

template void gemm_register_tile_1d(const GemmCall<float, float>&, Stream);
template void gemm_register_tile_1d(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_register_tile_1d(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
