// batch_norm_train_backward and batch_norm_eval_backward, rung 3, vectorised. As in the forward pass: row-chunks has 4
// bytes (2 in bfloat16) under way with an instruction and reads a channel's numbers once a thread; here an instruction
// moves 16 bytes, and a block reads its channels' numbers once, for 256 rows or more.
// In training dx needs the sums, so there is a second reading; where dresidual was written in the first, it is dy
// behind the mask, and the second takes it in place of dy and y: one tensor less. In evaluation dx needs no sums and is
// written in the first reading: the fewest bytes there are.

#include "kernels/batch_norm/backward_sums.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/channels.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = BackwardOperands;

/// Sums over a chunk's rows: of dy, and of dy (x - mean) invstd.
struct Partial {
  float sum, dot;
};

/// kSums: partial sums are written, or of a single chunk dweight and dbias themselves. kResult: dx is, of the sums in
/// dweight and dbias where inverse_rows is not 0. The blocks an SM that are asked for keep ptxas from spilling for one
/// more; the sums alone want over 128 registers.
template <class T, int kVector, bool kSums, bool kResult>
__global__ void __launch_bounds__(kBlock, kSums ? 1 : 2)
    batch_norm_backward_vectors(Gradient<T> gradient, const T* __restrict__ x, const float* __restrict__ weight,
                                ChannelStatistics statistics, float inverse_rows, float* __restrict__ dweight,
                                float* __restrict__ dbias, T* __restrict__ dx, Partial* __restrict__ partial,
                                int64_t rows, int64_t C, int64_t rows_in_chunk, int lanes) {
  GradientFactors& factors = *dynamic_shared<GradientFactors>();
  const int own = static_cast<int>(threadIdx.x), first_channel = own % lanes * kVector;
  const int64_t own_channel = int64_t{blockIdx.x} * lanes * kVector + own;
  const bool has_channel = own < lanes * kVector && own_channel < C;
  const float invstd = has_channel ? statistics.invstd(own_channel) : 0;
  if (has_channel) {
    factors.centre[own] = statistics.mean[own_channel];
    if constexpr (kResult)
      factors.set(own, weight[own_channel], invstd, kSums ? 0 : dbias[own_channel], kSums ? 0 : dweight[own_channel],
                  inverse_rows);
  }
  __syncthreads();
  const Place at = place_of_thread<kVector>(lanes, blockIdx.x, C);
  // The second reading begins where the first ended: that is what the L2 cache still holds.
  const int64_t chunk = kSums ? blockIdx.y : gridDim.y - 1 - blockIdx.y, begin = chunk * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  const int mine = rows_of_thread(at, begin, end);
  const int64_t first = (begin + at.row) * C + at.channel, step = at.rows_at_once * C;
  float sums[2][kVector] = {};
  for (int k = 0; k < mine; k += kGradientRows) {
    GradientRows<T, kVector> values;
    values.load(gradient, x, first + k * step, step, mine - k);
    if constexpr (kSums) values.add_to(sums, factors, first_channel);
    if constexpr (kResult) values.store_dx(factors, first_channel, dx, first + k * step, step, mine - k);
  }
  if constexpr (kSums) {
    float totals[2];
    sum_over_block_rows(sums, lanes, totals);
    if (has_channel && gridDim.y > 1) partial[chunk * C + own_channel] = {totals[0], totals[1] * invstd};
    if (has_channel && gridDim.y == 1) {
      dbias[own_channel] = totals[0];
      dweight[own_channel] = totals[1] * invstd;
    }
  }
}

constexpr int kMergeLanes = 8;  // channels a block: 64 bytes of partial sums side by side

__global__ void __launch_bounds__(kBlock)
    batch_norm_backward_add_partials(const Partial* __restrict__ partial, float* __restrict__ dweight,
                                     float* __restrict__ dbias, int64_t chunks, int64_t C) {
  const Place at = place_of_thread<1>(kMergeLanes, blockIdx.x, C);
  float sums[2][1] = {};
  for (int64_t k = at.row; k < chunks && at.inside; k += at.rows_at_once) {
    const Partial part = partial[k * C + at.channel];
    sums[0][0] += part.sum;
    sums[1][0] += part.dot;
  }
  float totals[2];
  sum_over_block_rows(sums, kMergeLanes, totals);
  const int64_t channel = int64_t{blockIdx.x} * kMergeLanes + threadIdx.x;
  if (threadIdx.x < kMergeLanes && channel < C) {
    dbias[channel] = totals[0];
    dweight[channel] = totals[1];
  }
}

template <bool kTrain>
void launch_vectorised(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const auto statistics = channel_statistics<kTrain>(problem, operands);
  auto* const dweight = as<float>(operands[At::dweight]);
  auto* const dbias = as<float>(operands[At::dbias]);
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    const VectorChunks chunks = vector_chunks<kVector>(rows, C);
    const auto pass = [&](auto kernel, const Gradient<T>& gradient, float inverse_rows) {
      launch(kernel, {.grid = chunks.grid, .block = kBlock, .shared_bytes = sizeof(GradientFactors), .stream = stream},
             gradient, as<const T>(operands[At::x]), as<const float>(operands[At::weight]), statistics, inverse_rows,
             dweight, dbias, as<T>(operands[At::dx]), as<Partial>(workspace), rows, C, chunks.rows_in_chunk,
             chunks.lanes);
    };
    const Gradient<T> gradient = gradient_of<T>(problem, operands);
    pass(batch_norm_backward_vectors<T, kVector, true, !kTrain>, gradient, 0);
    if (chunks.chunks > 1)
      launch(batch_norm_backward_add_partials, {.grid = blocks_for(C, kMergeLanes), .block = kBlock, .stream = stream},
             as<const Partial>(workspace), dweight, dbias, chunks.chunks, C);
    if constexpr (kTrain) {
      const Gradient<T> masked = {gradient.dresidual, nullptr, nullptr, 0};
      const Gradient<T> again = {gradient.dy, gradient.y, nullptr, gradient.ceiling};
      pass(batch_norm_backward_vectors<T, kVector, false, true>, gradient.dresidual != nullptr ? masked : again,
           1 / static_cast<float>(rows));
    }
  });
}

}  // namespace

void batch_norm_train_backward_vectorised(const Problem& problem, void* const* operands, void* workspace,
                                          Stream stream) {
  launch_vectorised<true>(problem, operands, workspace, stream);
}

void batch_norm_eval_backward_vectorised(const Problem& problem, void* const* operands, void* workspace,
                                         Stream stream) {
  launch_vectorised<false>(problem, operands, workspace, stream);
}

int64_t batch_norm_backward_vectorised_workspace(const Problem& problem) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  int64_t bytes = 0;
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    bytes = vector_chunks<kVector>(rows, C).chunks * C * static_cast<int64_t>(sizeof(Partial));
  });
  return bytes;
}

}  // namespace weft::WEFT_TARGET
