// dy is taken behind the mask 0 < y [< ceiling] of the ReLU that ended the forward pass, where there was one; what is
// left of it is dresidual, the gradient of what was added, where something was. With xhat[n,c] = (x[n,c] - mean[c])
// invstd[c], the gradients of batch norm are
//   dbias[c] = sum_n dy[n,c],   dweight[c] = sum_n dy[n,c] xhat[n,c],
//   dx[n,c] = weight[c] invstd[c] (dy[n,c] - dbias[c] / rows - xhat[n,c] dweight[c] / rows)   in training, where mean
// and invstd depend on x;   dx[n,c] = weight[c] invstd[c] dy[n,c]   in evaluation, where they are constants.
// dy, x, y, dx, dresidual are (rows, C), all else (C). About 10 rows C flops; the floor is one read of dy, x (and y)
// and one write of dx (and dresidual), 12 to 20 rows C bytes in float32: bound by memory. In training dx needs both
// sums, so dy and x are read once only where a channel's rows can be kept on the chip until those are known. Both are
// the same kernels: in evaluation 1/rows is put to 0, and invstd comes from the running variance.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/kept.h"
#include "kernels/catalogue_ops.h"
#include "kernels/column_sums.h"
#include "kernels/launch.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = BackwardOperands;

// Rung 1, thread-per-channel. A thread walks down its column for the two sums and again for dx: coalesced, but there
// are only C threads.
template <class T>
__global__ void batch_norm_backward_thread_per_channel(Gradient<T> gradient, const T* __restrict__ x,
                                                       const float* __restrict__ weight, ChannelStatistics statistics,
                                                       float inverse_rows, T* __restrict__ dx,
                                                       float* __restrict__ dweight, float* __restrict__ dbias,
                                                       int64_t rows, int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  const float mean = statistics.mean[c], invstd = statistics.invstd(c);
  float sum = 0, dot = 0;
  for (int64_t i = c; i < rows * C; i += C) {
    const float dy = gradient.pass_on(i);
    sum += dy;
    dot += dy * (to_float(x[i]) - mean) * invstd;
  }
  dbias[c] = sum;
  dweight[c] = dot;
  const float scale = weight[c] * invstd;
  for (int64_t i = c; i < rows * C; i += C) {
    const float xhat = (to_float(x[i]) - mean) * invstd;
    dx[i] = from_float<T>(scale * (gradient(i) - (sum + xhat * dot) * inverse_rows));
  }
}

// Rung 2, row-chunks. As in the forward pass, the rows are cut into chunks for blocks enough: a block finds the two
// sums of its chunk, a small kernel adds the chunks in order, and the last one applies them.
template <class T>
__global__ void batch_norm_backward_chunk_sums(Gradient<T> gradient, const T* __restrict__ x,
                                               ChannelStatistics statistics, float* __restrict__ partial_sum,
                                               float* __restrict__ partial_dot, int64_t rows, int64_t C,
                                               int64_t rows_in_chunk) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  float sum = 0, dot = 0;
  if (c < C) {
    const float mean = statistics.mean[c];
    for (int64_t n = begin + threadIdx.y; n < end; n += kRows) {
      const float dy = gradient.pass_on(n * C + c);
      sum += dy;
      dot += dy * (to_float(x[n * C + c]) - mean);
    }
  }
  sum = sum_over_rows(sum);
  dot = sum_over_rows(dot);
  if (threadIdx.y == 0 && c < C) {
    partial_sum[blockIdx.y * C + c] = sum;
    partial_dot[blockIdx.y * C + c] = dot * statistics.invstd(c);
  }
}

__global__ void batch_norm_backward_add_chunks(const float* __restrict__ partial_sum,
                                               const float* __restrict__ partial_dot, float* __restrict__ dweight,
                                               float* __restrict__ dbias, int64_t chunks, int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  float sum = 0, dot = 0;
  for (int64_t k = threadIdx.y; k < chunks && c < C; k += kRows) {
    sum += partial_sum[k * C + c];
    dot += partial_dot[k * C + c];
  }
  sum = sum_over_rows(sum);
  dot = sum_over_rows(dot);
  if (threadIdx.y == 0 && c < C) {
    dbias[c] = sum;
    dweight[c] = dot;
  }
}

