// add: y[i] = a[i] + b[i].   All are (n). The end of a residual block; its backward is a copy to each side, so it has
// no op. n flops and 12n bytes in float32: bound by memory. The floor is one read of each input and one write.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Elements;

// Rung 1, scalar. A thread an element, coalesced: but 8 bytes in flight a thread.
template <class T>
__global__ void add_scalar(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(to_float(a[i]) + to_float(b[i]));
}

// Rung 2, float4. Two loads of 16 bytes stand before the first addition, so a thread has 32 bytes in flight, and a
// quarter of the instructions do the work. The ragged first and last packs are taken element by element (packs.h).
template <class T>
__global__ void add_float4(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, int64_t n) {
  const int64_t first = packing_of(a, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<T> sum = load_ragged(a, first, n);
  const Pack<T> other = load_ragged(b, first, n);
  for (int k = 0; k < Pack<T>::kSize; ++k)
    sum.values[k] = from_float<T>(to_float(sum.values[k]) + to_float(other.values[k]));
  store_ragged(y, first, n, sum);
}

void launch_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(add_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<const T>(operands[1]), as<T>(operands[2]), n);
  });
}

void launch_float4(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    const auto a = as<const T>(operands[0]);
    launch(add_float4<T>, {.grid = blocks_for(packing_of(a, n).count, kBlock), .block = kBlock, .stream = stream}, a,
           as<const T>(operands[1]), as<T>(operands[2]), n);
  });
}

constexpr const char* kExtents[] = {"n"};
constexpr Problem kProblems[] = {{{1}},  {{2}},  {{3}},   {{7}},   {{31}},   {{33}},
                                 {{63}}, {{65}}, {{127}}, {{129}}, {{4099}}, {{1 << 16}}};
constexpr Rung kRungs[] = {
    {"scalar", "A thread an element, as the formula says.", {.dtypes = kFloats}, launch_scalar},
    {"float4",
     "One instruction moves 16 bytes instead of 4, so more bytes are under way.",
     {.dtypes = kFloats},
     launch_float4},
};

}  // namespace

const Op add = {
    .name = "add",
    .formula = "y[i] = a[i] + b[i]; a, b, y (n)",
    .peer = "cudnn:op_tensor_add",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Elements::n];
          return Signature{3,
                           {{"a", Role::input, p.dtype, 1, {n}},
                            {"b", Role::input, p.dtype, 1, {n}},
                            {"y", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { require_positive("add", kExtents, p); },
    .reference = reference::add,
    .flops = [](const Problem& p) { return static_cast<double>(p.extents[Elements::n]); },
    .bytes = [](const Problem& p) { return 3 * width(p) * static_cast<double>(p.extents[Elements::n]); },
    .bound = {.c = 2},
    .problems = kProblems,
    .rungs = kRungs,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
