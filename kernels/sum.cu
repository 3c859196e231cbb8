// sum: y[0] = sum_i x[i].   x is (n); y is float32 whatever x is.
// n flops and 4n bytes in float32: bound by memory. The floor is one read of x.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reduce.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Elements;

// Rung 1, one-block. Its 256 threads stride over x, each with a sum of its own, and then add those up. One block runs
// on one SM, which can draw only its own share of the bandwidth.
template <class T>
__global__ void sum_one_block(const T* __restrict__ x, float* __restrict__ y, int64_t n) {
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += to_float(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) y[0] = sum;
}

// Rung 2, two-stage. Every block sums a stretch of x into the workspace, and then rung 1 sums the blocks' results. The
// number of blocks depends on n alone, so the order of the additions, and the bits, are the same on every device;
// atomicAdd would save the second kernel and lose that.
template <class T>
__global__ void sum_stage(const T* __restrict__ x, float* __restrict__ partial, int64_t n) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  float sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) sum += to_float(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

int64_t stage_blocks(const Problem& problem) {
  const int64_t enough = ceil_div(problem.extents[Elements::n], int64_t{kBlock} * 8);  // 8 elements a thread, or more
  return enough < 1024 ? enough : 1024;
}

// Rung 3, two-stage-float4. Loads of 16 bytes, four of them under way before the first is added: the stage above waits
// for each 4 bytes before it adds the next. The ragged ends count as zeros (packs.h).
constexpr int kAtOnce = 4;

template <class T>
__global__ void sum_stage_float4(const T* __restrict__ x, float* __restrict__ partial, int64_t n) {
  const Packing<T> packing = packing_of(x, n);
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  float sum = 0;
  for (int64_t k = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; k < packing.count; k += kAtOnce * stride) {
    Pack<T> packs[kAtOnce];
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a) packs[a] = load_ragged(x, packing.first(k + a * stride), n);
#pragma unroll
    for (const Pack<T>& pack : packs)
#pragma unroll
      for (const T& value : pack.values) sum += to_float(value);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

void launch_one_block(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    launch(sum_one_block<T>, {.grid = 1, .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<float>(operands[1]), problem.extents[Elements::n]);
  });
}

template <bool kPacks>
void launch_two_stage(const Problem& problem, void* const* operands, void* workspace, Stream stream) {
  const int64_t blocks = stage_blocks(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(kPacks ? sum_stage_float4<T> : sum_stage<T>,
           {.grid = static_cast<unsigned>(blocks), .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<float>(workspace), problem.extents[Elements::n]);
  });
  launch(sum_one_block<float>, {.grid = 1, .block = kBlock, .stream = stream}, as<const float>(workspace),
         as<float>(operands[1]), blocks);
}

int64_t workspace_bytes(const Problem& problem) {
  return stage_blocks(problem) * static_cast<int64_t>(sizeof(float));
}

constexpr const char* kExtents[] = {"n"};
constexpr Problem kProblems[] = {{{1}},  {{2}},   {{3}},   {{7}},    {{31}},   {{33}},   {{63}},
                                 {{65}}, {{127}}, {{129}}, {{2049}}, {{4099}}, {{65537}}};
constexpr Rung kRungs[] = {
    {"one-block", "One block strides over everything.", {.dtypes = kFloats}, launch_one_block},
    {"two-stage",
     "Every SM sums a stretch, then one block sums the stretches, always in the same order.",
     {.dtypes = kFloats},
     launch_two_stage<false>,
     workspace_bytes},
    {"two-stage-float4",
     "Loads of 16 bytes, four under way at once.",
     {.dtypes = kFloats},
     launch_two_stage<true>,
     workspace_bytes},
};

}  // namespace

const Op sum = {
    .name = "sum",
    .formula = "y[0] = sum_i x[i]; x (n), y (1)",
    .peer = "cudnn:reduce_tensor_add",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          return Signature{
              2, {{"x", Role::input, p.dtype, 1, {p.extents[Elements::n]}}, {"y", Role::output, DType::f32, 1, {1}}}};
        },
    .check = [](const Problem& p) { require_positive("sum", kExtents, p); },
    .reference = reference::sum,
    .flops = [](const Problem& p) { return static_cast<double>(p.extents[Elements::n]); },
    .bytes = [](const Problem& p) { return width(p) * static_cast<double>(p.extents[Elements::n]); },
    .bound = {.c = 2, .terms = [](const Problem& p) { return p.extents[Elements::n]; }},
    .problems = kProblems,
    .rungs = kRungs,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
