// cross_entropy: lse[n] = log sum_c exp(x[n,c]), loss = 1/N sum_n (lse[n] - x[n, label[n]]).
// cross_entropy_backward: dx[n,c] = dloss / N (exp(x[n,c] - lse[n]) - [c = label[n]]).
// x, dx are logits (N, C); labels int32 (N); lse float32 (N); loss, dloss float32 (1).
// Softmax, logarithm and the choice of the label in one: the probabilities are never written, and the logarithm never
// sees a probability that has underflowed to 0. Forward about 4NC flops and 4NC bytes in float32, backward 4NC and 8NC:
// bound by memory. A label outside [0, C) gives NaN, in the loss and in its row's gradient: a wrong label must not
// train.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/online_softmax.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reduce.h"
#include "kernels/reference/reference.h"
#include "kernels/row_losses.h"
#include "kernels/row_team.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

constexpr int kWarps = kBlock / 32;

// The mean over the rows, for the first two rungs: one block, always the same order. It reads a logit and two numbers a
// row.
template <class T>
__global__ void cross_entropy_mean(const T* __restrict__ logits, const int32_t* __restrict__ labels,
                                   const float* __restrict__ lse, float* __restrict__ loss, int64_t N, int64_t C) {
  float sum = 0;
  for (int64_t n = threadIdx.x; n < N; n += blockDim.x) {
    const int32_t label = labels[n];
    const bool known = label >= 0 && label < C;
    sum += known ? lse[n] - to_float(logits[n * C + label]) : NAN;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = sum / static_cast<float>(N);
}

// Rung 1, thread-per-row. Neighbouring threads read addresses C elements apart, 32 sectors a request, and the row is
// read twice: for the maximum and for the sum.
template <class T>
__global__ void log_sum_exp_thread_per_row(const T* __restrict__ logits, float* __restrict__ lse, int64_t N,
                                           int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n >= N) return;
  const T* row = logits + n * C;
  float maximum = std::numeric_limits<float>::lowest();
  for (int64_t c = 0; c < C; ++c) maximum = fmaxf(maximum, to_float(row[c]));
  float sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += expf(to_float(row[c]) - maximum);
  lse[n] = maximum + logf(sum);
}

template <class T>
__global__ void cross_entropy_backward_thread_per_row(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                      const int32_t* __restrict__ labels, const float* __restrict__ lse,
                                                      T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n >= N) return;
  const int32_t label = labels[n];
  const float factor = label >= 0 && label < C ? dloss[0] / static_cast<float>(N) : NAN;
  for (int64_t c = 0; c < C; ++c) {
    const float probability = expf(to_float(logits[n * C + c]) - lse[n]);
    dlogits[n * C + c] = from_float<T>(factor * (probability - (c == label ? 1.0f : 0.0f)));
  }
}

// Rung 2, warp-per-row. A warp reads its row side by side, 4 sectors a request, and once: each lane keeps maximum and
// sum together as it goes (online_softmax.h), and shuffles merge the 32 of them.
template <class T>
__global__ void log_sum_exp_warp_per_row(const T* __restrict__ logits, float* __restrict__ lse, int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (n >= N) return;  // the whole warp leaves together
  MaxSum row;
  for (int64_t c = threadIdx.x % 32; c < C; c += 32) row = append(row, to_float(logits[n * C + c]));
  row = warp_merge(row);
  if (threadIdx.x % 32 == 0) lse[n] = row.maximum + logf(row.sum);
}

template <class T>
__global__ void cross_entropy_backward_warp_per_row(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                    const int32_t* __restrict__ labels, const float* __restrict__ lse,
                                                    T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (n >= N) return;
  const int32_t label = labels[n];
  const float factor = label >= 0 && label < C ? dloss[0] / static_cast<float>(N) : NAN;
  for (int64_t c = threadIdx.x % 32; c < C; c += 32) {
    const float probability = expf(to_float(logits[n * C + c]) - lse[n]);
    dlogits[n * C + c] = from_float<T>(factor * (probability - (c == label ? 1.0f : 0.0f)));
  }
}

