// batch_norm_train: y[n,c] = relu?((x[n,c] - mean[c]) invstd[c] weight[c] + bias[c] [+ residual[n,c]]), where over the
// rows of each channel mean = 1/rows sum x, var = 1/rows sum (x - mean)^2, invstd = 1 / sqrt(var + eps).   x, residual,
// y are (rows, C), all else (C).
// running_mean <- (1 - momentum) running_mean + momentum mean, and running_var likewise with the unbiased variance,
// rows / (rows - 1) var: as torch keeps them. (Ioffe and Szegedy, "Batch Normalization", 2015.)
// About 8 rows C flops. The floor is one read of x and one write of y, 8 rows C bytes in float32: bound by memory. y
// needs sums over all of x, so x is read once only where a channel's rows can be kept on the chip until they are known.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/kept.h"
#include "kernels/batch_norm/moments.h"
#include "kernels/catalogue_ops.h"
#include "kernels/column_sums.h"
#include "kernels/launch.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = TrainOperands;

// Rung 1, thread-per-channel. The formulas as written: a thread walks down its column for the mean, again for the
// variance (the sum of x^2 less the square of the sum would need one walk, and lose every digit where the mean is large
// beside the deviation) and again for y. Requests are whole, for neighbouring threads read neighbouring channels, but C
// threads are all there are: 64 of them leave all but one SM idle.
template <class T>
__global__ void batch_norm_thread_per_channel(const T* __restrict__ x, const float* __restrict__ weight,
                                              const float* __restrict__ bias, Finish<T> finish, T* __restrict__ y,
                                              BatchStatistics statistics, int64_t rows, int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  float sum = 0;
  for (int64_t n = 0; n < rows; ++n) sum += to_float(x[n * C + c]);
  const float mean = sum / static_cast<float>(rows);
  float squares = 0;
  for (int64_t n = 0; n < rows; ++n) {
    const float difference = to_float(x[n * C + c]) - mean;
    squares += difference * difference;
  }
  statistics.keep(c, rows, mean, squares);
  const float invstd = statistics.save_invstd[c];
  for (int64_t n = 0; n < rows; ++n)
    y[n * C + c] = finish((to_float(x[n * C + c]) - mean) * invstd * weight[c] + bias[c], n * C + c);
}

// Rung 2, welford. Mean and variance took a walk each. Welford's running mean and sum of squares (moments.h) need one
// for both, without the cancellation of the sum of x^2, and so x is read twice instead of three times. Eight threads
// share a channel's rows, a warp of 32 neighbouring channels each; their parts merge without cancellation too (Chan,
// Golub and LeVeque, 1979), in a fixed order, so that the bits are always the same. It costs a division an element,
// each waiting for the one before.

/// Merges over threadIdx.y; the result is that of the threads with threadIdx.y = 0.
__device__ Moments merge_over_rows(const Moments& mine) {
  __shared__ float counts[kRows][kColumns], means[kRows][kColumns], squares[kRows][kColumns];
  const unsigned r = threadIdx.y, c = threadIdx.x;
  counts[r][c] = mine.count;
  means[r][c] = mine.mean;
  squares[r][c] = mine.squares;
  __syncthreads();
  Moments all = mine;
  if (r == 0)
    for (int k = 1; k < kRows; ++k) all = merge(all, {counts[k][c], means[k][c], squares[k][c]});
  return all;
}

template <class T>
__global__ void batch_norm_welford(const T* __restrict__ x, const float* __restrict__ weight,
                                   const float* __restrict__ bias, Finish<T> finish, T* __restrict__ y,
                                   BatchStatistics statistics, int64_t rows, int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  Moments mine;
  for (int64_t n = threadIdx.y; n < rows && c < C; n += kRows) mine = append(mine, to_float(x[n * C + c]));
  mine = merge_over_rows(mine);
  if (threadIdx.y == 0 && c < C) statistics.keep(c, rows, mine.mean, mine.squares);
  __syncthreads();  // the channel's numbers are there for the threads of the other rows
  if (c >= C) return;
  const float centre = statistics.save_mean[c], scale = statistics.save_invstd[c] * weight[c], shift = bias[c];
  for (int64_t n = threadIdx.y; n < rows; n += kRows)
    y[n * C + c] = finish((to_float(x[n * C + c]) - centre) * scale + shift, n * C + c);
}

