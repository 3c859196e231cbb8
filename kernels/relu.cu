// relu: y[i] = min(max(x[i], 0), ceiling).   relu_backward: dx[i] = 0 < y[i] < ceiling ? dy[i] : 0.   All are (n).
// A ceiling of 0 stands for none; 6 is the ReLU6 of Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010.
// Forward n flops and 8n bytes in float32, backward n flops and 12n bytes: bound by memory. The floor is one read of
// each input and one write of the output. The backward takes y rather than x, so that a graph may overwrite x.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/rectify.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Elements;

template <class T>
__device__ T clamped(T x, float ceiling) {
  return from_float<T>(rectified(to_float(x), ceiling));
}

// Rung 1, scalar. A thread an element: neighbouring threads touch neighbouring addresses, so a warp's request is 4
// sectors of 32 bytes, but each thread has only 4 bytes in flight.
template <class T>
__global__ void relu_scalar(const T* __restrict__ x, T* __restrict__ y, int64_t n, float ceiling) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = clamped(x[i], ceiling);
}

template <class T>
__global__ void relu_backward_scalar(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t n,
                                     float ceiling) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) dx[i] = lets_through(y[i], ceiling) ? dy[i] : from_float<T>(0);
}

// Rung 2, float4. The scalar rung issues an instruction for every 4 bytes, and the memory system needs many bytes under
// way to be busy (bandwidth times latency). Here a thread moves 16 bytes with one instruction: a quarter of the
// instructions and of the threads, four times the bytes in flight. A part of a tensor may start at any element: packs
// lie on multiples of 16, and the ragged first and last are taken element by element (packs.h), as are all stores to a
// y that is not aligned as x is.
template <class T>
__global__ void relu_float4(const T* __restrict__ x, T* __restrict__ y, int64_t n, float ceiling) {
  const int64_t first = packing_of(x, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<T> pack = load_ragged(x, first, n);
  for (T& value : pack.values) value = clamped(value, ceiling);
  store_ragged(y, first, n, pack);
}

template <class T>
__global__ void relu_backward_float4(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t n,
                                     float ceiling) {
  const int64_t first = packing_of(dy, n).first(int64_t{blockIdx.x} * blockDim.x + threadIdx.x);
  if (first >= n) return;
  Pack<T> gradient = load_ragged(dy, first, n);
  const Pack<T> value = load_ragged(y, first, n);
  for (int k = 0; k < Pack<T>::kSize; ++k)
    if (!lets_through(value.values[k], ceiling)) gradient.values[k] = from_float<T>(0);
  store_ragged(dx, first, n, gradient);
}

void launch_relu_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(relu_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<T>(operands[1]), n, problem.scalars[Elements::ceiling]);
  });
}

void launch_relu_backward_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    launch(relu_backward_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), n,
           problem.scalars[Elements::ceiling]);
  });
}

void launch_relu_float4(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    const auto x = as<const T>(operands[0]);
    launch(relu_float4<T>, {.grid = blocks_for(packing_of(x, n).count, kBlock), .block = kBlock, .stream = stream}, x,
           as<T>(operands[1]), n, problem.scalars[Elements::ceiling]);
  });
}

void launch_relu_backward_float4(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t n = problem.extents[Elements::n];
  with_type(problem.dtype, [&]<class T>() {
    const auto dy = as<const T>(operands[0]);
    launch(relu_backward_float4<T>,
           {.grid = blocks_for(packing_of(dy, n).count, kBlock), .block = kBlock, .stream = stream}, dy,
           as<const T>(operands[1]), as<T>(operands[2]), n, problem.scalars[Elements::ceiling]);
  });
}

constexpr const char* kElementExtents[] = {"n"};
constexpr const char* kScalars[] = {"ceiling"};
constexpr Problem kProblems[] = {{{1}},         {{2}},       {{3}},        {{7}},          {{31}},   {{33}},
                                 {{63}},        {{65}},      {{127}},      {{129}},        {{4099}}, {{1 << 16}},
                                 {{31}, {0.5}}, {{65}, {6}}, {{129}, {1}}, {{4099}, {1.5}}};

void check_relu(const char* op, const Problem& p) {
  require_positive(op, kElementExtents, p);
  if (!(p.scalars[Elements::ceiling] >= 0))
    fail(std::string(op) + ": the ceiling is " + std::to_string(p.scalars[Elements::ceiling]) +
         "; it is above 0, or 0 where there is none");
}

constexpr Rung kRungs[] = {
    {"scalar", "A thread an element, as the formula says.", {.dtypes = kFloats}, launch_relu_scalar},
    {"float4",
     "One instruction moves 16 bytes instead of 4, so more bytes are under way.",
     {.dtypes = kFloats},
     launch_relu_float4},
};
constexpr Rung kBackwardRungs[] = {
    {"scalar", "A thread an element, as the formula says.", {.dtypes = kFloats}, launch_relu_backward_scalar},
    {"float4",
     "One instruction moves 16 bytes instead of 4, so more bytes are under way.",
     {.dtypes = kFloats},
     launch_relu_backward_float4},
};

}  // namespace

const Op relu = {
    .name = "relu",
    .formula = "y[i] = min(max(x[i], 0), ceiling), a ceiling of 0: none; x, y (n)",
    .peer = "cudnn:activation_forward",
    .extent_names = kElementExtents,
    .scalar_names = kScalars,
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Elements::n];
          return Signature{2, {{"x", Role::input, p.dtype, 1, {n}, Fill::away}, {"y", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { check_relu("relu", p); },
    .reference = reference::relu,
    .flops = [](const Problem& p) { return static_cast<double>(p.extents[Elements::n]); },
    .bytes = [](const Problem& p) { return 2 * width(p) * static_cast<double>(p.extents[Elements::n]); },
    .bound = {.c = 1},
    .problems = kProblems,
    .rungs = kRungs,
    .exact_on_integers = true,
};

const Op relu_backward = {
    .name = "relu_backward",
    .formula = "dx[i] = 0 < y[i] < ceiling ? dy[i] : 0; dy, y, dx (n)",
    .peer = "cudnn:activation_backward",
    .extent_names = kElementExtents,
    .scalar_names = kScalars,
    .signature =
        [](const Problem& p) {
          const int64_t n = p.extents[Elements::n];
          return Signature{3,
                           {{"dy", Role::input, p.dtype, 1, {n}},
                            {"y", Role::input, p.dtype, 1, {n}, Fill::derived},
                            {"dx", Role::output, p.dtype, 1, {n}}}};
        },
    .check = [](const Problem& p) { check_relu("relu_backward", p); },
    .reference = reference::relu_backward,
    .flops = [](const Problem& p) { return static_cast<double>(p.extents[Elements::n]); },
    .bytes = [](const Problem& p) { return 3 * width(p) * static_cast<double>(p.extents[Elements::n]); },
    .bound = {.c = 1},
    .problems = kProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "relu",
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
