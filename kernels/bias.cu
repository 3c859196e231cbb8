// bias_add: y[n,c] = x[n,c] + bias[c].   x, y are (rows, C), bias (C). rows * C flops; 8 rows C bytes in float32: bound
// by memory. The rows are whatever stands before the last axis: pictures times pixels for a convolution. The gradient
// stands in bias_backward.cu.

#include "kernels/bias_problems.h"
#include "kernels/catalogue_ops.h"
#include "kernels/channel_walk.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

// Rung 1, scalar. A thread an element. The channel is the remainder of a 64-bit division, which is dozens
// of instructions: on a GPU that moves a terabyte a second the arithmetic, not the memory, sets the pace.
template <class T>
__global__ void bias_add_scalar(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y, int64_t n,
                                int64_t C) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(to_float(x[i]) + to_float(bias[i % C]));
}

// Rung 2, float4. Where C is a multiple of the pack's size, a pack lies within one row: one division and one
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

// Rung 3, channel-walk. Every pack of x still came with a pack of bias, half as many bytes again asked of the
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

constexpr Rung kAddRungs[] = {
    {"scalar", "A thread an element, its channel by a division.", {.dtypes = kFloats}, launch_add_scalar},
    {"float4",
     "One division and one instruction for the 16 bytes of a pack, where rows are whole packs.",
     {.dtypes = kFloats, .takes = whole_packs, .takes_what = "channels in eights, of float32 in fours"},
     launch_add_float4},
    {"channel-walk",
     "A thread always meets the same channels and keeps its bias in registers, whatever C is.",
     {.dtypes = kFloats},
     launch_add_channel_walk},
};
double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}

}  // namespace

const Op bias_add = {
    .name = "bias_add",
    .formula = "y[n,c] = x[n,c] + bias[c]; x, y (rows, C), bias (C)",
    .peer = "cudnn:add_tensor",
    .extent_names = kBiasExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{3,
                           {{"x", Role::input, p.dtype, 2, {rows, C}},
                            {"bias", Role::input, p.dtype, 1, {C}},
                            {"y", Role::output, p.dtype, 2, {rows, C}}}};
        },
    .check = [](const Problem& p) { require_positive("bias_add", kBiasExtents, p); },
    .reference = reference::bias_add,
    .flops = elements,
    .bytes = [](const Problem& p) { return width(p) * (2 * elements(p) + static_cast<double>(p.extents[Rows::C])); },
    .bound = {.c = 2},
    .problems = kBiasProblems,
    .rungs = kAddRungs,
    .choose = choose_add,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
