// gemm, rung 9, mma.sync. The formula and its costs stand in gemm.h; fragments and swizzle, which are half of this
// page, in mma_tile.h.

#include "kernels/gemm/mma_tile.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

/// A block computes 128 x 128 of y with 8 warps of 64 x 32: 4 x 4 fragments of sums, 64 registers of each lane.
constexpr int kBlockM = 128, kBlockN = 128, kWarpM = 64, kWarpN = 32;
constexpr int kWarpsN = kBlockN / kWarpN, kThreads = 32 * (kBlockM / kWarpM) * kWarpsN;

/// Copies a chunk to shared memory through registers, with 0 for the elements that do not exist.
struct CopyThroughRegisters {
  template <Access kAccess, class T>
  __device__ static __forceinline__ void copy(unsigned char* shared, const T* global, int elements) {
    Pack<T> chunk{};
    if (kAccess == Access::chunk && elements == Pack<T>::kSize) {
      chunk = load_pack(global, 0);
    } else {
#pragma unroll
      for (int i = 0; i < Pack<T>::kSize; ++i) chunk.values[i] = i < elements ? global[i] : from_float<T>(0);
    }
    *reinterpret_cast<Pack<T>*>(shared) = chunk;
  }
};

// Rung 9, mma.sync. However few its reads, a thread that multiplies by itself does two flops an instruction, and an SM
// issues four warps' worth of them a cycle: that is the ceiling of all rungs before. A tensor core's instruction is
// 4096 flops of a whole warp (16 x 8 x 16). From here on the arithmetic is so fast that feeding it is the work: a warp
// of 64 x 32 loads 6 x 512 bytes from shared memory for 16 instructions, each number of op(a) for 32 products and of
// op(b) for 64. The operands are bf16, or floats rounded to tf32 where the call allows that; the sums are float.
//
// It still loads and multiplies in turns: while a tile is on its way, the tensor cores wait.
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(kThreads) gemm_mma_sync_kernel(GemmCall<T, Out> call) {
  using TileA = MmaTile<T, kBlockM, !kTransA>;
  using TileB = MmaTile<T, kBlockN, kTransB>;
  __shared__ __align__(1024) unsigned char tiles[TileA::kBytes + TileB::kBytes];
  unsigned char *const tile_a = tiles, *const tile_b = tiles + TileA::kBytes;
  static_assert(kThreads / 32 * kStageBytes<kWarpN / 8> <= sizeof tiles, "the warps' sums pass through it at the end");

  const int64_t column_blocks = (call.N + kBlockN - 1) / kBlockN;
  const int64_t m0 = blockIdx.x / column_blocks * kBlockM;  // this block's first row of y
  const int64_t n0 = blockIdx.x % column_blocks * kBlockN;  // and its first column
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int m1 = warp / kWarpsN * kWarpM;  // this warp's first row within the block's
  const int n1 = warp % kWarpsN * kWarpN;  // and its first column

  const TileCopy<TileA, kThreads, T> copy_a(call.a, call.lda, m0, call.M);
  const TileCopy<TileB, kThreads, T> copy_b(call.b, call.ldb, n0, call.N);
  float sums[kWarpM / 16][kWarpN / 8][4] = {};
  for (int64_t k0 = 0; k0 < call.K; k0 += TileA::kDepth) {
    copy_a.template run<CopyThroughRegisters>(tile_a, k0, call.K - k0);
    copy_b.template run<CopyThroughRegisters>(tile_b, k0, call.K - k0);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      MmaFragments<kWarpM / 16, kWarpN / 8> fragments;
      load_fragments<T, TileA, TileB>(tile_a, tile_b, m1, n1, step, fragments);
      multiply_fragments<T>(fragments, sums);
    }
    __syncthreads();  // nobody may overwrite the tiles while another still reads them
  }
  store_fragments(call, m0 + m1, n0 + n1, sums, tiles + warp * kStageBytes<kWarpN / 8>);
}

template <bool kTransA, bool kTransB, class T, class Out>
void launch_mma_sync(const GemmCall<T, Out>& call, Stream stream) {
  const auto blocks = static_cast<unsigned>(ceil_div(call.M, kBlockM) * ceil_div(call.N, kBlockN));
  launch(gemm_mma_sync_kernel<kTransA, kTransB, T, Out>,
         {.grid = dim3(blocks), .block = dim3(kThreads), .stream = stream}, call);
}

}  // namespace

template <class T, class Out>
void gemm_mma_sync(const GemmCall<T, Out>& call, Stream stream) {
  if (call.trans_a)
    call.trans_b ? launch_mma_sync<true, true>(call, stream) : launch_mma_sync<true, false>(call, stream);
  else
    call.trans_b ? launch_mma_sync<false, true>(call, stream) : launch_mma_sync<false, false>(call, stream);
}

template void gemm_mma_sync(const GemmCall<float, float>&, Stream);
template void gemm_mma_sync(const GemmCall<__nv_bfloat16, __nv_bfloat16>&, Stream);
template void gemm_mma_sync(const GemmCall<__nv_bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
