// bias_add: y[n,c] = x[n,c] + bias[c].   bias_backward: dbias[c] = sum_n dy[n,c].   x, y, dy are (rows, C), bias (C).
// Each rows * C flops. bias_add moves 8 rows C bytes in float32, bias_backward 4 rows C: bound by memory.
// The rows are whatever stands before the last axis: pictures times pixels for a convolution.

#include "kernels/catalogue_ops.h"
#include "kernels/column_sums.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

// bias_add, rung 1, scalar. A thread an element. The channel is the remainder of a 64-bit division, which is dozens
// of instructions: on a GPU that moves a terabyte a second the arithmetic, not the memory, sets the pace.
template <class T>
__global__ void bias_add_scalar(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y, int64_t n,
                                int64_t C) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(to_float(x[i]) + to_float(bias[i % C]));
}

// bias_add, rung 2, float4. Where C is a multiple of the pack's size, a pack lies within one row: one division and one
// load of 16 bytes serve four elements, and the bias is read as a pack too (from L1: every row wants the same one).
template <class T>
__global__ void bias_add_float4(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y, int64_t packs,
                                int64_t packs_in_row) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  Pack<T> sum = load_pack(x, i);
  const Pack<T> addend = load_pack(bias, i % packs_in_row);
  for (int k = 0; k < Pack<T>::kSize; ++k)
    sum.values[k] = from_float<T>(to_float(sum.values[k]) + to_float(addend.values[k]));
  store_pack(y, i, sum);
}

// bias_backward, rung 1, thread-per-channel. A thread walks down its column. Neighbouring threads read neighbouring
// addresses, which is as it should be, but there are only C threads: 64 of them leave all but one SM idle.
template <class T>
__global__ void bias_backward_thread_per_channel(const T* __restrict__ dy, T* __restrict__ dbias, int64_t rows,
                                                 int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  float sum = 0;
  for (int64_t n = 0; n < rows; ++n) sum += to_float(dy[n * C + c]);
  dbias[c] = from_float<T>(sum);
}

// bias_backward, rung 2, row-chunks. The rows are cut into chunks, and each chunk of 32 channels has a block: 32
// threads side by side on a row, 8 rows at a time, 8 partial sums a channel added up in shared memory. A second, small
// kernel adds the chunks' sums in their order, so the result's bits do not depend on which block was first.
// (column_sums.h; atomicAdd would save the second kernel and lose the order.)
template <class T>
__global__ void bias_backward_chunk(const T* __restrict__ dy, float* __restrict__ partial, int64_t rows, int64_t C,
                                    int64_t rows_in_chunk) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  float sum = 0;
  if (c < C)
    for (int64_t n = begin + threadIdx.y; n < end; n += kRows) sum += to_float(dy[n * C + c]);
  sum = sum_over_rows(sum);
  if (threadIdx.y == 0 && c < C) partial[blockIdx.y * C + c] = sum;
}

template <class T>
__global__ void bias_backward_finish(const float* __restrict__ partial, T* __restrict__ dbias, int64_t chunks,
                                     int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  float sum = 0;
  if (c < C)
    for (int64_t k = threadIdx.y; k < chunks; k += kRows) sum += partial[k * C + c];
  sum = sum_over_rows(sum);
  if (threadIdx.y == 0 && c < C) dbias[c] = from_float<T>(sum);
}

void launch_add_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  with_type(problem.dtype, [&]<class T>() {
    launch(bias_add_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), n, C);
  });
}

bool whole_packs(const Problem& problem) {
  return problem.extents[Rows::C] % (problem.dtype == DType::bf16 ? 8 : 4) == 0;
}

void launch_add_float4(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  if (!aligned({operands[0], operands[1], operands[2]})) return launch_add_scalar(problem, operands, workspace, stream);
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  with_type(problem.dtype, [&]<class T>() {
    constexpr int kSize = Pack<T>::kSize;
    launch(bias_add_float4<T>, {.grid = blocks_for(n / kSize, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), n / kSize, C / kSize);
  });
}

void launch_backward_thread_per_channel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(bias_backward_thread_per_channel<T>, {.grid = blocks_for(C, 32), .block = 32, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), rows, C);
  });
}

