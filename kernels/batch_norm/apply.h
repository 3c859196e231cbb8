#pragma once
// y from known statistics: all of batch_norm_eval and of batch_norm_train_gathered, and the last step of
// batch_norm_train's vectorised rung.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/channels.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {

/// Rows that a thread has under way at once: 64 bytes of x in flight a thread, and as much of the residual.
inline constexpr int kRowsUnderWay = 4;

/// What a channel's x is moved by, times and plus: in shared memory, since each of a block's rows wants it.
struct ChannelFactors {
  float centre[kMostChannels], scale[kMostChannels], shift[kMostChannels];
};

/// y of up to kRowsUnderWay rows: element `i` on, `step` elements apart, of which `there` exist.
template <int kVector, class T>
__device__ inline void finish_rows(const Vector<T, kVector> (&x)[kRowsUnderWay], const ChannelFactors& factors,
                                   int first_channel, const Finish<T>& finish, T* y, int64_t i, int64_t step,
                                   int there) {
  Vector<T, kVector> residual[kRowsUnderWay] = {};
#pragma unroll
  for (int k = 0; k < kRowsUnderWay; ++k)
    if (finish.residual != nullptr && k < there) residual[k] = load_vector<kVector>(finish.residual, i + k * step);
#pragma unroll
  for (int k = 0; k < kRowsUnderWay; ++k) {
    if (k >= there) break;
    Vector<T, kVector> result;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const int c = first_channel + v;
      float value = (to_float(x[k].values[v]) - factors.centre[c]) * factors.scale[c] + factors.shift[c];
      if (finish.residual != nullptr) value += to_float(residual[k].values[v]);
      result.values[v] = finish.result(value);
    }
    store_vector(y, i + k * step, result);
  }
}

// The chunks are walked from the last to the first: where x was read just before, from the first to the last, its end
// is what the L2 cache still holds. Two blocks an SM are asked for: left alone, ptxas makes room for a third on sm_80
// and moves registers out to memory for it.
//
// kKeeps: the statistics are the batch's mean and biased variance, and go to `to`, by the blocks of the first chunk.
template <class T, int kVector, bool kKeeps>
__global__ void __launch_bounds__(kBlock, 2)
    batch_norm_apply_vectors(const T* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
                             ChannelStatistics statistics, BatchStatistics to, Finish<T> finish, T* __restrict__ y,
                             int64_t rows, int64_t C, int64_t rows_in_chunk, int lanes) {
  ChannelFactors& factors = *dynamic_shared<ChannelFactors>();
  const int own = static_cast<int>(threadIdx.x);
  const int64_t own_channel = int64_t{blockIdx.x} * lanes * kVector + own;
  if (own < lanes * kVector && own_channel < C) {
    const float mean = statistics.mean[own_channel];
    factors.centre[own] = mean;
    factors.shift[own] = bias[own_channel];
    if constexpr (kKeeps) {
      const float squares = statistics.spread[own_channel] * static_cast<float>(rows);
      factors.scale[own] = weight[own_channel] * to.invstd(squares, rows);
      if (blockIdx.y == 0) to.keep(own_channel, rows, mean, squares);
    } else {
      factors.scale[own] = weight[own_channel] * statistics.invstd(own_channel);
    }
  }
  __syncthreads();
  const Place at = place_of_thread<kVector>(lanes, blockIdx.x, C);
  if (!at.inside) return;
  const int64_t begin = (gridDim.y - 1 - blockIdx.y) * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  const int first_channel = static_cast<int>(threadIdx.x) % lanes * kVector;
  for (int64_t n = begin + at.row; n < end; n += at.rows_at_once * kRowsUnderWay) {
    Vector<T, kVector> values[kRowsUnderWay] = {};
    int there = 0;
#pragma unroll
    for (int k = 0; k < kRowsUnderWay; ++k)
      if (n + k * at.rows_at_once < end) {
        values[k] = load_vector<kVector>(x, (n + k * at.rows_at_once) * C + at.channel);
        there = k + 1;
      }
    finish_rows<kVector>(values, factors, first_channel, finish, y, n * C + at.channel, at.rows_at_once * C, there);
  }
}

template <class T, int kVector, bool kKeeps = false>
void apply_vectors(const Problem& problem, const T* x, const float* weight, const float* bias,
                   const ChannelStatistics& statistics, const Finish<T>& finish, T* y, Stream stream,
                   const BatchStatistics& to = {}) {
  using extents::BatchNorm;
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const VectorChunks chunks = vector_chunks<kVector>(rows, C);
  launch(batch_norm_apply_vectors<T, kVector, kKeeps>,
         {.grid = chunks.grid, .block = kBlock, .shared_bytes = sizeof(ChannelFactors), .stream = stream}, x, weight,
         bias, statistics, to, finish, y, rows, C, chunks.rows_in_chunk, chunks.lanes);
}

}  // namespace weft::WEFT_TARGET
