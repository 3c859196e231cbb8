// binary_cross_entropy: loss = 1/n sum_i (max(x[i], 0) - x[i] t[i] + log(1 + exp(-|x[i]|))).
// binary_cross_entropy_backward: dx[i] = dloss / n (sigmoid(x[i]) - t[i]), sigmoid(x) = 1 / (1 + exp(-x)).
// x, dx are logits (n), one for each picture and label; t are targets in [0, 1], float32 (n); loss, dloss float32 (1).
// The mean of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)): for pictures with several labels, each a question of its
// own. Written so, no exponential overflows and no logarithm sees 0 (torch's BCEWithLogitsLoss takes the same way).
// Forward about 6n flops and 8n bytes in float32, backward 4n and 12n: bound by memory.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reduce.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Elements;

__device__ inline float loss_of(float logit, float target) {
  return fmaxf(logit, 0.0f) - logit * target + log1pf(expf(-fabsf(logit)));
}

__device__ inline float gradient_of(float logit, float target) {
  // exp of a negative number alone: for a large negative logit exp(-x) would be infinite, though 1 / (1 + inf) is 0.
  const float e = expf(-fabsf(logit));
  return (logit >= 0 ? 1.0f : e) / (1.0f + e) - target;
}

// Rung 1, one-block. 256 threads stride over everything. One block runs on one SM, and draws only that SM's share of
// the bandwidth.
template <class T>
__global__ void binary_cross_entropy_one_block(const T* __restrict__ logits, const float* __restrict__ targets,
                                               float* __restrict__ loss, int64_t n) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += loss_of(to_float(logits[i]), targets[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = sum / static_cast<float>(n);
}

// Rung 2, two-stage. Every block sums a stretch into the workspace, and one block adds the stretches up, always in the
// same order: the number of blocks follows from n alone, so the bits are the same on every device. One block alone
// leaves the mean itself.
template <class T>
__global__ void binary_cross_entropy_stage(const T* __restrict__ logits, const float* __restrict__ targets,
                                           float* __restrict__ partial, int64_t n) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  float sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride)
    sum += loss_of(to_float(logits[i]), targets[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = gridDim.x == 1 ? sum / static_cast<float>(n) : sum;
}

__global__ void mean_of_stretches(const float* __restrict__ partial, float* __restrict__ loss, int64_t stretches,
                                  int64_t n) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < stretches; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = sum / static_cast<float>(n);
}

// Rung 1 of the gradient, scalar. A thread an element: whole sectors, but 4 bytes in flight a thread.
template <class T>
__global__ void binary_cross_entropy_backward_scalar(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                     const float* __restrict__ targets, T* __restrict__ dlogits,
                                                     int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float factor = dloss[0] / static_cast<float>(n);
  dlogits[i] = from_float<T>(factor * gradient_of(to_float(logits[i]), targets[i]));
}

// Rung 2, pack. A thread moves 16 bytes of logits with one instruction, and the targets beside them: a quarter of the
// instructions (an eighth in bfloat16), and as many times the bytes in flight. The n % size elements behind the last
// whole pack go to the first threads of the grid, one each.
template <class T>
__global__ void binary_cross_entropy_backward_pack(const float* __restrict__ dloss, const T* __restrict__ logits,
                                                   const float* __restrict__ targets, T* __restrict__ dlogits,
                                                   int64_t n) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const float factor = dloss[0] / static_cast<float>(n);
  if (i < n / kSize) {
    Pack<T> pack = load_pack(logits, i);
    for (int part = 0; part < kSize / 4; ++part) {
      const Pack<float> target = load_pack(targets, i * (kSize / 4) + part);
      for (int k = 0; k < 4; ++k) {
        T& value = pack.values[4 * part + k];
        value = from_float<T>(factor * gradient_of(to_float(value), target.values[k]));
      }
    }
    store_pack(dlogits, i, pack);
  }
  if (i < n % kSize) {
    const int64_t last = n - 1 - i;
    dlogits[last] = from_float<T>(factor * gradient_of(to_float(logits[last]), targets[last]));
  }
}

int64_t stage_blocks(const Problem& problem) {
  const int64_t enough = ceil_div(problem.extents[Elements::n], int64_t{kBlock} * 8);  // 8 elements a thread, or more
  return enough < 1024 ? enough : 1024;
}

void launch_one_block(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    launch(binary_cross_entropy_one_block<T>, {.grid = 1, .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<const float>(operands[1]), as<float>(operands[2]), problem.extents[Elements::n]);
  });
}

