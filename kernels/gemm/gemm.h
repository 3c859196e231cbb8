#pragma once
// gemm: y = relu?(alpha op(a) op(b) + beta y [+ bias] [+ residual]).   y, residual (M, N), op(a) (M, K), op(b) (K, N),
// bias (N).
// 2MNK flops; 4(MK + KN + MN) bytes in float32: bound by arithmetic from some hundred rows and columns on, as each
// element that is read once serves N or M multiplications. What a rung gains, it gains by reading less often.
//
//   1_naive.cu             a thread an element, reading its operands from global memory
//   2_coalesced.cu         a warp's elements side by side, so that it reads whole sectors
//   3_shared_tile.cu       a block keeps a square tile of each operand in shared memory
//   4_register_tile_1d.cu  a thread keeps a column of results in registers
//   5_register_tile_2d.cu  a thread keeps a square of results in registers
//   6_float4.cu            operands fetched four floats at a time, larger tiles
//   7_warp_tile.cu         a warp has a square of its own; no bank is asked twice
//   8_cp_async.cu          the next steps' tiles are on their way while one is computed with
//   9_mma_sync.cu          tensor cores: a warp multiplies fragments that ldmatrix loads (mma_tile.h)
//   10_mma_multistage.cu   four tiles on their way at once by cp.async, fragments loaded a step ahead
//   11_wgmma_tma.cu        one thread asks the copy engine for tiles, four warps together multiply them
//   12_warp_specialised.cu a producer asks for tiles ahead, consumers multiply, mbarriers between them
//   13_large_tile.cu       128 x 256 of the result, products under way while the next are issued
//   14_persistent.cu       blocks that stay and take tile after tile, in an order that shares what they read
//   15_cluster_multicast.cu  pairs of blocks fetch what both need once
//   16_tma_store.cu        results leave through shared memory while the next tile is multiplied
//   split_k.cu             for few tiles and a large K: slices of K side by side, added in a fixed order
//   gemm.cu                the catalogue's entry, and the choice
// Shared: element_sum.h (1, 2), tile.h (4 on), warp_tile.h (7, 8, which has a wider tile, cp-async-wide, too), mma_tile.h
// and mma_multistage.h (9, 10, split-K), wgmma_tile.h (11 on), wgmma_ring.h (12 on), tile_order.h (14 on),
// cluster_pair.h (15, 16), store_pieces.h (16), split_k.h, epilogue.h (all).
//
// fp32 rungs are files 1 to 8, tensor cores (mma.sync) 9 and 10, Hopper's (wgmma, TMA) from 11 on.
//
// How a rung plugs in. It is a function, declared below,
//
//   template <class Out> void gemm_mma(const GemmCall<__nv_bfloat16, Out>& call, Stream stream);
//
// with explicit instantiations for the types that it is made for, and in gemm.cu one line of kRungs:
//
//   {"mma", "What the rung before wasted; what this one does about it.", kNeedsMma,
//    launch_rung<gemm_mma<__nv_bfloat16>, gemm_mma<float>>},
//
// The catalogue's tests then run it on every problem that its Needs take, on every target; gemm_best and the graph
// reach it once choose_gemm names it. A rung that wants a workspace takes a void* between call and stream, and its line
// ends in a workspace_bytes. A rung takes any M, N, K, leading dimensions, transpositions, alpha, beta and epilogue, or
// says in Needs::takes what it does not (say, an lda of whole 16 bytes; pitch_a() and so on give it). Addresses are
// multiples of Needs::alignment and no more. Finished sums go through epilogue.h: no rung has an epilogue of its own.

#include "kernels/catalogue.h"
#include "kernels/element.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// One product. op(a) is a as it lies, (M, K), or its transpose where trans_a: a then lies as (K, M). The same for b.
/// The sum is kept in float whatever T is. y is not read where beta is 0. residual may be y.
template <class T, class Out>
struct GemmCall {
  const T* a;
  const T* b;
  const T* bias = nullptr;        ///< (N), or null
  const Out* residual = nullptr;  ///< (M, N), or null
  Out* y;
  int64_t M, N, K;
  /// Elements from one row to the next of the matrix as it lies. 0: dense; a rung never sees a 0.
  int64_t lda = 0, ldb = 0, ldy = 0, ld_residual = 0;
  bool trans_a = false, trans_b = false;
  bool relu = false;
  bool tf32 = false;  ///< a rung for tensor cores may round float operands to TF32
  float alpha = 1, beta = 0;
};

template <class T, class Out>
void gemm_naive(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_coalesced(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_shared_tile(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_register_tile_1d(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_register_tile_2d(const GemmCall<T, Out>& call, Stream stream);
void gemm_float4(const GemmCall<float, float>& call, Stream stream);
void gemm_warp_tile(const GemmCall<float, float>& call, Stream stream);
void gemm_cp_async(const GemmCall<float, float>& call, Stream stream);
void gemm_cp_async_wide(const GemmCall<float, float>& call, Stream stream);
/// Where T is float, these two round the operands to TF32: only for a call whose tf32 is set.
template <class T, class Out>
void gemm_mma_sync(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_mma_multistage(const GemmCall<T, Out>& call, Stream stream);
template <class T, class Out>
void gemm_split_k(const GemmCall<T, Out>& call, void* workspace, Stream stream);
int64_t gemm_split_k_workspace(const Problem& problem);

template <class Out>
void gemm_wgmma_tma(const GemmCall<__nv_bfloat16, Out>& call, Stream stream);
template <class Out>
void gemm_warp_specialised(const GemmCall<__nv_bfloat16, Out>& call, Stream stream);
template <class Out>
void gemm_large_tile(const GemmCall<__nv_bfloat16, Out>& call, Stream stream);
template <class Out>
void gemm_persistent(const GemmCall<__nv_bfloat16, Out>& call, Stream stream);
template <class Out>
void gemm_cluster_multicast(const GemmCall<__nv_bfloat16, Out>& call, Stream stream);
void gemm_tma_store(const GemmCall<__nv_bfloat16, __nv_bfloat16>& call, Stream stream);

/// Memory for a rung that wants some: its address is a multiple of 256.
struct GemmWorkspace {
  void* data = nullptr;
  int64_t bytes = 0;
};

/// The launcher's choice among the above, for another op's launcher: what the catalogue's gemm would run, among the
/// rungs that need no more workspace than there is, and no more alignment than the call's addresses have. T and Out are
/// float, __nv_bfloat16, or T bfloat16 with Out float.
template <class T, class Out>
void gemm_best(const GemmCall<T, Out>& call, Stream stream, const GemmWorkspace& workspace = {});
/// Bytes of workspace with which gemm_best runs its first choice for the call, whose pointers may be null.
template <class T, class Out>
int64_t gemm_best_workspace(const GemmCall<T, Out>& call);

/// Elements from one row to the next of each matrix of a problem, for Needs::takes: its leading dimension, or its rows'
/// length where that is 0.
int64_t pitch_a(const Problem& problem);
int64_t pitch_b(const Problem& problem);
int64_t pitch_y(const Problem& problem);
int64_t pitch_residual(const Problem& problem);

}  // namespace weft::WEFT_TARGET