// Rung 3, vectorised. 16 bytes an access instead of 4, wherever the row starts (packs.h), and in the forward pass one
// rescaling of the sum for a pack. A warp has too few bytes under way to hurry through a long row: beyond 4096 columns
// a block shares one. Of a few classes a row is a few lanes' (row_team.h), not a warp's with all others idle. And the
// label's logit is met on the way, so that a block adds up its rows' losses itself: to find them later took 12 bytes a
// row, as much as a row of three classes has.
template <class Team, class T>
__global__ void cross_entropy_vectorised(const T* __restrict__ logits, const int32_t* __restrict__ labels,
                                         float* __restrict__ lse, float* __restrict__ losses, int64_t N, int64_t C) {
  const int64_t n = Team::row(), length = Team::length(N, C);
  const int32_t label = n < N ? labels[n] : -1;
  logits += n * C;
  const Packing<T> packing = packing_of(logits, length);
  MaxSum row;
  float right = 0;  // the label's logit
  for (int64_t k = Team::rank(); k < packing.count; k += Team::kThreads) {
    const int64_t first = packing.first(k);
    const Pack<T> pack = load_ragged(logits, first, length, -INFINITY);
    row = append(row, pack);
#pragma unroll
    for (int e = 0; e < Pack<T>::kSize; ++e)
      if (label >= 0 && label < C && first + e == label) right = to_float(pack.values[e]);
  }
  row = Team::merge(row);
  right = Team::sum(right);
  const float log_sum = row.maximum + logf(row.sum);
  if (Team::rank() == 0 && n < N) lse[n] = log_sum;
  store_block_loss<Team>(label >= 0 && label < C ? log_sum - right : NAN, N, losses);
}

template <class Team, class T>
__global__ void cross_entropy_backward_vectorised(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                  const int32_t* __restrict__ labels, const float* __restrict__ lse,
                                                  T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = Team::row();
  if (n >= N) return;
  logits += n * C;
  dlogits += n * C;
  const int32_t label = labels[n];
  const float factor = label >= 0 && label < C ? dloss[0] / static_cast<float>(N) : NAN, log_sum = lse[n];
  const Packing<T> packing = packing_of(logits, C);
  for (int64_t k = Team::rank(); k < packing.count; k += Team::kThreads) {
    const int64_t first = packing.first(k);
    Pack<T> pack = load_ragged(logits, first, C);
#pragma unroll
    for (int e = 0; e < Pack<T>::kSize; ++e) {
      const float probability = expf(to_float(pack.values[e]) - log_sum);
      pack.values[e] = from_float<T>(factor * (probability - (first + e == label ? 1.0f : 0.0f)));
    }
    store_ragged(dlogits, first, C, pack);
  }
}

/// Calls run<Team>(): some lanes of a warp a row, a warp, or a block where rows are long.
template <class Run>
void with_sharing_team(int64_t C, Run&& run) {
  if (with_part_of_warp(C, run)) return;
  if (C <= 4096)
    run.template operator()<RowTeam<32, kWarps, 8>>();
  else
    run.template operator()<RowTeam<kBlock, 1, 8>>();
}

template <class T>
void launch_mean(const Problem& problem, void* const* operands, Stream stream) {
  launch(cross_entropy_mean<T>, {.grid = 1, .block = kBlock, .stream = stream}, as<const T>(operands[0]),
         as<const int32_t>(operands[1]), as<const float>(operands[3]), as<float>(operands[2]),
         problem.extents[Rows::rows], problem.extents[Rows::C]);
}

void launch_thread_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(log_sum_exp_thread_per_row<T>, {.grid = blocks_for(N, 64), .block = 64, .stream = stream},
           as<const T>(operands[0]), as<float>(operands[3]), N, C);
    launch_mean<T>(problem, operands, stream);
  });
}

void launch_warp_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(log_sum_exp_warp_per_row<T>, {.grid = blocks_for(N, kWarps), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<float>(operands[3]), N, C);
    launch_mean<T>(problem, operands, stream);
  });
}

void launch_backward_thread_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_backward_thread_per_row<T>, {.grid = blocks_for(N, 64), .block = 64, .stream = stream},
           as<const float>(operands[0]), as<const T>(operands[1]), as<const int32_t>(operands[2]),
           as<const float>(operands[3]), as<T>(operands[4]), N, C);
  });
}

void launch_backward_warp_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_backward_warp_per_row<T>, {.grid = blocks_for(N, kWarps), .block = kBlock, .stream = stream},
           as<const float>(operands[0]), as<const T>(operands[1]), as<const int32_t>(operands[2]),
           as<const float>(operands[3]), as<T>(operands[4]), N, C);
  });
}

void launch_vectorised(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    with_sharing_team(C, [&]<class Team>() {
      const unsigned blocks = blocks_for(N, Team::kTeams);
      const auto loss = as<float>(operands[2]), losses = losses_of_blocks(workspace, loss, blocks);
      launch(cross_entropy_vectorised<Team, T>, {.grid = blocks, .block = Team::kBlockThreads, .stream = stream},
             as<const T>(operands[0]), as<const int32_t>(operands[1]), as<float>(operands[3]), losses, N, C);
      launch_mean_of_row_losses(losses, loss, blocks, N, stream);
    });
  });
}

