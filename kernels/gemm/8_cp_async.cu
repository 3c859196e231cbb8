// gemm, rung 8, cp.async. The formula and its costs stand in gemm.h.

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/split_k.h"
#include "kernels/gemm/warp_tile.h"
#include "kernels/launch.h"
#include "kernels/ptx/cp_async.h"

namespace weft::WEFT_TARGET {
namespace {

/// A ring of kStages steps' tiles in shared memory. kBlocks of them are to fit an SM, registers included.
template <class Tile_, int kStages_, int kBlocks_>
struct Pipeline : Tile_ {
  using Tile = Tile_;
  static constexpr int kStages = kStages_, kBlocks = kBlocks_;
  static_assert(kStages >= 2, "one is read while another is filled");
  static_assert(Tile::kBlockK % 2 == 0, "fragments alternate between two sets of registers");
  struct Stage {
    float a[Tile::kBlockK][Tile::kBlockM + kPad];  // op(a)[m0 + i][k0 + k] at [k][i]
    float b[Tile::kBlockK][Tile::kBlockN + kPad];  // op(b)[k0 + k][n0 + j] at [k][j]
  };
  static constexpr int kSharedBytes = kStages * static_cast<int>(sizeof(Stage));
};

/// load_tile() by asynchronous copies, a step after the other: where this thread stands in op(x). Four floats a copy
/// where the tile's rows are pieces of x's, x's rows are aligned and fours do not hang over the edge; else one, which
/// turns the operand round on its way where it must.
template <int kWidth, int kDepth, int kThreads, bool kDepthIsContiguous>
struct TileCopy {
  static constexpr int kFours = kWidth / 4;
  static_assert(kThreads % kDepth == 0 && kThreads % kWidth == 0 && kThreads % kFours == 0);

  const float* source;  ///< the thread's first element of the next step's tile
  int rest;             ///< how many of the tile's kWidth exist
  bool by_fours;

  __device__ __forceinline__ TileCopy(const float* x, int64_t step, int64_t first, int64_t width)
      : rest(static_cast<int>(width - first < kWidth ? width - first : kWidth)),
        by_fours(!kDepthIsContiguous && rows_are_aligned(x, step) && rest % 4 == 0) {
    const int thread = static_cast<int>(threadIdx.x);
    source = kDepthIsContiguous ? x + (first + thread / kDepth) * step + thread % kDepth
             : by_fours         ? x + thread / kFours * step + first + thread % kFours * 4
                                : x + thread / kWidth * step + first + thread % kWidth;
  }

  /// Starts the copies of one step, of which `depth` k exist, and goes on to the next. 0 fills what does not exist.
  template <int kPitch>
  __device__ __forceinline__ void start(int64_t step, int depth, float (&tile)[kDepth][kPitch]) {
    const int thread = static_cast<int>(threadIdx.x);
    const float* from = source;
    if constexpr (kDepthIsContiguous) {  // a warp's 32 threads read 32 / kDepth runs of kDepth neighbours
      const int first = thread / kDepth, k = thread % kDepth, count = k < depth ? rest : 0;
#pragma unroll
      for (int i = 0; i < kWidth; i += kThreads / kDepth, from += kThreads / kDepth * step)
        cp_async_ca<4>(&tile[k][first + i], from, first + i < count ? 4 : 0);
      source += kDepth;
      return;
    }
    if (by_fours) {  // kFours threads read the kWidth neighbours of a k
      const int first = thread / kFours, i = thread % kFours * 4, count = i < rest ? depth : 0;
#pragma unroll
      for (int k = 0; k < kDepth; k += kThreads / kFours, from += kThreads / kFours * step)
        cp_async_cg(&tile[first + k][i], from, first + k < count ? 16 : 0);
    } else {  // kWidth threads do
      const int first = thread / kWidth, i = thread % kWidth, count = i < rest ? depth : 0;
#pragma unroll 1
      for (int k = 0; k < kDepth; k += kThreads / kWidth, from += kThreads / kWidth * step)
        cp_async_ca<4>(&tile[first + k][i], from, first + k < count ? 4 : 0);
    }
    source += kDepth * step;
  }
};

// Rung 8, cp.async. The warp tile fetched a step, waited for it, computed, and fetched again: either global memory or
// the multipliers stood still, and every number passed a register on its way to shared memory. cp.async copies from
// global to shared memory by itself. So the steps' tiles form a ring: while one is computed with, the next kStages - 1
// are on their way, and a step needs one barrier, behind which both its own tiles have come and those of the step
// before may be overwritten. The same is done once more on a small scale: while one k's numbers are multiplied, the
// next k's are read from shared memory into a second set of registers, across the end of a step too.
//
// An SM of an H100 starts 4 warps' instructions a clock, and multiplies as many: each instruction that is no
// multiplication is one lost. A thread with 8 x 8 sums has 64 of them for 4 reads of shared memory; 8 x 16 has 128 for
// 6, but leaves room for 8 warps on an SM instead of 16.
//
// blockIdx.y counts slices of the depth K (split_k.cu); usually there is one.
template <class Pipe, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(Pipe::kThreads, Pipe::kBlocks)
    gemm_cp_async_kernel(GemmCall<float, float> whole, int64_t slice_depth) {
  using Tile = typename Pipe::Tile;
  constexpr int kM = Tile::kThreadM, kN = Tile::kThreadN, kDepth = Tile::kBlockK, kStages = Pipe::kStages;
  auto* const stages = dynamic_shared<typename Pipe::Stage>();

  const GemmCall<float, float> call = slice_of(whole, slice_depth);
  const TileOrigin tile = tile_origin<Tile>(call);
  const ThreadOrigin thread = thread_origin<Tile>(static_cast<int>(threadIdx.x));
  const int steps = static_cast<int>((call.K + kDepth - 1) / kDepth);
  const int last_depth = static_cast<int>((call.K - 1) % kDepth) + 1;
  TileCopy<Tile::kBlockM, kDepth, Tile::kThreads, !kTransA> copy_a(call.a, call.lda, tile.m, call.M);
  TileCopy<Tile::kBlockN, kDepth, Tile::kThreads, kTransB> copy_b(call.b, call.ldb, tile.n, call.N);

  // Every step commits a group, if an empty one, so that the number of groups tells which steps have come.
  int to_copy = steps;
  const auto copy_step = [&](int stage) {
    if (to_copy > 0) {
      const int step_depth = to_copy == 1 ? last_depth : kDepth;
      copy_a.start(call.lda, step_depth, stages[stage].a);
      copy_b.start(call.ldb, step_depth, stages[stage].b);
    }
    cp_async_commit_group();
    --to_copy;
  };
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) copy_step(stage);
  cp_async_wait_group<kStages - 2>();
  __syncthreads();

