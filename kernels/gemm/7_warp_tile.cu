// gemm, rung 7, warp tile. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/warp_tile.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 7, warp tile. So far a thread's 8 x 8 sums were one square, and a warp was whichever 32 threads came in a row: 2
// rows of 16 squares, 16 x 128 of y. For each k such a warp reads 16 + 128 different numbers, and its lanes' fours of b
// lie 8 floats apart, so that 8 lanes ask for 256 bytes with every second 16 of them unused: two turns at the banks.
// Here a warp has a part of y of its own, 64 x 32: 64 + 32 different numbers for as many multiplications. Each lane's
// 8 x 8 fall into four pieces of 4 x 4, dealt out so that the fours of neighbouring lanes are neighbours and use all of
// the 32 banks in one turn.
//
// Lanes stand 8 x 4, but not in the order of their numbers. Many lanes ask for the same 16 bytes; half a warp's
// requests are served in one turn where each lane i asks for the same as lane i xor 1, or each for the same as lane i
// xor 2. So bit 0 of a lane's number counts columns (a's fours are shared by i xor 1) and bit 1 rows (b's, by i xor 2).
template <class Tile, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(Tile::kThreads, 2) gemm_warp_tile_kernel(GemmCall<float, float> call) {
  constexpr int kM = Tile::kThreadM, kN = Tile::kThreadN;
  alignas(16) __shared__ float tile_a[Tile::kBlockK][Tile::kBlockM + kPad];  // op(a)[m0 + i][k0 + k] at [k][i]
  alignas(16) __shared__ float tile_b[Tile::kBlockK][Tile::kBlockN + kPad];  // op(b)[k0 + k][n0 + j] at [k][j]

  const auto [m0, n0] = tile_origin<Tile>(call);
  const auto [m1, n1] = thread_origin<Tile>(static_cast<int>(threadIdx.x));
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
      load_fours<Tile::kApartM>(&tile_a[k][m1], a);
      load_fours<Tile::kApartN>(&tile_b[k][n1], b);
      add_outer_product(a, b, sums);
    }
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
  store_tile<Tile::kApartM, Tile::kApartN>(call, m0 + m1, n0 + n1, sums);
}

}  // namespace

void gemm_warp_tile(const GemmCall<float, float>& call, Stream stream) {
  using Tile = WarpTiling<2, 4, 8, 8, 16>;
  static_assert(Tile::kBlockM == 128 && Tile::kBlockN == 128);
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    launch(gemm_warp_tile_kernel<Tile, kTransA, kTransB>,
           {.grid = tile_count<Tile>(call), .block = Tile::kThreads, .stream = stream}, call);
  });
}

}  // namespace weft::WEFT_TARGET
