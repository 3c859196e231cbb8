// cross_entropy_soft_backward: dx[n,c] = dloss / N (T[n] exp(x[n,c] - lse[n]) - t[n,c]), T[n] = sum_c t[n,c].
// x, dx are logits (N, C); t are targets, float32 (N, C); lse, of the forward pass, float32 (N); dloss float32 (1).
// The gradient of cross_entropy_soft (cross_entropy_soft.cu). With T[n] = 1 it is softmax minus target.
// About 5NC flops and 12NC bytes in float32: bound by memory. The floor is one read of either input, one write.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/kept_row.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reduce.h"
#include "kernels/reference/reference.h"
#include "kernels/row_team.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

constexpr int kWarps = kBlock / 32;

// Rung 1, thread-per-row. Neighbouring threads read addresses C elements apart: 32 sectors a request, of which 4 bytes
// each are used at a time. The targets are read twice.
template <class T>
__global__ void cross_entropy_soft_backward_thread_per_row(const float* __restrict__ dloss,
                                                           const T* __restrict__ logits,
                                                           const float* __restrict__ targets,
                                                           const float* __restrict__ lse, T* __restrict__ dlogits,
                                                           int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (n >= N) return;
  float total = 0;
  for (int64_t c = 0; c < C; ++c) total += targets[n * C + c];
  const float factor = dloss[0] / static_cast<float>(N);
  for (int64_t c = 0; c < C; ++c) {
    const float probability = expf(to_float(logits[n * C + c]) - lse[n]);
    dlogits[n * C + c] = from_float<T>(factor * (total * probability - targets[n * C + c]));
  }
}

// Rung 2, warp-per-row. A warp reads its row side by side, 4 sectors a request with every byte of them used. The second
// reading of the targets finds a row of up to a few thousand classes in L1.
template <class T>
__global__ void cross_entropy_soft_backward_warp_per_row(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                         const float* __restrict__ targets,
                                                         const float* __restrict__ lse, T* __restrict__ dlogits,
                                                         int64_t N, int64_t C) {
  const int64_t n = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (n >= N) return;
  float total = 0;
  for (int64_t c = threadIdx.x % 32; c < C; c += 32) total += targets[n * C + c];
  total = warp_sum(total);
  const float factor = dloss[0] / static_cast<float>(N);
  for (int64_t c = threadIdx.x % 32; c < C; c += 32) {
    const float probability = expf(to_float(logits[n * C + c]) - lse[n]);
    dlogits[n * C + c] = from_float<T>(factor * (total * probability - targets[n * C + c]));
  }
}

// Rung 3, shared-resident. The targets are wanted twice, for T and for the gradient, and were read twice; a warp a row
// leaves the GPU half empty where rows are long and few; and an access was of 4 bytes. A block shares a row, 16 bytes
// an access, wherever it starts (packs.h), and keeps the targets in shared memory, where each thread finds its own
// again (kept_row.h). The logits are wanted once, with T known. 224 KiB hold 57 thousand targets.
template <class T>
__global__ void __launch_bounds__(kWideBlock)
    cross_entropy_soft_backward_shared_resident(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                const float* __restrict__ targets, const float* __restrict__ lse,
                                                T* __restrict__ dlogits, int64_t N, int64_t C) {
  constexpr int kWide = Pack<float>::kSize, kParts = Pack<T>::kSize / kWide;  // packs of targets beside one of logits
  Pack<float>* const kept = dynamic_shared<Pack<float>>();  // (kParts, packs of the row), so that neighbours' are apart
  const int64_t n = blockIdx.x;
  logits += n * C;
  targets += n * C;
  dlogits += n * C;
  const Packing<T> packing = packing_of(logits, C);
  const float factor = dloss[0] / static_cast<float>(N), log_sum = lse[n];
  float total = 0;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x)
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const Pack<float> shares = load_ragged(targets, packing.first(k) + part * kWide, C);
#pragma unroll
      for (const float share : shares.values) total += share;
      kept[part * packing.count + k] = shares;
    }
  total = block_sum(total);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    Pack<T> pack = load_ragged(logits, packing.first(k), C);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const Pack<float> shares = kept[part * packing.count + k];
#pragma unroll
      for (int e = 0; e < kWide; ++e) {
        T& value = pack.values[part * kWide + e];
        value = from_float<T>(factor * (total * expf(to_float(value) - log_sum) - shares.values[e]));
      }
    }
    store_ragged(dlogits, packing.first(k), C, pack);
  }
}