void launch_backward_row_chunks(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const RowChunks chunks = row_chunks(rows, C);
  const auto partial = static_cast<float*>(workspace);
  with_type(problem.dtype, [&]<class T>() {
    launch(bias_backward_chunk<T>, {.grid = chunks.grid, .block = dim3(kColumns, kRows), .stream = stream},
           as<const T>(operands[0]), partial, rows, C, chunks.rows_in_chunk);
    launch(bias_backward_finish<T>, {.grid = blocks_for(C, kColumns), .block = dim3(kColumns, kRows), .stream = stream},
           partial, as<T>(operands[1]), chunks.count, C);
  });
}

int64_t backward_workspace(const Problem& problem) {
  const int64_t C = problem.extents[Rows::C];
  return row_chunks(problem.extents[Rows::rows], C).count * C * static_cast<int64_t>(sizeof(float));
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 1}},
    {{2, 3}},
    {{3, 2}},
    {{7, 31}},
    {{33, 7}},
    {{127, 10}},
    {{65, 129}},
    {{1031, 33}},
    {{16, 1000}, {}, DType::f32, "the head of an ImageNet model"},
    {{784, 64}, {}, DType::f32, "resnet18 layer1, 28 x 28"},
    {{2, 4096}},
};
constexpr Rung kAddRungs[] = {
    {"scalar", "A thread an element, its channel by a division.", {.dtypes = kFloats}, launch_add_scalar},
    {"float4",
     "One division and one instruction for the 16 bytes of a pack, where rows are whole packs.",
     {.dtypes = kFloats, .takes = whole_packs},
     launch_add_float4},
};
constexpr Rung kBackwardRungs[] = {
    {"thread-per-channel",
     "A thread adds up its column: coalesced, but with only C threads.",
     {.dtypes = kFloats},
     launch_backward_thread_per_channel},
    {"row-chunks",
     "Many blocks a column, each with a chunk of rows; a second kernel adds the chunks in order.",
     {.dtypes = kFloats},
     launch_backward_row_chunks,
     backward_workspace},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}

}  // namespace

const Op bias_add = {
    .name = "bias_add",
    .formula = "y[n,c] = x[n,c] + bias[c]; x, y (rows, C), bias (C)",
    .peer = "cudnn:add_tensor",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{3,
                           {{"x", Role::input, p.dtype, 2, {rows, C}},
                            {"bias", Role::input, p.dtype, 1, {C}},
                            {"y", Role::output, p.dtype, 2, {rows, C}}}};
        },
    .check = [](const Problem& p) { require_positive("bias_add", kExtents, p); },
    .reference = reference::bias_add,
    .flops = elements,
    .bytes = [](const Problem& p) { return width(p) * (2 * elements(p) + static_cast<double>(p.extents[Rows::C])); },
    .bound = {.c = 2},
    .problems = kProblems,
    .rungs = kAddRungs,
    .exact_on_integers = true,
};

const Op bias_backward = {
    .name = "bias_backward",
    .formula = "dbias[c] = sum_n dy[n,c]; dy (rows, C), dbias (C)",
    .peer = "cudnn:convolution_backward_bias",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{2, {{"dy", Role::input, p.dtype, 2, {rows, C}}, {"dbias", Role::output, p.dtype, 1, {C}}}};
        },
    .check = [](const Problem& p) { require_positive("bias_backward", kExtents, p); },
    .reference = reference::bias_backward,
    .flops = elements,
    .bytes = [](const Problem& p) { return width(p) * (elements(p) + static_cast<double>(p.extents[Rows::C])); },
    .bound = {.c = 2, .terms = [](const Problem& p) { return p.extents[Rows::rows]; }},
    .problems = kProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "bias_add",
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