template <class T>
__global__ void batch_norm_backward_apply(Gradient<T> gradient, const T* __restrict__ x,
                                          const float* __restrict__ weight, ChannelStatistics statistics,
                                          float inverse_rows, const float* __restrict__ dweight,
                                          const float* __restrict__ dbias, T* __restrict__ dx, int64_t rows, int64_t C,
                                          int64_t rows_in_chunk) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  if (c >= C) return;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  const float mean = statistics.mean[c], invstd = statistics.invstd(c), scale = weight[c] * invstd;
  const float mean_of_dy = dbias[c] * inverse_rows;
  const float slope = dweight[c] * inverse_rows * invstd;
  for (int64_t n = begin + threadIdx.y; n < end; n += kRows) {
    const int64_t i = n * C + c;
    dx[i] = from_float<T>(scale * (gradient(i) - mean_of_dy - (to_float(x[i]) - mean) * slope));
  }
}

/// What the sums over rows are multiplied by in dx: in evaluation mean and invstd do not depend on x.
template <bool kTrain>
float inverse_rows_of(const Problem& problem) {
  return kTrain ? 1 / static_cast<float>(problem.extents[BatchNorm::rows]) : 0;
}

template <bool kTrain>
void launch_thread_per_channel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_backward_thread_per_channel<T>, {.grid = blocks_for(C, 32), .block = 32, .stream = stream},
           gradient_of<T>(problem, operands), as<const T>(operands[At::x]), as<const float>(operands[At::weight]),
           channel_statistics<kTrain>(problem, operands), inverse_rows_of<kTrain>(problem), as<T>(operands[At::dx]),
           as<float>(operands[At::dweight]), as<float>(operands[At::dbias]), rows, C);
  });
}

template <bool kTrain>
void launch_row_chunks(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const RowChunks chunks = row_chunks(rows, C);
  const dim3 block(kColumns, kRows);
  const ChannelStatistics statistics = channel_statistics<kTrain>(problem, operands);
  float* const sums = as<float>(workspace);
  float* const dots = sums + chunks.count * C;
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_backward_chunk_sums<T>, {.grid = chunks.grid, .block = block, .stream = stream},
           gradient_of<T>(problem, operands), as<const T>(operands[At::x]), statistics, sums, dots, rows, C,
           chunks.rows_in_chunk);
    launch(batch_norm_backward_add_chunks, {.grid = blocks_for(C, kColumns), .block = block, .stream = stream}, sums,
           dots, as<float>(operands[At::dweight]), as<float>(operands[At::dbias]), chunks.count, C);
    launch(batch_norm_backward_apply<T>, {.grid = chunks.grid, .block = block, .stream = stream},
           gradient_of<T>(problem, operands), as<const T>(operands[At::x]), as<const float>(operands[At::weight]),
           statistics, inverse_rows_of<kTrain>(problem), as<const float>(operands[At::dweight]),
           as<const float>(operands[At::dbias]), as<T>(operands[At::dx]), rows, C, chunks.rows_in_chunk);
  });
}

int64_t workspace_bytes(const Problem& problem) {
  const int64_t C = problem.extents[BatchNorm::C];
  return 2 * row_chunks(problem.extents[BatchNorm::rows], C).count * C * static_cast<int64_t>(sizeof(float));
}

