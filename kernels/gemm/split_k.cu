// gemm, the rung for thin and long shapes: split-K. The formula and its costs stand in gemm.h.

#include "kernels/gemm/split_k.h"

#include <type_traits>

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/tile.h"
#include "kernels/launch.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

// Split-K. All other rungs have as many blocks as y has tiles. A weight's gradient may be 64 x 576 and 100,000 deep: 5
// tiles of 128 x 128, and 127 of 132 SMs look on. Here K is cut into slices, and a block computes one tile for one
// slice: its sums go to the workspace, float (slices, M, slice_pitch(N)). A second kernel adds the slices and runs the epilogue.
// Adding them with atomics would need no second kernel, but the order of the additions, and so the last bits, would
// differ from run to run; here it is always slice 0, 1, 2, ... Cost: each slice writes and reads 8 M N bytes, so slices
// must be few.
template <class T, class Out>
__global__ void gemm_add_slices_kernel(GemmCall<T, Out> call, const float* __restrict__ sums, int slices) {
  const int64_t across = ceil_div(call.N, 4);  // fours in a row
  const int64_t four = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (four >= call.M * across) return;
  const int64_t m = four / across, n = four % across * 4;
  float total[4] = {};
  for (int slice = 0; slice < slices; ++slice) {
    const float4 part = reinterpret_cast<const float4*>(sums)[slice * call.M * across + four];
    total[0] += part.x, total[1] += part.y, total[2] += part.z, total[3] += part.w;
  }
  store_sums<4>(call, m, n, epilogue_is_aligned<4>(call), total);
}

// Both rungs that compute slices have tiles of 128 x 128; cp.async's are 16 deep, mma's 32 and 16.
Slices slices_of_call(int64_t M, int64_t N, int64_t K) {
  return slices_of(M, N, K, 128, 128, 32);
}

}  // namespace

template <class T, class Out>
void gemm_add_slices(const GemmCall<T, Out>& call, const float* sums, int slices, Stream stream) {
  launch(gemm_add_slices_kernel<T, Out>,
         {.grid = blocks_for(call.M * ceil_div(call.N, 4), kBlock), .block = kBlock, .stream = stream}, call, sums,
         slices);
}

template void gemm_add_slices(const GemmCall<float, float>&, const float*, int, Stream);
template void gemm_add_slices(const GemmCall<bfloat16, bfloat16>&, const float*, int, Stream);
template void gemm_add_slices(const GemmCall<bfloat16, float>&, const float*, int, Stream);

// float32 goes through the multipliers of rung 8, bfloat16 and TF32 through the tensor cores of rung 10.
template <class T, class Out>
void gemm_split_k(const GemmCall<T, Out>& call, void* workspace, Stream stream) {
  const Slices slices = slices_of_call(call.M, call.N, call.K);
  const bool whole = slices.count == 1;
  const GemmCall<T, float> sums = {.a = call.a,
                                   .b = call.b,
                                   .y = static_cast<float*>(workspace),
                                   .M = call.M,
                                   .N = call.N,
                                   .K = call.K,
                                   .lda = call.lda,
                                   .ldb = call.ldb,
                                   .ldy = slice_pitch(call.N),
                                   .trans_a = call.trans_a,
                                   .trans_b = call.trans_b,
                                   .tf32 = call.tf32};
  if constexpr (std::is_same_v<T, float>) {
    if (!call.tf32) {
      if (whole) return gemm_cp_async(call, stream);
      gemm_cp_async_slices(sums, slices, stream);
      return gemm_add_slices(call, sums.y, slices.count, stream);
    }
  }
  if (whole) return gemm_mma_multistage(call, stream);
  gemm_mma_multistage_slices(sums, slices, stream);
  gemm_add_slices(call, sums.y, slices.count, stream);
}

template void gemm_split_k(const GemmCall<float, float>&, void*, Stream);
template void gemm_split_k(const GemmCall<bfloat16, bfloat16>&, void*, Stream);
template void gemm_split_k(const GemmCall<bfloat16, float>&, void*, Stream);

int64_t gemm_split_k_workspace(const Problem& problem) {
  using extents::Gemm;
  const auto* e = problem.extents;
  return slices_bytes(slices_of_call(e[Gemm::M], e[Gemm::N], e[Gemm::K]), e[Gemm::M], e[Gemm::N]);
}

}  // namespace weft::WEFT_TARGET