// Rung 4, register-resident. Shared memory is one step away still, and a block a row is too much for short ones. A team
// of threads (row_team.h) keeps both rows in registers, all loads under way
// together.
template <class Team, class T>
__global__ void __launch_bounds__(Team::kBlockThreads)
    cross_entropy_soft_backward_register_resident(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                  const float* __restrict__ targets, const float* __restrict__ lse,
                                                  T* __restrict__ dlogits, int64_t N, int64_t C) {
  const int64_t n = Team::row(), length = Team::length(N, C);
  const Packing<T> packing = packing_of(logits + n * C, length);
  auto held = HeldRow<Team, T>::load(logits + n * C, packing, length, 0);
  const auto shares = HeldRow<Team, T>::load_beside(targets + n * C, packing, length, 0);
  const float factor = dloss[0] / static_cast<float>(N), log_sum = n < N ? lse[n] : 0;
  float total = 0;
#pragma unroll
  for (const float share : shares.values) total += share;
  total = Team::sum(total);
#pragma unroll
  for (int i = 0; i < Team::kHeld; ++i)
    held.values[i] = factor * (total * expf(held.values[i] - log_sum) - shares.values[i]);
  held.store(dlogits + n * C, packing, length);
}

void launch_thread_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_soft_backward_thread_per_row<T>, {.grid = blocks_for(N, 64), .block = 64, .stream = stream},
           as<const float>(operands[0]), as<const T>(operands[1]), as<const float>(operands[2]),
           as<const float>(operands[3]), as<T>(operands[4]), N, C);
  });
}

void launch_warp_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_soft_backward_warp_per_row<T>,
           {.grid = blocks_for(N, kWarps), .block = kBlock, .stream = stream}, as<const float>(operands[0]),
           as<const T>(operands[1]), as<const float>(operands[2]), as<const float>(operands[3]), as<T>(operands[4]), N,
           C);
  });
}

// Of each element its target, a float whatever the logits are.
constexpr double kKeptOfElement = sizeof(float);

bool fits_shared(const Problem& problem) {
  return fits_kept(problem, kKeptOfElement);
}

void launch_shared_resident(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(cross_entropy_soft_backward_shared_resident<T>,
           {.grid = blocks_for(N, 1),
            .block = kept_block(problem),
            .shared_bytes = kept_shared_bytes(problem, kKeptOfElement),
            .stream = stream},
           as<const float>(operands[0]), as<const T>(operands[1]), as<const float>(operands[2]),
           as<const float>(operands[3]), as<T>(operands[4]), N, C);
  });
}

void launch_register_resident(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t N = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    with_row_team(C, [&]<class Team>() {
      launch(cross_entropy_soft_backward_register_resident<Team, T>,
             {.grid = blocks_for(N, Team::kTeams), .block = Team::kBlockThreads, .stream = stream},
             as<const float>(operands[0]), as<const T>(operands[1]), as<const float>(operands[2]),
             as<const float>(operands[3]), as<T>(operands[4]), N, C);
    });
  });
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 2}},
    {{3, 2}, {}, DType::f32, "dogs and cats"},
    {{7, 31}},
    {{33, 7}},
    {{65, 10}, {}, DType::f32, "ten digits"},
    {{11, 101}},
    {{9, 127}},
    {{257, 3}},
    {{32, 1000}, {}, DType::f32, "an ImageNet head"},
    {{2, 4099}},
    {{1, 8191}},
    {{1, 20011}},
    {{1, 50021}},
};
constexpr Rung kRungs[] = {
    {"thread-per-row", "A thread a row.", {.dtypes = kFloats}, launch_thread_per_row},
    {"warp-per-row",
     "A warp reads and writes its row side by side, so whole sectors are used.",
     {.dtypes = kFloats},
     launch_warp_per_row},
    {"shared-resident",
     "A block keeps the targets in shared memory: each input is read once, of long rows too.",
     {.exact_capability = 90, .dtypes = kFloats, .takes = fits_shared, .takes_what = kKeptWhat},
     launch_shared_resident},
    {"register-resident",
     "A team of threads holds both rows in registers, all loads under way at once.",
     {.dtypes = kFloats, .takes = fits_row_team, .takes_what = "rows that the registers of a block hold"},
     launch_register_resident},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}

}  // namespace

const Op cross_entropy_soft_backward = {
    .name = "cross_entropy_soft_backward",
    .formula =
        "dlogits[n,c] = dloss/N (sum_k targets[n,k] exp(logits[n,c] - lse[n]) - targets[n,c]); logits, targets, "
        "dlogits (N, C), lse (N), dloss (1)",
    .peer = nullptr,  // cuDNN has softmax, and no loss
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t N = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{5,
                           {{"dloss", Role::input, DType::f32, 1, {1}},
                            {"logits", Role::input, p.dtype, 2, {N, C}},
                            {"targets", Role::input, DType::f32, 2, {N, C}, Fill::positive},
                            {"lse", Role::input, DType::f32, 1, {N}, Fill::derived},
                            {"dlogits", Role::output, p.dtype, 2, {N, C}}}};
        },
    .check = [](const Problem& p) { require_positive("cross_entropy_soft_backward", kExtents, p); },
    .reference = reference::cross_entropy_soft_backward,
    .flops = [](const Problem& p) { return 5 * elements(p); },
    .bytes =
        [](const Problem& p) {
          return (2 * width(p) + 4) * elements(p) + 4.0 * static_cast<double>(p.extents[Rows::rows] + 1);
        },
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[Rows::C]; }},
    .problems = kProblems,
    .rungs = kRungs,
    .gradient_of = "cross_entropy_soft",
};

}  // namespace weft::WEFT_TARGET
