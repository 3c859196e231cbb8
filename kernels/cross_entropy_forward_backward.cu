// cross_entropy_forward_backward: lse[n] = log sum_c exp(x[n,c]),  loss = 1/N sum_n (lse[n] - x[n, label[n]]),
//                                 dx[n,c] = dloss / N (exp(x[n,c] - lse[n]) - [c = label[n]]).
// x, dx are logits (N, C); labels int32 (N); loss, dloss float32 (1).
// cross_entropy and its gradient in one, for training: what the loss is multiplied by (1, or a loss scale) is known
// before the loss is. About 8NC flops. Apart they move 12NC bytes in float32, for each reads the logits; the floor is
// one read and one write, 8NC. A label outside [0, C) gives NaN, in the loss and in its row's gradient. A graph asks
// for the loss first and its gradient a pass later; where nothing stands between the two, fusion puts this in their
// place (core/fusion.h).

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/kept_row.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/online_softmax.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reference/reference.h"
#include "kernels/row_losses.h"
#include "kernels/row_team.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

constexpr int kWarps = kBlock / 32;

__device__ bool known(int32_t label, int64_t C) {
  return label >= 0 && label < C;
}

// The loss of one row; reads nothing where the label is none.
template <class T>
__device__ float row_loss(const T* row, int32_t label, int64_t C, const MaxSum& of_row) {
  return known(label, C) ? of_row.maximum + logf(of_row.sum) - to_float(row[label]) : NAN;
}

// What a row's gradients are multiplied by.
__device__ float row_factor(const float* dloss, int32_t label, int64_t N, int64_t C) {
  return known(label, C) ? dloss[0] / static_cast<float>(N) : NAN;
}

// Rung 1, thread-per-row. Neighbouring threads read addresses C elements apart, 32 sectors a request, and the row is
// read twice: for maximum and sum together (online_softmax.h), and for the gradient.
template <class T>
__global__ void cross_entropy_thread_per_row(const float* __restrict__ dloss, const T* __restrict__ logits,
                                             const int32_t* __restrict__ labels, float* __restrict__ losses,
                                             T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n >= N) return;
  logits += n * C;
  dlogits += n * C;
  MaxSum row;
  for (int64_t c = 0; c < C; ++c) row = append(row, to_float(logits[c]));
  const int32_t label = labels[n];
  losses[n] = row_loss(logits, label, C, row);
  const float factor = row_factor(dloss, label, N, C);
  for (int64_t c = 0; c < C; ++c) {
    const float probability = expf(to_float(logits[c]) - row.maximum) / row.sum;
    dlogits[c] = from_float<T>(factor * (probability - (c == label ? 1.0f : 0.0f)));
  }
}

// Rung 2, warp-per-row. A warp reads its row side by side, 4 sectors a request, all of them used; still twice.
template <class T>
__global__ void cross_entropy_warp_per_row(const float* __restrict__ dloss, const T* __restrict__ logits,
                                           const int32_t* __restrict__ labels, float* __restrict__ losses,
                                           T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (n >= N) return;  // the whole warp leaves together
  logits += n * C;
  dlogits += n * C;
  MaxSum row;
  for (int64_t c = lane; c < C; c += 32) row = append(row, to_float(logits[c]));
  row = warp_merge(row);
  const int32_t label = labels[n];
  if (lane == 0) losses[n] = row_loss(logits, label, C, row);
  const float factor = row_factor(dloss, label, N, C);
  for (int64_t c = lane; c < C; c += 32) {
    const float probability = expf(to_float(logits[c]) - row.maximum) / row.sum;
    dlogits[c] = from_float<T>(factor * (probability - (c == label ? 1.0f : 0.0f)));
  }
}

// The gradients of a pack of logits, whose first stands in column `first` of its row.
template <class T>
__device__ Pack<T> gradients_of(Pack<T> pack, int64_t first, int32_t label, float factor, const MaxSum& row) {
#pragma unroll
  for (int e = 0; e < Pack<T>::kSize; ++e) {
    const float probability = expf(to_float(pack.values[e]) - row.maximum) / row.sum;
    pack.values[e] = from_float<T>(factor * (probability - (first + e == label ? 1.0f : 0.0f)));
  }
  return pack;
}

// Rung 3, vectorised. A block shares a row, so that long rows, of which there are few, have threads enough; 16 bytes an
// access, wherever the row starts (packs.h). Still two reads, the second from L2 where the row fits there.
template <class T>
__global__ void cross_entropy_vectorised(const float* __restrict__ dloss, const T* __restrict__ logits,
                                         const int32_t* __restrict__ labels, float* __restrict__ losses,
                                         T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = blockIdx.x;
  logits += n * C;
  dlogits += n * C;
  const Packing<T> packing = packing_of(logits, C);
  MaxSum row;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x)
    row = append(row, load_ragged(logits, packing.first(k), C, -INFINITY));
  row = block_merge(row);
  const int32_t label = labels[n];
  if (threadIdx.x == 0) losses[n] = row_loss(logits, label, C, row);
  const float factor = row_factor(dloss, label, N, C);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    const int64_t first = packing.first(k);
    store_ragged(dlogits, first, C, gradients_of(load_ragged(logits, first, C), first, label, factor, row));
  }
}

