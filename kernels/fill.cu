// fill: y[i] = value.   scale: y[i] = factor * x[i].   All are (n); the scalars are the call's.
// fill writes 4n bytes in float32, scale moves 8n: bound by memory.

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

// Rung 1, scalar. A thread an element.
template <class T>
__global__ void fill_scalar(T* __restrict__ y, int64_t n, float value) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(value);
}

template <class T>
__global__ void scale_scalar(const T* __restrict__ x, T* __restrict__ y, int64_t n, float factor) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(factor * to_float(x[i]));
}

// Rung 2, float4. 16 bytes an instruction; the ragged first and last packs are taken element by element (packs.h).
template <class T>
__global__ void fill_float4(T* __restrict__ y, int64_t n, float value) {
  const int64_t first = packing_of(y, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<T> pack;
  for (T& element : pack.values) element = from_float<T>(value);
  store_ragged(y, first, n, pack);
}

template <class T>
__global__ void scale_float4(const T* __restrict__ x, T* __restrict__ y, int64_t n, float factor) {
  const int64_t first = packing_of(x, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<T> pack = load_ragged(x, first, n);
  for (T& element : pack.values) element = from_float<T>(factor * to_float(element));
  store_ragged(y, first, n, pack);
}

void launch_fill_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(fill_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream}, as<T>(operands[0]), n,
           problem.scalars[Elements::value]);
  });
}

void launch_fill_float4(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    const auto y = as<T>(operands[0]);
    launch(fill_float4<T>, {.grid = blocks_for(packing_of(y, n).count, kBlock), .block = kBlock, .stream = stream}, y,
           n, problem.scalars[Elements::value]);
  });
}

void launch_scale_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(scale_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), n, problem.scalars[Elements::factor]);
  });
}

void launch_scale_float4(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    const auto x = as<const T>(operands[0]);
    launch(scale_float4<T>, {.grid = blocks_for(packing_of(x, n).count, kBlock), .block = kBlock, .stream = stream}, x,
           as<T>(operands[1]), n, problem.scalars[Elements::factor]);
  });
}

constexpr const char* kExtents[] = {"n"};
constexpr const char* kFillScalars[] = {"value"};
constexpr const char* kScaleScalars[] = {"factor"};
constexpr Problem kProblems[] = {{{1}, {0.1}},  {{2}, {-3}},     {{3}, {0.5}},     {{7}, {1.7}},          {{31}, {1}},
                                 {{33}, {2.5}}, {{129}, {1e-3}}, {{4099}, {-0.7}}, {{1 << 14}, {1.0 / 3}}};
constexpr Rung kFillRungs[] = {
    {"scalar", "A thread an element.", {.dtypes = kFloats}, launch_fill_scalar},
    {"float4", "One instruction writes 16 bytes instead of 4.", {.dtypes = kFloats}, launch_fill_float4},
};
constexpr Rung kScaleRungs[] = {
    {"scalar", "A thread an element.", {.dtypes = kFloats}, launch_scale_scalar},
    {"float4",
     "One instruction moves 16 bytes instead of 4, so more bytes are under way.",
     {.dtypes = kFloats},
     launch_scale_float4},
};

}  // namespace

const Op fill = {
    .name = "fill",
    .formula = "y[i] = value; y (n)",
    .peer = "cudnn:set_tensor",
    .extent_names = kExtents,
    .scalar_names = kFillScalars,
    .signature =
        [](const Problem& p) {
          return Signature{1, {{"y", Role::output, p.dtype, 1, {p.extents[Elements::n]}}}};
        },
    .check = [](const Problem& p) { require_positive("fill", kExtents, p); },
    .reference = reference::fill,
    .flops = [](const Problem&) { return 0.0; },
    .bytes = [](const Problem& p) { return width(p) * static_cast<double>(p.extents[Elements::n]); },
    .bound = {.c = 2},
    .problems = kProblems,
    .rungs = kFillRungs,
};

const Op scale = {
    .name = "scale",
    .formula = "y[i] = factor * x[i]; x, y (n)",
    .peer = "cudnn:scale_tensor",
    .extent_names = kExtents,
    .scalar_names = kScaleScalars,
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Elements::n];
          return Signature{2, {{"x", Role::input, p.dtype, 1, {n}}, {"y", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { require_positive("scale", kExtents, p); },
    .reference = reference::scale,
    .flops = [](const Problem& p) { return static_cast<double>(p.extents[Elements::n]); },
    .bytes = [](const Problem& p) { return 2 * width(p) * static_cast<double>(p.extents[Elements::n]); },
    .bound = {.c = 3},  // the factor is rounded to float32, and so is the product
    .problems = kProblems,
    .rungs = kScaleRungs,
};

}  // namespace weft::WEFT_TARGET
