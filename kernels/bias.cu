// bias_add: y[n,c] = x[n,c] + bias[c].   bias_backward: dbias[c] = sum_n dy[n,c].   x, y, dy are (rows, C), bias (C).
// Each rows * C flops. bias_add moves 8 rows C bytes in float32, bias_backward 4 rows C: bound by memory.
// The rows are whatever stands before the last axis: pictures times pixels for a convolution.

#include "kernels/catalogue_ops.h"
#include "kernels/channel_walk.h"
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

// bias_add, rung 3, channel-walk. Every pack of x still came with a pack of bias, half as many bytes again asked of the
// caches; and a C that is no multiple of 4 fell back to rung 1. Here a thread takes packs a whole number of rows apart
// (channel_walk.h), so their channels are always the same: it keeps its few bias values in registers, whatever C is,
// and never divides again. Four loads are under way before the first addition.
constexpr int kAtOnce = 4;

template <class T>
__global__ void bias_add_channel_walk(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y,
                                      ChannelWalk<T> walk) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread >= walk.stride) return;
  float addend[kSize];
#pragma unroll
  for (int e = 0; e < kSize; ++e) addend[e] = to_float(bias[walk.channel(thread, e)]);
  for (int64_t k = thread; k < walk.packing.count; k += kAtOnce * walk.stride) {
    Pack<T> packs[kAtOnce];
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a) packs[a] = load_ragged(x, walk.packing.first(k + a * walk.stride), walk.n);
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a) {
#pragma unroll
      for (int e = 0; e < kSize; ++e) packs[a].values[e] = from_float<T>(to_float(packs[a].values[e]) + addend[e]);
      store_ragged(y, walk.packing.first(k + a * walk.stride), walk.n, packs[a]);
    }
  }
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

// Adds the rows of the (chunks, C) partial sums, whose column (c + shift) % C belongs to channel c.
template <class T>
__global__ void bias_backward_finish(const float* __restrict__ partial, T* __restrict__ dbias, int64_t chunks,
                                     int64_t C, int64_t shift) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  float sum = 0;
  if (c < C)
    for (int64_t k = threadIdx.y; k < chunks; k += kRows) sum += partial[k * C + (c + shift) % C];
  sum = sum_over_rows(sum);
  if (threadIdx.y == 0 && c < C) dbias[c] = from_float<T>(sum);
}

// bias_backward, rung 3, channel-walk. Row-chunks loads 4 bytes at a time and leaves lanes idle where C is no multiple
// of 32. Here a thread loads packs of 16 bytes that always hold the same channels (channel_walk.h), eight under way at
// once, and keeps a sum for each element of a pack. Threads of a block that meet the same channels then add up in
// shared memory, in a fixed order, where the period of channels is short enough for a block to hold it more than once;
// the sums are written as rows of C, and rung 2's second kernel adds those.
constexpr int kLoads = 8;

template <class T>
__global__ void __launch_bounds__(kBlock)
    bias_backward_channel_walk(const T* __restrict__ dy, float* __restrict__ partial, ChannelWalk<T> walk,
                               int period_in_block) {
  constexpr int kSize = Pack<T>::kSize;
  __shared__ float sums[kBlock * kSize];
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  float sum[kSize] = {};
  for (int64_t k = thread; thread < walk.stride && k < walk.packing.count; k += kLoads * walk.stride) {
    Pack<T> packs[kLoads];
#pragma unroll
    for (int a = 0; a < kLoads; ++a) packs[a] = load_ragged(dy, walk.packing.first(k + a * walk.stride), walk.n);
#pragma unroll
    for (int a = 0; a < kLoads; ++a)
#pragma unroll
      for (int e = 0; e < kSize; ++e) sum[e] += to_float(packs[a].values[e]);
  }
  if (period_in_block == 0) {  // no two threads of a block share channels: each has a place of its own
#pragma unroll
    for (int q = 0; q < kSize / 4; ++q)
      if (thread < walk.stride)
        store_pack(partial, thread * (kSize / 4) + q, {sum[4 * q], sum[4 * q + 1], sum[4 * q + 2], sum[4 * q + 3]});
    return;
  }
#pragma unroll
  for (int e = 0; e < kSize; ++e) sums[threadIdx.x * kSize + e] = sum[e];
  __syncthreads();
  const int places = period_in_block * kSize;  // of which the block has blockDim.x / period_in_block copies
  for (int place = static_cast<int>(threadIdx.x); place < places; place += static_cast<int>(blockDim.x)) {
    float total = 0;
    for (int at = place; at < static_cast<int>(blockDim.x) * kSize; at += places) total += sums[at];
    partial[int64_t{blockIdx.x} * places + place] = total;
  }
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

// Enough of them that a bias, read once a thread, is less than 2% of what the thread moves.
constexpr int64_t kAddVisits = 32;

void launch_add_channel_walk(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const auto x = as<const T>(operands[0]);
    const ChannelWalk<T> walk = channel_walk(x, problem.extents[Rows::rows], problem.extents[Rows::C], kAddVisits);
    launch(bias_add_channel_walk<T>, {.grid = blocks_for(walk.stride, kBlock), .block = kBlock, .stream = stream}, x,
           as<const T>(operands[1]), as<T>(operands[2]), walk);
  });
}