  float sums[kM][kN] = {};
  float a[2][kM], b[2][kN];  // of k in [k % 2]
  int reading = 0, filling = kStages - 1;
  load_fours<Tile::kApartM>(&stages[0].a[0][thread.m], a[0]);
  load_fours<Tile::kApartN>(&stages[0].b[0][thread.n], b[0]);
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      if (k == 0) {  // into the stage that the step before this one was read from
        copy_step(filling);
        filling = filling + 1 == kStages ? 0 : filling + 1;
      }
      if (k == kDepth - 1) {  // all of this step's numbers have been read; what is read now is the next step's
        cp_async_wait_group<kStages - 2>();
        __syncthreads();
        reading = reading + 1 == kStages ? 0 : reading + 1;
      }
      load_fours<Tile::kApartM>(&stages[reading].a[(k + 1) % kDepth][thread.m], a[(k + 1) % 2]);
      load_fours<Tile::kApartN>(&stages[reading].b[(k + 1) % kDepth][thread.n], b[(k + 1) % 2]);
      add_outer_product(a[k % 2], b[k % 2], sums);
    }
  }
  store_tile<Tile::kApartM, Tile::kApartN>(call, tile.m + thread.m, tile.n + thread.n, sums);
}

template <class Pipe>
void launch_pipeline(const GemmCall<float, float>& call, const Slices& slices, Stream stream) {
  with_transpositions(call, [&]<bool kTransA, bool kTransB>() {
    launch(gemm_cp_async_kernel<Pipe, kTransA, kTransB>,
           {.grid = dim3(tile_count<typename Pipe::Tile>(call), static_cast<unsigned>(slices.count)),
            .block = Pipe::kThreads,
            .shared_bytes = Pipe::kSharedBytes,
            .stream = stream},
           call, slices.depth);
  });
}

using SquareTile = Pipeline<WarpTiling<2, 4, 8, 8, 16>, 3, 2>;  // 128 x 128, 16 warps on an SM
using WideTile = Pipeline<WarpTiling<2, 4, 8, 16, 16>, 3, 1>;   // 128 x 256, 8 warps on an SM
static_assert(SquareTile::kBlockM == 128 && SquareTile::kBlockN == 128 && WideTile::kBlockM == 128 &&
              WideTile::kBlockN == 256);

}  // namespace

void gemm_cp_async(const GemmCall<float, float>& call, Stream stream) {
  launch_pipeline<SquareTile>(call, {1, call.K}, stream);
}

void gemm_cp_async_wide(const GemmCall<float, float>& call, Stream stream) {
  launch_pipeline<WideTile>(call, {1, call.K}, stream);
}

void gemm_cp_async_slices(const GemmCall<float, float>& call, const Slices& slices, Stream stream) {
  launch_pipeline<SquareTile>(call, slices, stream);
}

}  // namespace weft::WEFT_TARGET
