// bias_backward:      dbias[c] = sum_n dy[n,c].
// relu_bias_backward: dx[n,c] = 0 < y[n,c] < ceiling ? dy[n,c] : 0,   dbias[c] = sum_n dx[n,c].
// dy, y, dx are (rows, C), dbias (C). The second is what a convolution with a bias and a ReLU behind it begins its
// backward pass with: relu_backward and bias_backward in one. A ceiling of 0 stands for none (relu.cu).
//
// Each rows * C flops. bias_backward moves 4 rows C bytes in float32, relu_bias_backward 12 rows C, where the two ops
// one after the other move 16: bound by memory. The rows are whatever stands before the last axis: pictures times
// pixels for a convolution.

#include "kernels/bias_gradient.h"
#include "kernels/bias_problems.h"
#include "kernels/catalogue_ops.h"
#include "kernels/channel_walk.h"
#include "kernels/channels.h"
#include "kernels/column_sums.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Elements;
using extents::Rows;

// Rung 1, thread-per-channel. A thread walks down its column. Neighbouring threads read neighbouring addresses, which
// is as it should be, but there are only C threads: 64 of them leave all but one SM idle.
template <class T, class Gradient>
__global__ void bias_backward_thread_per_channel(Gradient gradient, T* __restrict__ dbias, int64_t rows, int64_t C) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  float sum = 0;
  for (int64_t n = 0; n < rows; ++n) sum += gradient.at(n * C + c);
  dbias[c] = from_float<T>(sum);
}

