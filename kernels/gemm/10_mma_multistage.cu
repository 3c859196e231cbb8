// gemm, rung 10, mma multistage. The formula and its costs stand in gemm.h; fragments and swizzle in mma_tile.h.

#include "kernels/gemm/mma_multistage.h"
#include "kernels/gemm/split_k.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

/// A block computes 128 x 128 of y.
constexpr int kBlockM = 128, kBlockN = 128;
/// For bf16 with 4 warps of 64 x 64: 4 x 8 fragments of sums, 128 registers of each lane. Floats are rounded between
/// ldmatrix and mma, which takes registers too: 8 warps of 64 x 32.
template <class T>
struct Warps {
  static constexpr int kM = 64, kN = sizeof(T) == 2 ? 64 : 32;
  static constexpr int kAlongN = kBlockN / kN, kThreads = 32 * (kBlockM / kM) * kAlongN;
};

// Rung 10, multistage. Rung 9 loaded and multiplied in turns, and each loaded number went through a register. cp.async
// copies to shared memory without one, and without being waited for: here four tiles of each operand are in turn
// multiplied or on their way, so a tile has the time of three multiplications to arrive. The same within a tile: the
// fragments of the next step are loaded into a second set of registers while the tensor cores work on the first, and
// those of a tile's first step at the end of the tile before. Warps of 64 x 64 read a third less from shared memory
// for each product than rung 9's of 64 x 32, and one barrier a tile is enough, as the tile that is overwritten after it
// was last read before it.
//
//   stage      0            1            2            3
//   turn 0     multiply 0   1 arrives    2 arrives    copy 3
//   turn 1     copy 4       multiply 1   2 arrives    3 arrives
//   turn 2     4 arrives    copy 5       multiply 2   3 arrives
//   turn 3     4 arrives    5 arrives    copy 6       multiply 3
template <bool kTransA, bool kTransB, class T, class Out>
__global__ void __launch_bounds__(Warps<T>::kThreads)
    gemm_mma_multistage_kernel(GemmCall<T, Out> whole, int64_t slice_depth) {
  const GemmCall<T, Out> call = slice_of(whole, slice_depth);  // usually there is one slice of K: see split_k.cu
  constexpr int kThreads = Warps<T>::kThreads, kWarpM = Warps<T>::kM, kWarpN = Warps<T>::kN;
  using TileA = MmaTile<T, kBlockM, !kTransA>;
  using TileB = MmaTile<T, kBlockN, kTransB>;
  auto* const tiles_a = dynamic_shared<unsigned char>();  // kMmaStages tiles of op(a), then as many of op(b)
  auto* const tiles_b = tiles_a + kMmaStages * TileA::kBytes;

  const int64_t column_blocks = (call.N + kBlockN - 1) / kBlockN;
  const int64_t m0 = blockIdx.x / column_blocks * kBlockM;  // this block's first row of y
  const int64_t n0 = blockIdx.x % column_blocks * kBlockN;  // and its first column
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int m1 = warp / Warps<T>::kAlongN * kWarpM;  // this warp's first row within the block's
  const int n1 = warp % Warps<T>::kAlongN * kWarpN;  // and its first column

  const int64_t tiles = (call.K + TileA::kDepth - 1) / TileA::kDepth;
  const TileCopy<TileA, kThreads, T> copy_a(call.a, call.lda, m0, call.M);
  const TileCopy<TileB, kThreads, T> copy_b(call.b, call.ldb, n0, call.N);
  const auto fetch = [&](int64_t tile, int stage) {
    const int64_t k0 = tile * TileA::kDepth;
    copy_a.template run<CopyAsync>(tiles_a + stage * TileA::kBytes, k0, call.K - k0);
    copy_b.template run<CopyAsync>(tiles_b + stage * TileB::kBytes, k0, call.K - k0);
  };
  float sums[kWarpM / 16][kWarpN / 8][4] = {};
  multiply_stages<T, TileA, TileB>(tiles_a, tiles_b, m1, n1, tiles, fetch, sums);
  // Nothing is on its way any more, and after the last barrier nobody has read a tile.
  store_fragments(call, m0 + m1, n0 + n1, sums, tiles_a + warp * kStageBytes<kWarpN / 8>);
}

template <bool kTransA, bool kTransB, class T, class Out>
void launch_mma_multistage(const GemmCall<T, Out>& call, const Slices& slices, Stream stream) {
  constexpr unsigned kSharedBytes =
      kMmaStages * (MmaTile<T, kBlockM, !kTransA>::kBytes + MmaTile<T, kBlockN, kTransB>::kBytes);
  const auto blocks = static_cast<unsigned>(ceil_div(call.M, kBlockM) * ceil_div(call.N, kBlockN));
  launch(gemm_mma_multistage_kernel<kTransA, kTransB, T, Out>,
         {.grid = dim3(blocks, static_cast<unsigned>(slices.count)),
          .block = dim3(Warps<T>::kThreads),
          .shared_bytes = kSharedBytes,
          .stream = stream},
         call, slices.depth);
}

template <class T, class Out>
void launch_slices(const GemmCall<T, Out>& call, const Slices& slices, Stream stream) {
  if (call.trans_a)
    call.trans_b ? launch_mma_multistage<true, true>(call, slices, stream)
                 : launch_mma_multistage<true, false>(call, slices, stream);
  else
    call.trans_b ? launch_mma_multistage<false, true>(call, slices, stream)
                 : launch_mma_multistage<false, false>(call, slices, stream);
}

}  // namespace

template <class T, class Out>
void gemm_mma_multistage(const GemmCall<T, Out>& call, Stream stream) {
  launch_slices(call, {1, call.K}, stream);
}

template <class T>
void gemm_mma_multistage_slices(const GemmCall<T, float>& call, const Slices& slices, Stream stream) {
  launch_slices(call, slices, stream);
}

template void gemm_mma_multistage_slices(const GemmCall<float, float>&, const Slices&, Stream);
template void gemm_mma_multistage_slices(const GemmCall<__nv_bfloat16, float>&, const Slices&, Stream);
template void gemm_mma_multistage(const GemmCall<float, float>&, Stream);
template void gemm_mma_multistage(const GemmCall<__nv_bfloat16, __nv_bfloat16>&, Stream);
template void gemm_mma_multistage(const GemmCall<__nv_bfloat16, float>&, Stream);

}  // namespace weft::WEFT_TARGET
