#pragma once
// Splitting the depth K of a product whose y has too few tiles for a GPU: see split_k.cu.

#include "kernels/element.h"
#include "kernels/gemm/gemm.h"

namespace weft::WEFT_TARGET {

/// `count` slices of K, each `depth` long but the last, which may be shorter (never empty).
struct Slices {
  int count;
  int64_t depth;
};

/// How K is cut for tiles of block_m x block_n: into as many slices as give some 264 blocks (two for each of an H100's
/// 132 SMs), none shorter than `shortest` (which is why a short K stays whole), each a multiple of block_k deep. A
/// function of the shape alone, so that the sums are the same on every device.
inline Slices slices_of(int64_t M, int64_t N, int64_t K, int block_m, int block_n, int block_k, int64_t shortest = 64) {
  constexpr int64_t kBlocksWanted = 264;
  const int64_t tiles = ceil_div(M, block_m) * ceil_div(N, block_n);
  const int64_t wanted = ceil_div(kBlocksWanted, tiles), most = K / shortest;
  const int64_t count = wanted < most ? wanted : most;
  if (count <= 1) return {1, K};
  const int64_t depth = ceil_div(ceil_div(K, count), block_k) * block_k;
  return {static_cast<int>(ceil_div(K, depth)), depth};
}

/// For a kernel whose blockIdx.y counts slices: the product that this block's slice is by itself. Its K is the slice's,
/// and its y is where its sums go, blockIdx.y M ldy further on. depth is Slices::depth, or K for a call that is not
/// cut.
template <class T, class Out>
__device__ __forceinline__ GemmCall<T, Out> slice_of(GemmCall<T, Out> call, int64_t depth) {
  const int64_t first = blockIdx.y * depth;
  call.a += first * (call.trans_a ? call.lda : 1);
  call.b += first * (call.trans_b ? 1 : call.ldb);
  call.y += blockIdx.y * call.M * call.ldy;
  call.K = call.K - first < depth ? call.K - first : depth;
  return call;
}

/// Elements from row to row of a slice's sums, (M, N) floats: rows of whole 16 bytes.
inline int64_t slice_pitch(int64_t N) {
  return ceil_div(N, 4) * 4;
}

/// Bytes of the sums of all slices: float (count, M, slice_pitch(N)).
inline int64_t slices_bytes(const Slices& slices, int64_t M, int64_t N) {
  return slices.count == 1 ? 0 : slices.count * M * slice_pitch(N) * static_cast<int64_t>(sizeof(float));
}

/// The rungs of these names for each slice: float sums to y + s M ldy, no epilogue.
void gemm_cp_async_slices(const GemmCall<float, float>& call, const Slices& slices, Stream stream);
template <class T>
void gemm_mma_multistage_slices(const GemmCall<T, float>& call, const Slices& slices, Stream stream);

/// y from the sums of the slices, added in the order of the slices, through the epilogue. `sums` is float (slices, M,
/// slice_pitch(N)), 16-byte aligned.
template <class T, class Out>
void gemm_add_slices(const GemmCall<T, Out>& call, const float* sums, int slices, Stream stream);

}  // namespace weft::WEFT_TARGET