// Rung 2, row-chunks. The rows are cut into chunks, and each chunk of 32 channels has a block: 32 threads side by side
// on a row, 8 rows at a time, 8 partial sums a channel added up in shared memory. A second, small kernel adds the
// chunks' sums in their order, so the result's bits do not depend on which block was first. (column_sums.h; atomicAdd
// would save the second kernel and lose the order.)
template <class Gradient>
__global__ void bias_backward_chunk(Gradient gradient, float* __restrict__ partial, int64_t rows, int64_t C,
                                    int64_t rows_in_chunk) {
  const int64_t c = int64_t{blockIdx.x} * kColumns + threadIdx.x;
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  float sum = 0;
  if (c < C)
    for (int64_t n = begin + threadIdx.y; n < end; n += kRows) sum += gradient.at(n * C + c);
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

// Rung 3, channel-walk. Row-chunks loads 4 bytes at a time and leaves lanes idle where C is no multiple of 32. Here a
// thread loads packs of 16 bytes that always hold the same channels (channel_walk.h), eight under way at once, and
// keeps a sum for each element of a pack. Threads of a block that meet the same channels then add up in shared memory,
// in a fixed order, where the period of channels is short enough for a block to hold it more than once; the sums are
// written as rows of C, and rung 2's second kernel adds those.
template <class T, class Gradient>
__global__ void __launch_bounds__(kBlock, 2) bias_backward_channel_walk(Gradient gradient, float* __restrict__ partial,
                                                                        ChannelWalk<T> walk, int period_in_block) {
  constexpr int kSize = Pack<T>::kSize, kLoads = Gradient::kLoads;
  __shared__ float sums[kBlock * kSize];
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  float sum[kSize] = {};
  for (int64_t k = thread; thread < walk.stride && k < walk.packing.count; k += kLoads * walk.stride) {
    Pack<T> packs[kLoads];
    gradient.packs(walk.packing.first(k), walk.stride * kSize, walk.n, packs);
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

// Rung 4, channel-strips. Where channels come round only after more packs than half a block has threads (C = 1000 in
// float32: 250), no two threads of a channel walk's block share any, and each writes sums of its own: of (128, 1000) a
// single block's worth of threads, of (64, 1000) sums that are 3% of what there is to read. Here a block takes 128
// bytes of a row, 8 packs side by side, and 32 rows at a time (channels.h; where C is no multiple of a pack, 32
// elements and 8 rows), so that wide rows give many blocks, and adds its rows up before it writes: a chunk has 256 rows
// or more, of which its sums, written and read, are 1% (in bfloat16 2%). Where one chunk is all, they are the result,
// and there is no second kernel.
template <int kVector, class Gradient, class To>
__global__ void __launch_bounds__(kBlock) bias_backward_strips(Gradient gradient, To* __restrict__ to, int64_t rows,
                                                               int64_t C, int lanes, int64_t rows_in_chunk) {
  const Place at = place_of_thread<kVector>(lanes, blockIdx.x, C);
  const int64_t begin = blockIdx.y * rows_in_chunk;
  const int64_t end = begin + rows_in_chunk < rows ? begin + rows_in_chunk : rows;
  const int mine = rows_of_thread(at, begin, end);
  float sums[1][kVector] = {};
#pragma unroll 4
  for (int i = 0; i < mine; ++i) {
    const int64_t row = begin + at.row + int64_t{i} * at.rows_at_once;
    const auto gradients = gradient.template vector<kVector>(row * C + at.channel);
#pragma unroll
    for (int v = 0; v < kVector; ++v) sums[0][v] += to_float(gradients.values[v]);
  }
  float total[1];
  sum_over_block_rows(sums, lanes, total);
  const int64_t c = int64_t{blockIdx.x} * lanes * kVector + threadIdx.x;
  if (static_cast<int>(threadIdx.x) < lanes * kVector && c < C) to[blockIdx.y * C + c] = from_float<To>(total[0]);
}

template <bool kMasks>
void launch_thread_per_channel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_gradient<kMasks>(problem, operands, [&]<class T>(const auto& gradient, T* dbias) {
    launch(bias_backward_thread_per_channel<T, std::decay_t<decltype(gradient)>>,
           {.grid = blocks_for(C, 32), .block = 32, .stream = stream}, gradient, dbias, rows, C);
  });
}

template <bool kMasks>
void launch_row_chunks(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  const RowChunks chunks = row_chunks(rows, C);
  const auto partial = static_cast<float*>(workspace);
  with_gradient<kMasks>(problem, operands, [&]<class T>(const auto& gradient, T* dbias) {
    launch(bias_backward_chunk<std::decay_t<decltype(gradient)>>,
           {.grid = chunks.grid, .block = dim3(kColumns, kRows), .stream = stream}, gradient, partial, rows, C,
           chunks.rows_in_chunk);
    launch(bias_backward_finish<T>, {.grid = blocks_for(C, kColumns), .block = dim3(kColumns, kRows), .stream = stream},
           partial, dbias, chunks.count, C, 0);
  });
}

int64_t chunks_workspace(const Problem& problem) {
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

template <bool kMasks>
void launch_channel_walk(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  const auto partial = static_cast<float*>(workspace);
  with_gradient<kMasks>(problem, operands, [&]<class T>(const auto& gradient, T* dbias) {
    const WalkSums<T> sums(n, C);
    const ChannelWalk<T> walk{packing_of(gradient.dy, n), n, C, sums.walkers};
    launch(
        bias_backward_channel_walk<T, std::decay_t<decltype(gradient)>>,
        {.grid = blocks_for(walk.stride, sums.threads), .block = static_cast<unsigned>(sums.threads), .stream = stream},
        gradient, partial, walk, sums.period_in_block);
    launch(bias_backward_finish<T>, {.grid = blocks_for(C, kColumns), .block = dim3(kColumns, kRows), .stream = stream},
           partial, dbias, sums.rows, C, walk.packing.offset);
  });
}

int64_t walk_workspace(const Problem& problem) {
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  const int64_t rows = problem.dtype == DType::bf16 ? WalkSums<bfloat16>(n, C).rows : WalkSums<float>(n, C).rows;
  return rows * C * static_cast<int64_t>(sizeof(float));
}

template <bool kMasks>
void launch_channel_strips(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_gradient<kMasks>(problem, operands, [&]<class T>(const auto& gradient, T* dbias) {
    const auto run_strips = [&]<int kVector>() {
      const VectorChunks cut = vector_chunks<kVector>(rows, C);
      const auto run = [&]<class To>(To* to) {
        launch(bias_backward_strips<kVector, std::decay_t<decltype(gradient)>, To>,
               {.grid = cut.grid, .block = kBlock, .stream = stream}, gradient, to, rows, C, cut.lanes,
               cut.rows_in_chunk);
      };
      if (cut.chunks == 1) return run(dbias);
      const auto partial = static_cast<float*>(workspace);
      run(partial);
      launch(bias_backward_finish<T>,
             {.grid = blocks_for(C, kColumns), .block = dim3(kColumns, kRows), .stream = stream}, partial, dbias,
             cut.chunks, C, 0);
    };
    if (C % Pack<T>::kSize == 0)
      run_strips.template operator()<Pack<T>::kSize>();
    else
      run_strips.template operator()<1>();
  });
}

int64_t strips_workspace(const Problem& problem) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  int64_t chunks = 0;
  with_vector(problem.dtype, C, [&]<class, int kVector>() { chunks = vector_chunks<kVector>(rows, C).chunks; });
  return chunks == 1 ? 0 : chunks * C * static_cast<int64_t>(sizeof(float));
}

/// Strips where C is a whole number of packs. Else they load element by element, and a channel walk 16 bytes with no
/// idle lanes; but only where it has blocks enough, for its threads take 64 packs or more.
template <class T>
int choose_for(int64_t rows, int64_t C) {
  constexpr int64_t kBlocksToFill = 96;  // of some 100 SMs
  return C % Pack<T>::kSize != 0 && WalkSums<T>(rows * C, C).walkers >= kBlocksToFill * kBlock ? 2 : 3;
}
int choose_rung(const Problem& problem, int) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  return problem.dtype == DType::bf16 ? choose_for<bfloat16>(rows, C) : choose_for<float>(rows, C);
}

constexpr const char* kMaskedScalars[] = {"ceiling"};
constexpr Problem kMaskedProblems[] = {
    {{1, 1}},
    {{2, 3}},
    {{7, 31}},
    {{65, 129}, {0.5}},
    {{1031, 33}},
    {{784, 64}, {}, DType::f32, "squeezenet's fire3.expand1x1 at 112 px: 28 x 28"},
    {{169, 16}, {1}, DType::f32, "squeezenet's fire3.squeeze at 13 x 13, and a ceiling"},
    {{2, 4096}},
    {{517, 136}, {}, DType::f32, "two chunks of rows, strips of channels"},
};

constexpr const char* kThreadPerChannelIdea = "A thread adds up its column: coalesced, but with only C threads.";
constexpr const char* kRowChunksIdea =
    "Many blocks a column, each with a chunk of rows; a second kernel adds the chunks in order.";
constexpr const char* kWalkIdea = "16 bytes a load, eight under way, and no idle lanes whatever C is.";
constexpr const char* kStripsIdea =
    "Of wide rows each thread had sums of its own; blocks of 128 bytes of a row add theirs up before they write.";

template <bool kMasks>
constexpr Rung kRungs[] = {
    {"thread-per-channel", kThreadPerChannelIdea, {.dtypes = kFloats}, launch_thread_per_channel<kMasks>},
    {"row-chunks", kRowChunksIdea, {.dtypes = kFloats}, launch_row_chunks<kMasks>, chunks_workspace},
    {"channel-walk", kWalkIdea, {.dtypes = kFloats}, launch_channel_walk<kMasks>, walk_workspace},
    {"channel-strips",
     kStripsIdea,
     {.dtypes = kFloats, .alignment = 16},
     launch_channel_strips<kMasks>,
     strips_workspace},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}

void check_masked(const Problem& p) {
  require_positive("relu_bias_backward", kBiasExtents, p);
  if (!(p.scalars[Elements::ceiling] >= 0))
    fail("relu_bias_backward: the ceiling is " + std::to_string(p.scalars[Elements::ceiling]) +
         "; it is above 0, or 0 where there is none");
}

}  // namespace