constexpr Problem kProblems[] = {
    {{3, 1}, {1e-2, 0.1}},
    {{3, 2}, {1e-2, 0.1}},
    {{7, 3}, {1e-3, 0.5}},
    {{31, 33}, {1e-5, 0.1}},
    {{65, 7}, {1e-5, 0.1}},
    {{127, 31}, {1e-5, 0.1}},
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

constexpr const char* kThreadPerChannelIdea = "A thread walks its column twice: the sums, then dx.";
constexpr const char* kRowChunksIdea =
    "Many blocks a channel, each with a chunk of rows; the chunks' sums are added in a fixed order.";

constexpr Rung kTrainRungs[] = {
    {"thread-per-channel", kThreadPerChannelIdea, {.dtypes = kFloats}, launch_thread_per_channel<true>},
    {"row-chunks", kRowChunksIdea, {.dtypes = kFloats}, launch_row_chunks<true>, workspace_bytes},
    {"vectorised",
     "16 bytes an instruction; the second reading takes dresidual, where it is there, in place of dy and y.",
     {.dtypes = kFloats, .alignment = 16},
     batch_norm_train_backward_vectorised,
     batch_norm_backward_vectorised_workspace},
    {"kept-by-block",
     "A block keeps all rows of its channels, dy behind the mask and x, in shared memory: each is read once.",
     {.min_capability = 80,
      .dtypes = kFloats,
      .takes = fits_block<2>,
      .takes_what = "a channel's rows within the shared memory of a block",
      .alignment = 16},
     batch_norm_train_backward_kept_by_block},
    {"kept-by-cluster",
     "The blocks of a cluster keep the rows between them and add their sums through each other's shared memory.",
     {.exact_capability = 90,
      .dtypes = kFloats,
      .takes = fits_cluster<2>,
      .takes_what = "a channel's rows within the shared memory of a cluster",
      .alignment = 16},
     batch_norm_train_backward_kept_by_cluster},
};
constexpr Rung kEvalRungs[] = {
    {"thread-per-channel", kThreadPerChannelIdea, {.dtypes = kFloats}, launch_thread_per_channel<false>},
    {"row-chunks", kRowChunksIdea, {.dtypes = kFloats}, launch_row_chunks<false>, workspace_bytes},
    {"vectorised",
     "16 bytes an instruction, and dx, which needs no sums here, in the same reading as they do.",
     {.dtypes = kFloats, .alignment = 16},
     batch_norm_eval_backward_vectorised,
     batch_norm_backward_vectorised_workspace},
};

template <bool kTrain>
Signature signature(const Problem& p) {
  const int64_t rows = p.extents[BatchNorm::rows], C = p.extents[BatchNorm::C];
  const Fill from_forward = kTrain ? Fill::derived : Fill::normal;
  const bool has_residual = p.extents[BatchNorm::has_residual] != 0, relu = p.extents[BatchNorm::relu] != 0;
  return {At::kCount,
          {{"dy", Role::input, p.dtype, 2, {rows, C}},
           {"x", Role::input, p.dtype, 2, {rows, C}},
           {"y", Role::input, p.dtype, 2, {rows, C}, Fill::derived, 0, relu},
           {"weight", Role::input, DType::f32, 1, {C}},
           {kTrain ? "save_mean" : "running_mean", Role::input, DType::f32, 1, {C}, from_forward},
           {kTrain ? "save_invstd" : "running_var",
            Role::input,
            DType::f32,
            1,
            {C},
            kTrain ? Fill::derived : Fill::positive},
           {"dx", Role::output, p.dtype, 2, {rows, C}},
           {"dweight", Role::output, DType::f32, 1, {C}},
           {"dbias", Role::output, DType::f32, 1, {C}},
           {"dresidual", Role::output, p.dtype, 2, {rows, C}, Fill::normal, 0, has_residual}}};
}

/// dy, x and dx, and y and dresidual where they are there, once each; and five numbers a channel.
double bytes(const Problem& p) {
  const auto tensors = static_cast<double>(3 + p.extents[BatchNorm::has_residual] + p.extents[BatchNorm::relu]);
  return tensors * width(p) * batch_norm_elements(p) + 20.0 * static_cast<double>(p.extents[BatchNorm::C]);
}
int64_t terms(const Problem& p) {
  return p.extents[BatchNorm::rows];
}

}  // namespace

const Op batch_norm_train_backward = {
    .name = "batch_norm_train_backward",
    .formula =
        "dx = weight invstd (dy - mean_n dy - xhat mean_n(dy xhat)), dweight = sum_n dy xhat, dbias = sum_n dy, "
        "[dresidual =] dy where 0 < y [< ceiling]; dy, x, y, dx, dresidual (rows, C), all else (C)",
    .peer = "cudnn:batch_norm_backward",
    .extent_names = kBatchNormExtents,
    .scalar_names = kBatchNormScalars,
    .signature = signature<true>,
    .check = [](const Problem& p) { check_batch_norm("batch_norm_train_backward", p); },
    .reference = reference::batch_norm_train_backward,
    .flops = [](const Problem& p) { return 10 * batch_norm_elements(p); },
    .bytes = bytes,
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kTrainRungs,
    .gradient_of = "batch_norm_train",
    .choose = [](const Problem& p, int capability) { return rung_named(kTrainRungs, kept_rung<2>(p, capability)); },
};

const Op batch_norm_eval_backward = {
    .name = "batch_norm_eval_backward",
    .formula =
        "dx = weight invstd dy, dweight = sum_n dy xhat, dbias = sum_n dy, of the running statistics, [dresidual =] dy "
        "where 0 < y [< ceiling]; dy, x, y, dx, dresidual (rows, C), all else (C)",
    .peer = nullptr,  // cuDNN's backward pass is that of the batch's statistics alone
    .extent_names = kBatchNormExtents,
    .scalar_names = kBatchNormScalars,
    .signature = signature<false>,
    .check = [](const Problem& p) { check_batch_norm("batch_norm_eval_backward", p); },
    .reference = reference::batch_norm_eval_backward,
    .flops = [](const Problem& p) { return 6 * batch_norm_elements(p); },
    .bytes = bytes,
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kEvalRungs,
    .gradient_of = "batch_norm_eval",
};

}  // namespace weft::WEFT_TARGET
