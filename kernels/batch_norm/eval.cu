// batch_norm_eval: y[n,c] = relu?((x[n,c] - running_mean[c]) / sqrt(running_var[c] + eps) weight[c] + bias[c]
// [+ residual[n,c]]).   x, residual, y are (rows, C), all else (C). About 3 rows C flops and 8 rows C bytes in float32:
// bound by memory.

#include "kernels/batch_norm/apply.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/catalogue_ops.h"
#include "kernels/column_sums.h"
#include "kernels/launch.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNorm;
using At = EvalOperands;

// Rung 1, scalar. The formula as written, a thread an element: each finds its channel by a 64-bit division and takes a
// square root that rows - 1 others take as well.
template <class T>
__global__ void batch_norm_eval_scalar(const T* __restrict__ x, const float* __restrict__ weight,
                                       const float* __restrict__ bias, const float* __restrict__ mean,
                                       const float* __restrict__ variance, Finish<T> finish, T* __restrict__ y,
                                       float eps, int64_t n, int64_t C) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int64_t c = i % C;
  y[i] = finish((to_float(x[i]) - mean[c]) / sqrtf(variance[c] + eps) * weight[c] + bias[c], i);
}

// Rung 2, row-chunks. A thread stays in its channel and walks down a chunk of rows: the channel's numbers are read, and
// the square root and the division done, once a thread. What is left an element is a subtraction and a multiply-add.
template <class T>
__global__ void batch_norm_eval_row_chunks(const T* __restrict__ x, const float* __restrict__ weight,
                                           const float* __restrict__ bias, const float* __restrict__ mean,
                                           const float* __restrict__ variance, Finish<T> finish, T* __restrict__ y,
                                           float eps, int64_t rows, int64_t C, int64_t rows_in_chunk) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  if (c >= C) return;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  const float centre = mean[c], scale = weight[c] / sqrtf(variance[c] + eps), shift = bias[c];
  for (int64_t n = begin + threadIdx.y; n < end; n += kRows)
    y[n * C + c] = finish((to_float(x[n * C + c]) - centre) * scale + shift, n * C + c);
}

void launch_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t C = problem.extents[BatchNorm::C], n = problem.extents[BatchNorm::rows] * C;
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_eval_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[At::x]), as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
           as<const float>(operands[At::running_mean]), as<const float>(operands[At::running_var]),
           finish_of<T>(problem, operands), as<T>(operands[At::y]), problem.scalars[BatchNorm::eps], n, C);
  });
}

void launch_row_chunks(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[BatchNorm::rows], C = problem.extents[BatchNorm::C];
  const RowChunks chunks = row_chunks(rows, C);
  with_type(problem.dtype, [&]<class T>() {
    launch(batch_norm_eval_row_chunks<T>, {.grid = chunks.grid, .block = dim3(kColumns, kRows), .stream = stream},
           as<const T>(operands[At::x]), as<const float>(operands[At::weight]), as<const float>(operands[At::bias]),
           as<const float>(operands[At::running_mean]), as<const float>(operands[At::running_var]),
           finish_of<T>(problem, operands), as<T>(operands[At::y]), problem.scalars[BatchNorm::eps], rows, C,
           chunks.rows_in_chunk);
  });
}

// Rung 3, vectorised. Row-chunks has 4 bytes under way with each instruction (2 in bfloat16), and every thread reads
// its channel's four numbers for as few as 8 rows. Here an instruction moves 16 bytes, four of them under way at once,
// and a block reads its channels' numbers once, for 256 rows or more: 16 bytes beside 2048 (apply.h).
void launch_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ChannelStatistics running = {as<const float>(operands[At::running_mean]),
                                     as<const float>(operands[At::running_var]), true,
                                     static_cast<float>(problem.scalars[BatchNorm::eps])};
  with_vector(problem.dtype, problem.extents[BatchNorm::C], [&]<class T, int kVector>() {
    apply_vectors<T, kVector>(problem, as<const T>(operands[At::x]), as<const float>(operands[At::weight]),
                              as<const float>(operands[At::bias]), running, finish_of<T>(problem, operands),
                              as<T>(operands[At::y]), stream);
  });
}

constexpr Problem kProblems[] = {
    {{1, 1}, {1e-5}},
    {{2, 3}, {1e-5}},
    {{3, 2}, {1e-3}},
    {{7, 31}, {1e-5}},
    {{33, 7}, {1e-5}},
    {{65, 129}, {1e-5}},
    {{513, 5}, {1e-5}},
    {{1031, 33}, {1e-5}},
    {{33, 17, 0, 1}, {1e-5}, DType::f32, "relu"},
    {{65, 63, 1, 0}, {1e-5}, DType::f32, "add"},
    {{129, 5, 1, 1}, {1e-5}, DType::f32, "add and relu"},
    {{67, 12, 1, 1}, {1e-5, 0, 0.75}, DType::f32, "add and relu with a ceiling"},
    {{196, 64}, {1e-5}, DType::f32, "resnet18 layer1, 14 x 14"},
    {{520, 40, 1, 1}, {1e-5}, DType::f32, "two chunks, and a group of channels that is not full"},
    {{8, 512}, {1e-5}, DType::f32, "resnet18 layer4 at 32 px"},
};
constexpr Rung kRungs[] = {
    {"scalar", "The formula as written, a thread an element.", {.dtypes = kFloats}, launch_scalar},
    {"row-chunks",
     "A thread stays in its channel, so the square root and the divisions are done once a thread.",
     {.dtypes = kFloats},
     launch_row_chunks},
    {"vectorised",
     "16 bytes an instruction, and a channel's numbers once a block instead of once a thread: more bytes under way.",
     {.dtypes = kFloats, .alignment = 16},
     launch_vectorised},
};

}  // namespace

const Op batch_norm_eval = {
    .name = "batch_norm_eval",
    .formula =
        "y[n,c] = relu?((x[n,c] - running_mean[c]) / sqrt(running_var[c] + eps) weight[c] + bias[c] [+ "
        "residual[n,c]]); "
        "x, residual, y (rows, C), all else (C)",
    .peer = "cudnn:batch_norm_forward_inference",
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
                            {"running_mean", Role::input, DType::f32, 1, {C}},
                            {"running_var", Role::input, DType::f32, 1, {C}, Fill::positive},
                            {"y", Role::output, p.dtype, 2, {rows, C}}}};
        },
    .check = [](const Problem& p) { check_batch_norm("batch_norm_eval", p); },
    .reference = reference::batch_norm_eval,
    .flops = [](const Problem& p) { return 3 * batch_norm_elements(p); },
    .bytes =
        [](const Problem& p) {
          return (2 + static_cast<double>(p.extents[BatchNorm::has_residual])) * width(p) * batch_norm_elements(p) +
                 16.0 * static_cast<double>(p.extents[BatchNorm::C]);
        },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