// Rung 3, row-chunks. A block for 32 channels is two blocks where there are 64 channels. Here the rows are cut into
// chunks, so that there are blocks enough whatever C is, and three kernels follow each other: every block finds the
// moments of its chunk, a small kernel merges the chunks' moments by the same formula of Chan, Golub and LeVeque, and
// the last applies them.
//
// A thread takes eight of its rows at a time into registers: eight loads are under way at once, and within the eight
// the two-pass formula is exact to rounding and costs one division.
template <class T>
__global__ void batch_norm_chunk_moments(const T* __restrict__ x, Moments* __restrict__ partial, int64_t rows,
                                         int64_t C, int64_t rows_in_chunk) {
  constexpr int kBatch = 8;
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  Moments mine;
  for (int64_t n = begin + threadIdx.y; n < end && c < C; n += kRows * kBatch) {
    float values[kBatch], sum = 0, count = 0;
    for (int k = 0; k < kBatch; ++k) {
      const bool there = n + k * kRows < end;
      values[k] = there ? to_float(x[(n + k * kRows) * C + c]) : 0;
      sum += values[k];
      count += there;
    }
    Moments batch = {count, sum / count, 0};
    for (int k = 0; k < kBatch; ++k) {
      const float difference = n + k * kRows < end ? values[k] - batch.mean : 0;
      batch.squares += difference * difference;
    }
    mine = merge(mine, batch);
  }
  mine = merge_over_rows(mine);
  if (threadIdx.y == 0 && c < C) partial[blockIdx.y * C + c] = mine;
}

__global__ void batch_norm_merge_chunks(const Moments* __restrict__ partial, BatchStatistics statistics, int64_t chunks,
                                        int64_t rows, int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  Moments mine;
  for (int64_t k = threadIdx.y; k < chunks && c < C; k += kRows) mine = merge(mine, partial[k * C + c]);
  mine = merge_over_rows(mine);
  if (threadIdx.y == 0 && c < C) statistics.keep(c, rows, mine.mean, mine.squares);
}

// A thread stays in its channel, so it reads the channel's four numbers once.
template <class T>
__global__ void batch_norm_apply(const T* __restrict__ x, const float* __restrict__ weight,
                                 const float* __restrict__ bias, const float* __restrict__ mean,
                                 const float* __restrict__ invstd, Finish<T> finish, T* __restrict__ y, int64_t rows,
                                 int64_t C, int64_t rows_in_chunk) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  if (c >= C) return;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  const float centre = mean[c], scale = invstd[c] * weight[c], shift = bias[c];
  for (int64_t n = begin + threadIdx.y; n < end; n += kRows)
    y[n * C + c] = finish((to_float(x[n * C + c]) - centre) * scale + shift, n * C + c);
}

void launch_thread_per_channel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_thread_per_channel<T>, {.grid = blocks_for(C, 32), .block = 32, .stream = stream},
           as<const T>(operands[At::x]), as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
           finish_of<T>(problem, operands), as<T>(operands[At::y]), batch_statistics(problem, operands), rows, C);
  });
}

void launch_welford(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_welford<T>, {.grid = blocks_for(C, kColumns), .block = dim3(kColumns, kRows), .stream = stream},
           as<const T>(operands[At::x]), as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
           finish_of<T>(problem, operands), as<T>(operands[At::y]), batch_statistics(problem, operands), rows, C);
  });
}

void launch_row_chunks(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const RowChunks chunks = row_chunks(rows, C);
  const dim3 block(kColumns, kRows);
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_chunk_moments<T>, {.grid = chunks.grid, .block = block, .stream = stream},
           as<const T>(operands[At::x]), as<Moments>(workspace), rows, C, chunks.rows_in_chunk);
    launch(batch_norm_merge_chunks, {.grid = blocks_for(C, kColumns), .block = block, .stream = stream},
           as<const Moments>(workspace), batch_statistics(problem, operands), chunks.count, rows, C);
    launch(batch_norm_apply<T>, {.grid = chunks.grid, .block = block, .stream = stream}, as<const T>(operands[At::x]),
           as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
           as<const float>(operands[At::save_mean]), as<const float>(operands[At::save_invstd]),
           finish_of<T>(problem, operands), as<T>(operands[At::y]), rows, C, chunks.rows_in_chunk);
  });
}

int64_t workspace_bytes(const Problem& problem) {
  const int64_t C = problem.extents[BatchNorm::C];
  return row_chunks(problem.extents[BatchNorm::rows], C).count * C * static_cast<int64_t>(sizeof(Moments));
}

