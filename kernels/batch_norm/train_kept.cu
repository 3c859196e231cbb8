// batch_norm_train, rungs 5 and 6, kept-by-block and kept-by-cluster. Vectorised reads x twice, 12 rows C bytes in
// float32 where 8 would do: a third of the time goes to reading again what was here before.
//
// Rung 5. A block takes a few channels, 64 bytes of each row (two sectors), and all rows, and keeps what it reads in
// shared memory. The mean is then known without another look at global memory, and the two-pass formula, which is the
// exact one, costs a pass over shared memory. 96 KiB hold 1500 rows of 64 bytes.
//
// Rung 6. C / 16 blocks (bfloat16 C / 32) are few, and 1500 rows are less than two pictures of 28 x 28. Here up to
// eight blocks, a cluster, share the rows: eight times the rows and the SMs. Each writes its sums down where the others
// can read them (distributed shared memory), and all add the eight in the same order. 8 x 208 KiB hold 26,000 rows of
// 64 bytes, or 106,000 of 16: layers 2 to 4 of a ResNet with 128 pictures in bfloat16.

#include "kernels/batch_norm/apply.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/kept.h"
#include "kernels/channels.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = TrainOperands;

template <class T, int kVector, bool kCluster>
__global__ void __launch_bounds__(kBlock)
    batch_norm_kept(const T* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
                    Finish<T> finish, T* __restrict__ y, BatchStatistics statistics, int64_t rows, int64_t C,
                    int64_t rows_in_block, int lanes, int cluster) {
  float* const exchange = dynamic_shared<float>();
  auto& factors = *reinterpret_cast<ChannelFactors*>(exchange + kExchange);
  auto& of_warp = *reinterpret_cast<WarpSums<1>*>(exchange + kExchange + kFactors);
  auto* const kept = reinterpret_cast<Vector<T, kVector>*>(exchange + kBeforeKept) + threadIdx.x;  // every kBlock-th
  const int64_t group = blockIdx.x / static_cast<unsigned>(cluster);
  const auto rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(cluster));
  const Place at = place_of_thread<kVector>(lanes, group, C);
  const int64_t begin = rank * rows_in_block;
  const int64_t end = begin + rows_in_block < rows ? begin + rows_in_block : rows;
  const int own = static_cast<int>(threadIdx.x), first_channel = own % lanes * kVector;
  const int64_t own_channel = group * lanes * kVector + own;
  const bool has_channel = own < lanes * kVector && own_channel < C;
  const int mine = rows_of_thread(at, begin, end);
  const int64_t first = (begin + at.row) * C + at.channel, step = at.rows_at_once * C;

  float sums[1][kVector] = {};
  for (int k = 0; k < mine; k += kRowsUnderWay) {
    Vector<T, kVector> values[kRowsUnderWay] = {};
#pragma unroll
    for (int j = 0; j < kRowsUnderWay; ++j)
      if (k + j < mine) values[j] = load_vector<kVector>(x, first + (k + j) * step);
#pragma unroll
    for (int j = 0; j < kRowsUnderWay; ++j) {
      if (k + j < mine) kept[(k + j) * kBlock] = values[j];
#pragma unroll
      for (int v = 0; v < kVector; ++v) sums[0][v] += to_float(values[j].values[v]);
    }
  }
  float total[1];
  sum_over_block_rows(sums, lanes, total, of_warp);
  add_over_cluster<kCluster>(total, exchange);
  const float mean = total[0] / static_cast<float>(rows);
  if (has_channel) factors.centre[own] = mean;
  __syncthreads();  // the means are there

  float squares[1][kVector] = {};
  for (int k = 0; k < mine; ++k)
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const float difference = to_float(kept[k * kBlock].values[v]) - factors.centre[first_channel + v];
      squares[0][v] += difference * difference;
    }
  sum_over_block_rows(squares, lanes, total, of_warp);
  add_over_cluster<kCluster>(total, exchange + kMostChannels);
  if (has_channel) {
    factors.scale[own] = weight[own_channel] * statistics.invstd(total[0], rows);
    factors.shift[own] = bias[own_channel];
    if (rank == 0) statistics.keep(own_channel, rows, mean, total[0]);
  }
  __syncthreads();  // the factors are there

  for (int k = 0; k < mine; k += kRowsUnderWay) {
    Vector<T, kVector> values[kRowsUnderWay] = {};
#pragma unroll
    for (int j = 0; j < kRowsUnderWay; ++j)
      if (k + j < mine) values[j] = kept[(k + j) * kBlock];
    finish_rows<kVector>(values, factors, first_channel, finish, y, first + k * step, step, mine - k);
  }
  leave_cluster<kCluster>();
}

template <bool kCluster>
void launch_kept(const Problem& problem, void* const* operands, Stream stream, const KeptShape& shape) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    launch(batch_norm_kept<T, kVector, kCluster>,
           {.grid = blocks_for(shape.groups * shape.cluster, 1),
            .block = kBlock,
            .shared_bytes = shape.shared_bytes,
            .stream = stream,
            .cluster = dim3(static_cast<unsigned>(shape.cluster))},
           as<const T>(operands[At::x]), as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
           finish_of<T>(problem, operands), as<T>(operands[At::y]), batch_statistics(problem, operands), rows, C,
           shape.rows_in_block, shape.lanes, shape.cluster);
  });
}

}  // namespace

void batch_norm_train_kept_by_block(const Problem& problem, void* const* operands, void*, Stream stream) {
  launch_kept<false>(problem, operands, stream, block_shape<1>(problem));
}

void batch_norm_train_kept_by_cluster(const Problem& problem, void* const* operands, void*, Stream stream) {
  launch_kept<true>(problem, operands, stream, cluster_shape<1>(problem));
}

}  // namespace weft::WEFT_TARGET