// Rung 4, shared-resident. The second read was of what the threads had just held: each puts its packs into shared
// memory as it appends them, and finds them there again (kept_row.h). Loss and gradient come out of one read, of rows
// of up to 57 thousand floats: a language model's vocabulary.
template <class T>
__global__ void __launch_bounds__(kWideBlock)
    cross_entropy_shared_resident(const float* __restrict__ dloss, const T* __restrict__ logits,
                                  const int32_t* __restrict__ labels, float* __restrict__ losses,
                                  T* __restrict__ dlogits, int64_t N, int64_t C) {
  Pack<T>* const kept = dynamic_shared<Pack<T>>();
  const int64_t n = blockIdx.x;
  logits += n * C;
  dlogits += n * C;
  const Packing<T> packing = packing_of(logits, C);
  MaxSum row;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    kept[k] = load_ragged(logits, packing.first(k), C, -INFINITY);
    row = append(row, kept[k]);
  }
  row = block_merge(row);
  const int32_t label = labels[n];
  if (threadIdx.x == 0) losses[n] = row_loss(logits, label, C, row);
  const float factor = row_factor(dloss, label, N, C);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    const int64_t first = packing.first(k);
    store_ragged(dlogits, first, C, gradients_of(kept[k], first, label, factor, row));
  }
}

// Rung 5, register-resident. Shared memory is one step away still, and a block a row is too much for short ones. A team
// of threads (row_team.h) keeps its row in registers, all loads under way together. Each exponential is computed once,
// by its thread's own maximum, and scaled to the row's. The label's logit is among those held, and a block adds up its
// rows' losses before it writes: of dogs and cats a row is 20 bytes, and a loss written and read again were 8 more.
template <class Team, class T>
__global__ void __launch_bounds__(Team::kBlockThreads)
    cross_entropy_register_resident(const float* __restrict__ dloss, const T* __restrict__ logits,
                                    const int32_t* __restrict__ labels, float* __restrict__ losses,
                                    T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = Team::row(), length = Team::length(N, C);
  const int32_t label = n < N ? labels[n] : -1;
  __shared__ float factor_of_all;
  if (threadIdx.x == 0) factor_of_all = dloss[0] / static_cast<float>(N);
  logits += n * C;
  dlogits += n * C;
  const Packing<T> packing = packing_of(logits, length);
  auto held = HeldRow<Team, T>::load(logits, packing, length, -INFINITY);
  MaxSum mine;
  float right = 0;  // the label's logit
#pragma unroll
  for (int i = 0; i < Team::kHeld; ++i) {
    mine.maximum = fmaxf(mine.maximum, held.values[i]);
    if (known(label, C) && held.column(packing, i) == label) right = held.values[i];
  }
#pragma unroll
  for (float& value : held.values) {
    value = expf(value - mine.maximum);
    mine.sum += value;
  }
  const MaxSum row = Team::merge(mine);
  right = Team::sum(right);
  store_block_loss<Team>(known(label, C) ? row.maximum + logf(row.sum) - right : NAN, N, losses);
  const float factor = known(label, C) ? factor_of_all : NAN;  // behind store_block_loss's barriers
  const float scale = expf(mine.maximum - row.maximum) / row.sum;
#pragma unroll
  for (int i = 0; i < Team::kHeld; ++i)
    held.values[i] = factor * (held.values[i] * scale - (held.column(packing, i) == label ? 1.0f : 0.0f));
  held.store(dlogits, packing, length);
}

/// A kernel of this file.
template <class T>
using Kernel = void (*)(const float*, const T*, const int32_t*, float*, T*, int64_t, int64_t);

/// Launches the kernel over the rows, and then the mean of what it leaves: `count` losses, of rows or blocks of rows.
template <class T>
void launch_both(Kernel<T> kernel, unsigned blocks, unsigned threads, int64_t count, const Problem& problem,
                 void* const* operands, void* workspace, Stream stream, unsigned shared_bytes = 0) {
  const int64_t N = problem.extents[Rows::rows];
  const auto loss = as<float>(operands[3]), losses = losses_of_blocks(workspace, loss, count);  // of one row too
  launch(kernel, {.grid = blocks, .block = threads, .shared_bytes = shared_bytes, .stream = stream},
         as<const float>(operands[0]), as<const T>(operands[1]), as<const int32_t>(operands[2]), losses,
         as<T>(operands[4]), N, problem.extents[Rows::C]);
  launch_mean_of_row_losses(losses, loss, count, N, stream);
}