// The walk pays where its threads are enough to keep the memory busy: two million packs. Fewer want a thread each.
int choose_add(const Problem& problem, int) {
  const int64_t packs =
      problem.extents[Rows::rows] * problem.extents[Rows::C] * static_cast<int64_t>(width(problem)) / 16;
  return packs >= 1 << 21 || !whole_packs(problem) ? 2 : 1;
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
           partial, as<T>(operands[1]), chunks.count, C, 0);
  });
}

int64_t backward_workspace(const Problem& problem) {
  const int64_t C = problem.extents[Rows::C];
  return row_chunks(problem.extents[Rows::rows], C).count * C * static_cast<int64_t>(sizeof(float));
}

/// The threads of a channel walk that adds up, and the (rows, C) sums that they write. A pure function of the shape.
template <class T>
struct WalkSums {
  int threads = kBlock;     // of a block
  int period_in_block = 0;  // 0: a block holds no two threads of the same channels
  int64_t walkers, rows;

  WalkSums(int64_t n, int64_t C) {
    constexpr int kSize = Pack<T>::kSize;
    const int64_t period = channel_period<T>(C);
    const int64_t packs = ceil_div(n + kSize - 1, kSize);  // it touches no more, wherever it starts
    if (period <= kBlock / 2) {
      period_in_block = static_cast<int>(period);
      threads = kBlock / period_in_block * period_in_block;
      const int64_t blocks = ceil_div(packs, int64_t{64} * threads);
      walkers = blocks * threads;
      rows = blocks * period * kSize / C;
    } else {  // 256 packs a thread: its sums, written and read again, are 1/64 of them in bfloat16
      walkers = ceil_div(packs, 256 * period) * period;
      rows = walkers * kSize / C;
    }
  }
};

void launch_backward_channel_walk(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  const auto partial = static_cast<float*>(workspace);
  with_type(problem.dtype, [&]<class T>() {
    const auto dy = as<const T>(operands[0]);
    const WalkSums<T> sums(n, C);
    const ChannelWalk<T> walk{packing_of(dy, n), n, C, sums.walkers};
    launch(
        bias_backward_channel_walk<T>,
        {.grid = blocks_for(walk.stride, sums.threads), .block = static_cast<unsigned>(sums.threads), .stream = stream},
        dy, partial, walk, sums.period_in_block);
    launch(bias_backward_finish<T>, {.grid = blocks_for(C, kColumns), .block = dim3(kColumns, kRows), .stream = stream},
           partial, as<T>(operands[1]), sums.rows, C, walk.packing.offset);
  });
}

int64_t walk_workspace(const Problem& problem) {
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  const int64_t rows = problem.dtype == DType::bf16 ? WalkSums<bfloat16>(n, C).rows : WalkSums<float>(n, C).rows;
  return rows * C * static_cast<int64_t>(sizeof(float));
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
    {"channel-walk",
     "A thread always meets the same channels and keeps its bias in registers, whatever C is.",
     {.dtypes = kFloats},
     launch_add_channel_walk},
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
    {"channel-walk",
     "16 bytes a load, eight under way, and no idle lanes whatever C is.",
     {.dtypes = kFloats},
     launch_backward_channel_walk,
     walk_workspace},
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
    .choose = choose_add,
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