/// A loss for each row, which are more than there are blocks.
int64_t losses_bytes(const Problem& problem) {
  return problem.extents[Rows::rows] * static_cast<int64_t>(sizeof(float));
}

void launch_backward_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    with_sharing_team(C, [&]<class Team>() {
      launch(cross_entropy_backward_vectorised<Team, T>,
             {.grid = blocks_for(N, Team::kTeams), .block = Team::kBlockThreads, .stream = stream},
             as<const float>(operands[0]), as<const T>(operands[1]), as<const int32_t>(operands[2]),
             as<const float>(operands[3]), as<T>(operands[4]), N, C);
    });
  });
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 2}},   {{2, 3}},   {{3, 2}, {}, DType::f32, "dogs and cats"},        {{7, 31}},
    {{33, 7}},  {{1, 33}},  {{65, 10}, {}, DType::f32, "lenet's digits"},     {{11, 101}},
    {{9, 127}}, {{257, 3}}, {{32, 1000}, {}, DType::f32, "an ImageNet head"}, {{2, 4099}},
};
constexpr Rung kRungs[] = {
    {"thread-per-row", "A thread reads its row twice.", {.dtypes = kFloats}, launch_thread_per_row},
    {"warp-per-row",
     "A warp reads its row side by side and once, keeping maximum and sum together.",
     {.dtypes = kFloats},
     launch_warp_per_row},
    {"vectorised",
     "Loads of 16 bytes, wherever the row starts, one rescaling a pack, and a block for a long row.",
     {.dtypes = kFloats},
     launch_vectorised,
     losses_bytes},
};
constexpr Rung kBackwardRungs[] = {
    {"thread-per-row", "A thread a row.", {.dtypes = kFloats}, launch_backward_thread_per_row},
    {"warp-per-row",
     "A warp reads and writes its row side by side, so whole sectors are used.",
     {.dtypes = kFloats},
     launch_backward_warp_per_row},
    {"vectorised",
     "Loads and stores of 16 bytes, wherever the row starts, and a block for a long row.",
     {.dtypes = kFloats},
     launch_backward_vectorised},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}
int64_t terms(const Problem& p) {
  return p.extents[Rows::rows] + p.extents[Rows::C];
}

}  // namespace

const Op cross_entropy = {
    .name = "cross_entropy",
    .formula =
        "loss = 1/N sum_n (lse[n] - logits[n, labels[n]]), lse[n] = log sum_c exp(logits[n,c]); logits (N, C), "
        "labels, lse (N), loss (1)",
    .peer = nullptr,  // cuDNN has softmax, and no loss
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t N = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{4,
                           {{"logits", Role::input, p.dtype, 2, {N, C}},
                            {"labels", Role::input, DType::i32, 1, {N}, Fill::labels, C},
                            {"loss", Role::output, DType::f32, 1, {1}},
                            {"lse", Role::output, DType::f32, 1, {N}}}};
        },
    .check = [](const Problem& p) { require_positive("cross_entropy", kExtents, p); },
    .reference = reference::cross_entropy,
    .flops = [](const Problem& p) { return 4 * elements(p); },
    .bytes =
        [](const Problem& p) { return width(p) * elements(p) + 8.0 * static_cast<double>(p.extents[Rows::rows]) + 4; },
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kRungs,
};

const Op cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .formula =
        "dlogits[n,c] = dloss/N (exp(logits[n,c] - lse[n]) - [c = labels[n]]); logits, dlogits (N, C), "
        "labels, lse (N), dloss (1)",
    .peer = nullptr,  // cuDNN has softmax, and no loss
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t N = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{5,
                           {{"dloss", Role::input, DType::f32, 1, {1}},
                            {"logits", Role::input, p.dtype, 2, {N, C}},
                            {"labels", Role::input, DType::i32, 1, {N}, Fill::labels, C},
                            {"lse", Role::input, DType::f32, 1, {N}, Fill::derived},
                            {"dlogits", Role::output, p.dtype, 2, {N, C}}}};
        },
    .check = [](const Problem& p) { require_positive("cross_entropy_backward", kExtents, p); },
    .reference = reference::cross_entropy_backward,
    .flops = [](const Problem& p) { return 4 * elements(p); },
    .bytes =
        [](const Problem& p) {
          return 2 * width(p) * elements(p) + 8.0 * static_cast<double>(p.extents[Rows::rows]) + 4;
        },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "cross_entropy",
};

}  // namespace weft::WEFT_TARGET