constexpr Problem kProblems[] = {
    {{2, 1}, {1e-5, 0.1}},
    {{3, 2}, {1e-5, 0.1}},
    {{7, 3}, {1e-3, 0.5}},
    {{31, 33}, {1e-5, 0.1}},
    {{65, 7}, {1e-5, 1}},
    {{127, 31}, {1e-5, 0}},
    {{513, 5}, {1e-5, 0.1}},
    {{1031, 65}, {1e-5, 0.1}},
    {{33, 17, 0, 1}, {1e-5, 0.1}, DType::f32, "relu"},
    {{65, 63, 1, 0}, {1e-5, 0.1}, DType::f32, "add"},
    {{129, 5, 1, 1}, {1e-5, 0.1}, DType::f32, "add and relu"},
    {{67, 12, 1, 1}, {1e-5, 0.1, 0.75}, DType::f32, "add and relu with a ceiling"},
    {{196, 64}, {1e-5, 0.1}, DType::f32, "resnet18 layer1, 14 x 14"},
    {{1100, 40, 1, 1}, {1e-5, 0.1}, DType::f32, "blocks of a cluster, and a group of channels that is not full"},
    {{8, 512}, {1e-5, 0.1}, DType::f32, "resnet18 layer4 at 32 px: a pixel of 8 pictures"},
};
constexpr Rung kRungs[] = {
    {"thread-per-channel",
     "A thread walks its column three times: mean, variance, result.",
     {.dtypes = kFloats},
     launch_thread_per_channel},
    {"welford",
     "Welford's running mean and sum of squares: one walk for mean and variance, eight threads a channel.",
     {.dtypes = kFloats},
     launch_welford},
    {"row-chunks",
     "Many blocks a channel, each with a chunk of rows, whose moments merge in a fixed order (Chan et al.).",
     {.dtypes = kFloats},
     launch_row_chunks,
     workspace_bytes},
    {"vectorised",
     "16 bytes an instruction, and a channel's numbers once a block instead of once a thread: more bytes under way.",
     {.dtypes = kFloats, .alignment = 16},
     batch_norm_train_vectorised,
     batch_norm_vectorised_workspace},
    {"kept-by-block",
     "A block keeps all rows of its channels in shared memory until their statistics are known: x is read once.",
     {.min_capability = 80,
      .dtypes = kFloats,
      .takes = fits_block<1>,
      .takes_what = "a channel's rows within the shared memory of a block",
      .alignment = 16},
     batch_norm_train_kept_by_block},
    {"kept-by-cluster",
     "The blocks of a cluster keep the rows between them and add their sums through each other's shared memory.",
     {.exact_capability = 90,
      .dtypes = kFloats,
      .takes = fits_cluster<1>,
      .takes_what = "a channel's rows within the shared memory of a cluster",
      .alignment = 16},
     batch_norm_train_kept_by_cluster},
};

void check(const Problem& p) {
  check_batch_norm("batch_norm_train", p);
  if (p.extents[BatchNorm::rows] == 1)
    fail("batch_norm_train: expected more than 1 value per channel when training, got rows = 1 (C = " +
         std::to_string(p.extents[BatchNorm::C]) + "); one value has no variance: use a larger batch, or eval mode");
}

}  // namespace

const Op batch_norm_train = {
    .name = "batch_norm_train",
    .formula =
        "y[n,c] = relu?((x[n,c] - mean[c]) / sqrt(var[c] + eps) weight[c] + bias[c] [+ residual[n,c]]), mean and var "
        "over "
        "n; x, residual, y (rows, C), all else (C)",
    .peer = "cudnn:batch_norm_forward_training",
    .extent_names = kBatchNormExtents,
    .scalar_names = kBatchNormScalars,
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[BatchNorm::rows], C = p.extents[BatchNorm::C];
          const bool has_residual = p.extents[BatchNorm::has_residual] != 0;
          return Signature{At::kCount,
                           {{"x", Role::input, p.dtype, 2, {rows, C}},
                            {"weight", Role::input, DType::f32, 1, {C}},
                            {"bias", Role::input, DType::f32, 1, {C}},
                            {"residual", Role::input, p.dtype, 2, {rows, C}, Fill::normal, 0, has_residual},
                            {"running_mean", Role::inout, DType::f32, 1, {C}},
                            {"running_var", Role::inout, DType::f32, 1, {C}, Fill::positive},
                            {"y", Role::output, p.dtype, 2, {rows, C}},
                            {"save_mean", Role::output, DType::f32, 1, {C}},
                            {"save_invstd", Role::output, DType::f32, 1, {C}}}};
        },
    .check = check,
    .reference = reference::batch_norm_train,
    .flops = [](const Problem& p) { return 8 * batch_norm_elements(p); },
    .bytes =
        [](const Problem& p) {
          return (2 + static_cast<double>(p.extents[BatchNorm::has_residual])) * width(p) * batch_norm_elements(p) +
                 32.0 * static_cast<double>(p.extents[BatchNorm::C]);
        },
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[BatchNorm::rows]; }},
    .problems = kProblems,
    .rungs = kRungs,
    .choose = [](const Problem& p, int capability) { return rung_named(kRungs, kept_rung<1>(p, capability)); },
};

}  // namespace weft::WEFT_TARGET
