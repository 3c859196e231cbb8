// batch_norm_train_backward, rungs 4 and 5, kept-by-block and kept-by-cluster. Vectorised reads dy and x twice (and y),
// 20 rows C bytes in float32 where 12 would do. As in the forward pass a block (rung 4), or the blocks of a cluster
// between them (rung 5), take a few channels and all their rows, and keep both, dy behind its mask, in shared memory:
// half as many rows fit as in the forward pass. dresidual is written on the way. One exchange of two sums, then dx.

#include "kernels/batch_norm/backward_sums.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/kept.h"
#include "kernels/channels.h"
#include "kernels/launch.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = BackwardOperands;

// One block an SM is asked for: shared memory lets in no more than two, and for a fifth ptxas would spill.
template <class T, int kVector, bool kCluster>
__global__ void __launch_bounds__(kBlock, 1)
    batch_norm_backward_kept(Gradient<T> gradient, const T* __restrict__ x, const float* __restrict__ weight,
                             ChannelStatistics statistics, T* __restrict__ dx, float* __restrict__ dweight,
                             float* __restrict__ dbias, int64_t rows, int64_t C, int64_t rows_in_block, int lanes,
                             int cluster, int kept_by_thread) {
  float* const exchange = dynamic_shared<float>();
  auto& factors = *reinterpret_cast<GradientFactors*>(exchange + kExchange);
  auto& of_warp = *reinterpret_cast<WarpSums<2>*>(exchange + kExchange + kFactors);
  auto* const kept_dy = reinterpret_cast<Vector<T, kVector>*>(exchange + kBeforeKept) + threadIdx.x;  // every kBlock-th
  auto* const kept_x = kept_dy + kept_by_thread * kBlock;
  const int64_t group = blockIdx.x / static_cast<unsigned>(cluster);
  const auto rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(cluster));
  const int own = static_cast<int>(threadIdx.x), first_channel = own % lanes * kVector;
  const int64_t own_channel = group * lanes * kVector + own;
  const bool has_channel = own < lanes * kVector && own_channel < C;
  const float invstd = has_channel ? statistics.invstd(own_channel) : 0;
  if (has_channel) factors.centre[own] = statistics.mean[own_channel];
  __syncthreads();  // the means are there

  const Place at = place_of_thread<kVector>(lanes, group, C);
  const int64_t begin = rank * rows_in_block;
  const int64_t end = begin + rows_in_block < rows ? begin + rows_in_block : rows;
  const int mine = rows_of_thread(at, begin, end);
  const int64_t first = (begin + at.row) * C + at.channel, step = at.rows_at_once * C;
  float sums[2][kVector] = {};
  for (int k = 0; k < mine; k += kGradientRows) {
    GradientRows<T, kVector> values;
    values.load(gradient, x, first + k * step, step, mine - k);
    values.add_to(sums, factors, first_channel);
#pragma unroll
    for (int j = 0; j < kGradientRows; ++j) {
      if (k + j >= mine) break;
      kept_dy[(k + j) * kBlock] = values.dy[j];
      kept_x[(k + j) * kBlock] = values.x[j];
    }
  }
  float totals[2];
  sum_over_block_rows(sums, lanes, totals, of_warp);
  add_over_cluster<kCluster>(totals, exchange);
  if (has_channel) {
    const float dot = totals[1] * invstd;
    factors.set(own, weight[own_channel], invstd, totals[0], dot, 1 / static_cast<float>(rows));
    if (rank == 0) {
      dbias[own_channel] = totals[0];
      dweight[own_channel] = dot;
    }
  }
  __syncthreads();  // the factors are there

  for (int k = 0; k < mine; k += kGradientRows) {
    GradientRows<T, kVector> values;
#pragma unroll
    for (int j = 0; j < kGradientRows; ++j) {
      if (k + j >= mine) break;
      values.dy[j] = kept_dy[(k + j) * kBlock];
      values.x[j] = kept_x[(k + j) * kBlock];
    }
    values.store_dx(factors, first_channel, dx, first + k * step, step, mine - k);
  }
  leave_cluster<kCluster>();
}

template <bool kCluster>
void launch_kept(const Problem& problem, void* const* operands, Stream stream, const KeptShape& shape) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    launch(batch_norm_backward_kept<T, kVector, kCluster>,
           {.grid = blocks_for(shape.groups * shape.cluster, 1),
            .block = kBlock,
            .shared_bytes = shape.shared_bytes,
            .stream = stream,
            .cluster = dim3(static_cast<unsigned>(shape.cluster))},
           gradient_of<T>(problem, operands), as<const T>(operands[At::x]), as<const float>(operands[At::weight]),
           channel_statistics<true>(problem, operands), as<T>(operands[At::dx]), as<float>(operands[At::dweight]),
           as<float>(operands[At::dbias]), rows, C, shape.rows_in_block, shape.lanes, shape.cluster,
           shape.kept_by_thread);
  });
}

}  // namespace

void batch_norm_train_backward_kept_by_block(const Problem& problem, void* const* operands, void*, Stream stream) {
  launch_kept<false>(problem, operands, stream, block_shape<2>(problem));
}

void batch_norm_train_backward_kept_by_cluster(const Problem& problem, void* const* operands, void*, Stream stream) {
  launch_kept<true>(problem, operands, stream, cluster_shape<2>(problem));
}

}  // namespace weft::WEFT_TARGET
