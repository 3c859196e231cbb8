// gemm, rung 3, shared tile. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

// Rung 3, shared tile. The threads of a row of y all read the same row of op(a), each for itself. Here a block of kTile
// x kTile threads fetches a square tile of each operand once into shared memory, and every number in it then serves
// kTile multiplications: global traffic falls by kTile. Each thread still computes one element, and for each of its
// multiplications reads two numbers from shared memory, which is now what it waits for.
//
// A tile is always read side by side, along whichever axis is contiguous in memory; a transposed operand is turned
// round on its way into shared memory. The column of padding puts the 32 numbers of a tile's column into 32 different
// banks.
template <int kTile, class T, class Out>
__global__ void __launch_bounds__(kTile* kTile) gemm_shared_tile_kernel(GemmCall<T, Out> call) {
  static_assert(kTile * kTile <= 1024, "a block has at most 1024 threads");
  __shared__ float tile_a[kTile][kTile + 1];  // op(a)[m0 + i][k0 + j]
  __shared__ float tile_b[kTile][kTile + 1];  // op(b)[k0 + i][n0 + j]

  const int64_t column_blocks = (call.N + kTile - 1) / kTile;
  const int64_t m0 = blockIdx.x / column_blocks * kTile, n0 = blockIdx.x % column_blocks * kTile;
  const int x = static_cast<int>(threadIdx.x) % kTile, y = static_cast<int>(threadIdx.x) / kTile;
  float sum = 0;
  for (int64_t k0 = 0; k0 < call.K; k0 += kTile) {
    // Threads of a warp differ in x, so x runs along the operand's contiguous axis. What lies outside counts as 0.
    if (call.trans_a)
      tile_a[x][y] = m0 + x < call.M && k0 + y < call.K ? to_float(call.a[(k0 + y) * call.lda + m0 + x]) : 0.0f;
    else
      tile_a[y][x] = m0 + y < call.M && k0 + x < call.K ? to_float(call.a[(m0 + y) * call.lda + k0 + x]) : 0.0f;
    if (call.trans_b)
      tile_b[x][y] = n0 + y < call.N && k0 + x < call.K ? to_float(call.b[(n0 + y) * call.ldb + k0 + x]) : 0.0f;
    else
      tile_b[y][x] = n0 + x < call.N && k0 + y < call.K ? to_float(call.b[(k0 + y) * call.ldb + n0 + x]) : 0.0f;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kTile; ++k) sum += tile_a[y][k] * tile_b[k][x];
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
  if (m0 + y < call.M && n0 + x < call.N) store_sum(call, m0 + y, n0 + x, sum);
}

}  // namespace

template <class T, class Out>
void gemm_shared_tile(const GemmCall<T, Out>& call, Stream stream) {
  constexpr int kTile = 32;
  const unsigned blocks = blocks_for(ceil_div(call.M, kTile) * ceil_div(call.N, kTile), 1);
  launch(gemm_shared_tile_kernel<kTile, T, Out>, {.grid = blocks, .block = kTile * kTile, .stream = stream}, call);
}

template void gemm_shared_tile(const GemmCall<float, float>&, Stream);
template void gemm_shared_tile(const GemmCall<bfloat16, bfloat16>&, Stream);
template void gemm_shared_tile(const GemmCall<bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