void launch_two_stage(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t n = problem.extents[Elements::n], blocks = stage_blocks(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(binary_cross_entropy_stage<T>, {.grid = static_cast<unsigned>(blocks), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const float>(operands[1]), as<float>(blocks > 1 ? workspace : operands[2]), n);
  });
  if (blocks == 1) return;
  launch(mean_of_stretches, {.grid = 1, .block = kBlock, .stream = stream}, as<const float>(workspace),
         as<float>(operands[2]), blocks, n);
}

void launch_backward_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(binary_cross_entropy_backward_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const float>(operands[0]), as<const T>(operands[1]), as<const float>(operands[2]), as<T>(operands[3]), n);
  });
}

// A part of a tensor may start anywhere; whole tensors are aligned.
void launch_backward_pack(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  if (!aligned({operands[1], operands[2], operands[3]}))
    return launch_backward_scalar(problem, operands, workspace, stream);
  with_type(problem.dtype, [&]<class T>() {
    launch(binary_cross_entropy_backward_pack<T>,
           {.grid = blocks_for(n, kBlock * Pack<T>::kSize), .block = kBlock, .stream = stream},
           as<const float>(operands[0]), as<const T>(operands[1]), as<const float>(operands[2]), as<T>(operands[3]), n);
  });
}

constexpr const char* kExtents[] = {"n"};
constexpr Problem kProblems[] = {{{1}}, {{2}}, {{3}}, {{31}}, {{33}}, {{129}}, {{4099}}, {{16384}}};
constexpr Rung kRungs[] = {
    {"one-block", "One block strides over everything.", {.dtypes = kFloats}, launch_one_block},
    {"two-stage",
     "Every SM sums a stretch, then one block adds the stretches up, always in the same order.",
     {.dtypes = kFloats},
     launch_two_stage,
     [](const Problem& p) { return stage_blocks(p) * static_cast<int64_t>(sizeof(float)); }},
};
constexpr Rung kBackwardRungs[] = {
    {"scalar", "A thread an element, as the formula says.", {.dtypes = kFloats}, launch_backward_scalar},
    {"pack",
     "One instruction moves 16 bytes instead of 4, so more bytes are under way.",
     {.dtypes = kFloats},
     launch_backward_pack},
};

double n_of(const Problem& p) {
  return static_cast<double>(p.extents[Elements::n]);
}

}  // namespace

const Op binary_cross_entropy = {
    .name = "binary_cross_entropy",
    .formula =
        "loss = 1/n sum_i (max(logits[i], 0) - logits[i] targets[i] + log(1 + exp(-|logits[i]|))); logits, targets "
        "(n), loss (1)",
    .peer = nullptr,  // cuDNN has no loss
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Elements::n];
          return Signature{3,
                           {{"logits", Role::input, p.dtype, 1, {n}, Fill::away},
                            {"targets", Role::input, DType::f32, 1, {n}, Fill::positive},
                            {"loss", Role::output, DType::f32, 1, {1}}}};
        },
    .check = [](const Problem& p) { require_positive("binary_cross_entropy", kExtents, p); },
    .reference = reference::binary_cross_entropy,
    .flops = [](const Problem& p) { return 6 * n_of(p); },
    .bytes = [](const Problem& p) { return (width(p) + 4) * n_of(p) + 4; },
    .bound = {.c = 4, .terms = [](const Problem& p) { return p.extents[Elements::n]; }},
    .problems = kProblems,
    .rungs = kRungs,
};

const Op binary_cross_entropy_backward = {
    .name = "binary_cross_entropy_backward",
    .formula = "dlogits[i] = dloss/n (1 / (1 + exp(-logits[i])) - targets[i]); logits, targets, dlogits (n), dloss (1)",
    .peer = nullptr,  // cuDNN has no loss
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Elements::n];
          return Signature{4,
                           {{"dloss", Role::input, DType::f32, 1, {1}},
                            {"logits", Role::input, p.dtype, 1, {n}, Fill::away},
                            {"targets", Role::input, DType::f32, 1, {n}, Fill::positive},
                            {"dlogits", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { require_positive("binary_cross_entropy_backward", kExtents, p); },
    .reference = reference::binary_cross_entropy_backward,
    .flops = [](const Problem& p) { return 4 * n_of(p); },
    .bytes = [](const Problem& p) { return (2 * width(p) + 4) * n_of(p) + 4; },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "binary_cross_entropy",
};

}  // namespace weft::WEFT_TARGET
