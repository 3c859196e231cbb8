// batch_norm_train, rung 4, vectorised. Row-chunks issues an instruction for every 4 bytes (2 in bfloat16), has a
// warp's row of one channel a thread, and reads each channel's four numbers once a thread: at 8 rows a thread a fifth
// of what it moves. Here a thread moves 16 bytes an instruction, so that eight lanes make a row of 128 bytes and a
// warp's request is four rows of 4 sectors; the channel's numbers are read once a block. The steps are the same three:
// moments of chunks of rows, their merging in a fixed order, and the result. x is read twice, and the second time from
// its end.

#include "kernels/batch_norm/apply.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/moments.h"
#include "kernels/channels.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = TrainOperands;

/// The moments of a chunk's rows but for their count, which is known.
struct Partial {
  float mean, squares;
};

/// Merges over the block's rows; thread c, c < lanes kVector, gets those of the block's channel c.
template <int kVector>
__device__ Moments merge_over_block_rows(const Moments (&mine)[kVector], int lanes) {
  __shared__ Moments of_warp[kBlock / 32][kMostChannels];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    Moments moments = mine[v];
    for (int mask = 16; mask >= lanes; mask /= 2)
      moments = merge(
          moments, {__shfl_xor_sync(kWholeWarp, moments.count, mask), __shfl_xor_sync(kWholeWarp, moments.mean, mask),
                    __shfl_xor_sync(kWholeWarp, moments.squares, mask)});
    if (lane < lanes) of_warp[warp][lane * kVector + v] = moments;
  }
  __syncthreads();
  Moments all;
  if (static_cast<int>(threadIdx.x) < lanes * kVector)
    for (int w = 0; w < kBlock / 32; ++w) all = merge(all, of_warp[w][threadIdx.x]);
  return all;
}

// A thread takes four of its rows at a time into registers, 64 bytes under way; within the four the two-pass formula is
// exact to rounding, and the merging costs one division for all of the pack's channels.
template <class T, int kVector>
__global__ void __launch_bounds__(kBlock)
    batch_norm_vector_moments(const T* __restrict__ x, Partial* __restrict__ partial, int64_t rows, int64_t C,
                              int64_t rows_in_chunk, int lanes) {
  const Place at = place_of_thread<kVector>(lanes, blockIdx.x, C);
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  float count = 0, mean[kVector] = {}, squares[kVector] = {};
  for (int64_t n = begin + at.row; n < end && at.inside; n += at.rows_at_once * kRowsUnderWay) {
    Vector<T, kVector> values[kRowsUnderWay] = {};
    int there = 0;
#pragma unroll
    for (int k = 0; k < kRowsUnderWay; ++k)
      if (n + k * at.rows_at_once < end) {
        values[k] = load_vector<kVector>(x, (n + k * at.rows_at_once) * C + at.channel);
        there = k + 1;
      }
    // As merge() has it, with what is the same for the pack's channels computed once.
    const auto new_rows = static_cast<float>(there);
    const float inverse = 1 / new_rows, total = count + new_rows, share = new_rows / total;
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      float sum = 0;
#pragma unroll
      for (int k = 0; k < kRowsUnderWay; ++k)
        if (k < there) sum += to_float(values[k].values[v]);
      const float new_mean = sum * inverse, difference = new_mean - mean[v];
      mean[v] += difference * share;
      squares[v] += difference * difference * count * share;
#pragma unroll
      for (int k = 0; k < kRowsUnderWay; ++k) {
        const float distance = k < there ? to_float(values[k].values[v]) - new_mean : 0;
        squares[v] += distance * distance;
      }
    }
    count = total;
  }
  Moments mine[kVector];
#pragma unroll
  for (int v = 0; v < kVector; ++v) mine[v] = {count, mean[v], squares[v]};
  const Moments all = merge_over_block_rows(mine, lanes);
  const int own = static_cast<int>(threadIdx.x);
  const int64_t channel = int64_t{blockIdx.x} * lanes * kVector + own;
  if (own < lanes * kVector && channel < C) partial[blockIdx.y * C + channel] = {all.mean, all.squares};
}

// Eight channels a block, so that a row of partial results is 64 bytes, two sectors, and 32 chunks at a time.
constexpr int kMergeLanes = 8;

__global__ void __launch_bounds__(kBlock)
    batch_norm_merge_moments(const Partial* __restrict__ partial, BatchStatistics statistics, int64_t chunks,
                             int64_t rows, int64_t C, int64_t rows_in_chunk) {
  const Place at = place_of_thread<1>(kMergeLanes, blockIdx.x, C);
  Moments mine[1];
  for (int64_t k = at.row; k < chunks && at.inside; k += at.rows_at_once) {
    const int64_t left = rows - k * rows_in_chunk;
    const Partial part = partial[k * C + at.channel];
    mine[0] =
        merge(mine[0], {static_cast<float>(left < rows_in_chunk ? left : rows_in_chunk), part.mean, part.squares});
  }
  const Moments all = merge_over_block_rows(mine, kMergeLanes);
  const int64_t channel = int64_t{blockIdx.x} * kMergeLanes + threadIdx.x;
  if (threadIdx.x < kMergeLanes && channel < C) statistics.keep(channel, rows, all.mean, all.squares);
}

}  // namespace

void batch_norm_train_vectorised(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    const VectorChunks chunks = vector_chunks<kVector>(rows, C);
    const T* const x = as<const T>(operands[At::x]);
    launch(batch_norm_vector_moments<T, kVector>, {.grid = chunks.grid, .block = kBlock, .stream = stream}, x,
           as<Partial>(workspace), rows, C, chunks.rows_in_chunk, chunks.lanes);
    launch(batch_norm_merge_moments, {.grid = blocks_for(C, kMergeLanes), .block = kBlock, .stream = stream},
           as<const Partial>(workspace), batch_statistics(problem, operands), chunks.chunks, rows, C,
           chunks.rows_in_chunk);
    const ChannelStatistics found = {as<const float>(operands[At::save_mean]),
                                     as<const float>(operands[At::save_invstd]), false, 0};
    apply_vectors<T, kVector>(problem, x, as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
                              found, finish_of<T>(problem, operands), as<T>(operands[At::y]), stream);
  });
}

int64_t batch_norm_vectorised_workspace(const Problem& problem) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  int64_t bytes = 0;
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    bytes = vector_chunks<kVector>(rows, C).chunks * C * static_cast<int64_t>(sizeof(Partial));
  });
  return bytes;
}

}  // namespace weft::WEFT_TARGET