void launch_thread_per_row(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const int64_t N = problem.extents[Rows::rows];
    launch_both<T>(cross_entropy_thread_per_row<T>, blocks_for(N, 64), 64, N, problem, operands, workspace, stream);
  });
}

void launch_warp_per_row(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const int64_t N = problem.extents[Rows::rows];
    launch_both<T>(cross_entropy_warp_per_row<T>, blocks_for(N, kWarps), kBlock, N, problem, operands, workspace,
                   stream);
  });
}

void launch_vectorised(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const int64_t N = problem.extents[Rows::rows];
    launch_both<T>(cross_entropy_vectorised<T>, blocks_for(N, 1), kBlock, N, problem, operands, workspace, stream);
  });
}

bool fits_shared(const Problem& problem) {
  return fits_kept(problem, width(problem));
}

void launch_shared_resident(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const int64_t N = problem.extents[Rows::rows];
    launch_both<T>(cross_entropy_shared_resident<T>, blocks_for(N, 1), kept_block(problem), N, problem, operands,
                   workspace, stream, kept_shared_bytes(problem, width(problem)));
  });
}

void launch_register_resident(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    with_row_team(problem.extents[Rows::C], [&]<class Team>() {
      const unsigned blocks = blocks_for(problem.extents[Rows::rows], Team::kTeams);
      launch_both<T>(cross_entropy_register_resident<Team, T>, blocks, Team::kBlockThreads, blocks, problem, operands,
                     workspace, stream);
    });
  });
}

int64_t workspace_bytes(const Problem& problem) {
  return problem.extents[Rows::rows] * static_cast<int64_t>(sizeof(float));
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 2}},
    {{2, 3}},
    {{3, 2}, {}, DType::f32, "dogs and cats"},
    {{33, 7}},
    {{65, 10}, {}, DType::f32, "lenet's digits"},
    {{11, 101}},
    {{9, 127}},
    {{257, 3}},
    {{32, 1000}, {}, DType::f32, "an ImageNet head"},
    {{2, 4099}},
    {{1, 8191}},
    {{1, 20011}},  // registers do not hold it
    {{1, 50021}},
};
constexpr Rung kRungs[] = {
    {"thread-per-row",
     "A thread reads its row twice: for the loss, and for the gradient.",
     {.dtypes = kFloats},
     launch_thread_per_row,
     workspace_bytes},
    {"warp-per-row",
     "A warp reads its row side by side, so whole sectors are used.",
     {.dtypes = kFloats},
     launch_warp_per_row,
     workspace_bytes},
    {"vectorised",
     "A block shares a row, and each access is of 16 bytes, wherever the row starts.",
     {.dtypes = kFloats},
     launch_vectorised,
     workspace_bytes},
    {"shared-resident",
     "The row is kept in shared memory: loss and gradient come out of one read, of long rows too.",
     {.exact_capability = 90, .dtypes = kFloats, .takes = fits_shared, .takes_what = kKeptWhat},
     launch_shared_resident,
     workspace_bytes},
    {"register-resident",
     "A team of threads holds the row in registers, all loads under way at once.",
     {.dtypes = kFloats, .takes = fits_row_team, .takes_what = "rows that the registers of a block hold"},
     launch_register_resident,
     workspace_bytes},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}

}  // namespace

const Op cross_entropy_forward_backward = {
    .name = "cross_entropy_forward_backward",
    .formula =
        "loss = 1/N sum_n (lse[n] - logits[n, labels[n]]), dlogits[n,c] = dloss/N (exp(logits[n,c] - lse[n]) - [c = "
        "labels[n]]), lse[n] = log sum_c exp(logits[n,c]); logits, dlogits (N, C), labels (N), loss, dloss (1)",
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
                            {"loss", Role::output, DType::f32, 1, {1}},
                            {"dlogits", Role::output, p.dtype, 2, {N, C}}}};
        },
    .check = [](const Problem& p) { require_positive("cross_entropy_forward_backward", kExtents, p); },
    .reference = reference::cross_entropy_forward_backward,
    .flops = [](const Problem& p) { return 8 * elements(p); },
    .bytes =
        [](const Problem& p) {
          return 2 * width(p) * elements(p) + 4.0 * static_cast<double>(p.extents[Rows::rows]) + 8;
        },
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[Rows::rows] + p.extents[Rows::C]; }},
    .problems = kProblems,
    .rungs = kRungs,
    .gradient_of = "cross_entropy",
};

}  // namespace weft::WEFT_TARGET