const Op bias_backward = {
    .name = "bias_backward",
    .formula = "dbias[c] = sum_n dy[n,c]; dy (rows, C), dbias (C)",
    .peer = "cudnn:convolution_backward_bias",
    .extent_names = kBiasExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{PlainOperands::kCount,
                           {{"dy", Role::input, p.dtype, 2, {rows, C}}, {"dbias", Role::output, p.dtype, 1, {C}}}};
        },
    .check = [](const Problem& p) { require_positive("bias_backward", kBiasExtents, p); },
    .reference = reference::bias_backward,
    .flops = elements,
    .bytes = [](const Problem& p) { return width(p) * (elements(p) + static_cast<double>(p.extents[Rows::C])); },
    .bound = {.c = 2, .terms = [](const Problem& p) { return p.extents[Rows::rows]; }},
    .problems = kBiasProblems,
    .rungs = kRungs<false>,
    .gradient_of = "bias_add",
    .choose = choose_rung,
    .exact_on_integers = true,
};

const Op relu_bias_backward = {
    .name = "relu_bias_backward",
    .formula = "dx[n,c] = 0 < y[n,c] < ceiling ? dy[n,c] : 0, dbias[c] = sum_n dx[n,c]; dy, y, dx (rows, C), dbias (C)",
    .peer = nullptr,  // cuDNN has the two apart
    .extent_names = kBiasExtents,
    .scalar_names = kMaskedScalars,
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{MaskedOperands::kCount,
                           {{"dy", Role::input, p.dtype, 2, {rows, C}},
                            {"y", Role::input, p.dtype, 2, {rows, C}},
                            {"dx", Role::output, p.dtype, 2, {rows, C}},
                            {"dbias", Role::output, p.dtype, 1, {C}}}};
        },
    .check = check_masked,
    .reference = reference::relu_bias_backward,
    .flops = elements,
    .bytes = [](const Problem& p) { return width(p) * (3 * elements(p) + static_cast<double>(p.extents[Rows::C])); },
    .bound = {.c = 2, .terms = [](const Problem& p) { return p.extents[Rows::rows]; }},
    .problems = kMaskedProblems,
    .rungs = kRungs<true>,
    .choose = choose_rung,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
