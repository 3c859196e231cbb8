// concat: y[n, o_k + c] = x_k[n,c], where o_k = C_0 + ... + C_(k-1).   concat_backward: dx_k[n,c] = dy[n, o_k + c].
// x_k, dx_k are (rows, C_k), up to eight of them; y, dy (rows, sum C_k). No flops; 8 rows sum C_k bytes in float32:
// bound by memory.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Concat;

constexpr int kMax = Concat::kMaxInputs;

// Rung 1, launch-per-part. A thread an element of one part, a launch for each part: with the small parts of a
// SqueezeNet the launches take longer than the copying. A part is C columns wide, at `offset` in a whole of `total`.
template <class T>
__global__ void concat_part(const T* __restrict__ part, T* __restrict__ whole, int64_t n, int64_t C, int64_t offset,
                            int64_t total) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) whole[i / C * total + offset + i % C] = part[i];
}

template <class T>
__global__ void concat_backward_part(const T* __restrict__ whole, T* __restrict__ part, int64_t n, int64_t C,
                                     int64_t offset, int64_t total) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) part[i] = whole[i / C * total + offset + i % C];
}

/// The parts, as a kernel's argument: part k has columns begin[k] ... begin[k + 1] - 1 of the whole.
template <class T>
struct Parts {
  T* pointers[kMax];
  int64_t begin[kMax + 1];
  int count;
};

// Rung 2, one-launch. A warp takes a row of the whole and walks its columns, stepping from part to part as it goes: one
// launch, and no division.
template <class T>
__global__ void concat_warp_per_row(Parts<const T> parts, T* __restrict__ whole, int64_t rows) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t total = parts.begin[parts.count];
  for (int k = 0; k < parts.count; ++k) {
    const int64_t C = parts.begin[k + 1] - parts.begin[k];
    for (int64_t c = threadIdx.x; c < C; c += 32)
      whole[row * total + parts.begin[k] + c] = parts.pointers[k][row * C + c];
  }
}

template <class T>
__global__ void concat_backward_warp_per_row(const T* __restrict__ whole, Parts<T> parts, int64_t rows) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t total = parts.begin[parts.count];
  for (int k = 0; k < parts.count; ++k) {
    const int64_t C = parts.begin[k + 1] - parts.begin[k];
    for (int64_t c = threadIdx.x; c < C; c += 32)
      parts.pointers[k][row * C + c] = whole[row * total + parts.begin[k] + c];
  }
}

// Rung 3, vectorised. The same walk with 16 bytes an access where a part's row and its place in the whole are aligned
// alike (channels in multiples of 4, as nearly all are; of 8 in bfloat16), element by element where not (packs.h).
template <class T>
__global__ void concat_vectorised(Parts<const T> parts, T* __restrict__ whole, int64_t rows) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t total = parts.begin[parts.count];
  for (int k = 0; k < parts.count; ++k) {
    const int64_t C = parts.begin[k + 1] - parts.begin[k];
    const T* const from = parts.pointers[k] + row * C;
    const Packing<T> packing = packing_of(from, C);
    for (int64_t i = threadIdx.x; i < packing.count; i += 32)
      store_ragged(whole + row * total + parts.begin[k], packing.first(i), C, load_ragged(from, packing.first(i), C));
  }
}

template <class T>
__global__ void concat_backward_vectorised(const T* __restrict__ whole, Parts<T> parts, int64_t rows) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const int64_t total = parts.begin[parts.count];
  for (int k = 0; k < parts.count; ++k) {
    const int64_t C = parts.begin[k + 1] - parts.begin[k];
    const T* const from = whole + row * total + parts.begin[k];
    const Packing<T> packing = packing_of(from, C);
    for (int64_t i = threadIdx.x; i < packing.count; i += 32)
      store_ragged(parts.pointers[k] + row * C, packing.first(i), C, load_ragged(from, packing.first(i), C));
  }
}

int64_t total_of(const Problem& problem) {
  int64_t total = 0;
  for (int64_t k = 0; k < problem.extents[Concat::count]; ++k) total += problem.extents[Concat::C0 + k];
  return total;
}

/// `operands` are those of the parts.
template <class T>
Parts<T> parts_of(const Problem& problem, void* const* operands) {
  Parts<T> parts = {};
  parts.count = static_cast<int>(problem.extents[Concat::count]);
  for (int k = 0; k < parts.count; ++k) {
    parts.pointers[k] = as<T>(operands[k]);
    parts.begin[k + 1] = parts.begin[k] + problem.extents[Concat::C0 + k];
  }
  return parts;
}

void launch_per_part(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Concat::rows], total = total_of(problem);
  with_type(problem.dtype, [&]<class T>() {
    const Parts<const T> parts = parts_of<const T>(problem, operands);
    for (int k = 0; k < parts.count; ++k) {
      const int64_t C = problem.extents[Concat::C0 + k];
      launch(concat_part<T>, {.grid = blocks_for(rows * C, kBlock), .block = kBlock, .stream = stream},
             parts.pointers[k], as<T>(operands[kMax]), rows * C, C, parts.begin[k], total);
    }
  });
}

template <bool kVectorised>
void launch_one(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Concat::rows];
  with_type(problem.dtype, [&]<class T>() {
    launch(kVectorised ? concat_vectorised<T> : concat_warp_per_row<T>,
           {.grid = blocks_for(rows, 8), .block = dim3(32, 8), .stream = stream}, parts_of<const T>(problem, operands),
           as<T>(operands[kMax]), rows);
  });
}

void launch_backward_per_part(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Concat::rows], total = total_of(problem);
  with_type(problem.dtype, [&]<class T>() {
    const Parts<T> parts = parts_of<T>(problem, operands + 1);
    for (int k = 0; k < parts.count; ++k) {
      const int64_t C = problem.extents[Concat::C0 + k];
      launch(concat_backward_part<T>, {.grid = blocks_for(rows * C, kBlock), .block = kBlock, .stream = stream},
             as<const T>(operands[0]), parts.pointers[k], rows * C, C, parts.begin[k], total);
    }
  });
}

template <bool kVectorised>
void launch_backward_one(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Concat::rows];
  with_type(problem.dtype, [&]<class T>() {
    launch(kVectorised ? concat_backward_vectorised<T> : concat_backward_warp_per_row<T>,
           {.grid = blocks_for(rows, 8), .block = dim3(32, 8), .stream = stream}, as<const T>(operands[0]),
           parts_of<T>(problem, operands + 1), rows);
  });
}

constexpr const char* kExtents[] = {"rows", "count", "C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7"};
constexpr Problem kProblems[] = {
    {{1, 1, 1}},
    {{3, 2, 2, 1}},
    {{7, 3, 31, 1, 33}},
    {{65, 2, 5, 7}},
    {{129, 8, 1, 2, 3, 4, 5, 6, 7, 8}},
    {{169, 2, 64, 64}, {}, DType::f32, "squeezenet1_1 fire, 13 x 13"},
    {{50, 4, 64, 128, 32, 32}, {}, DType::f32, "an inception block"},
};
constexpr Rung kRungs[] = {
    {"launch-per-part", "A thread an element, a launch a part.", {.dtypes = kFloats}, launch_per_part},
    {"one-launch",
     "A warp walks a row of the whole through all parts: one launch, no division.",
     {.dtypes = kFloats},
     launch_one<false>},
    {"vectorised", "The same walk, 16 bytes an access.", {.dtypes = kFloats}, launch_one<true>},
};
constexpr Rung kBackwardRungs[] = {
    {"launch-per-part", "A thread an element, a launch a part.", {.dtypes = kFloats}, launch_backward_per_part},
    {"one-launch",
     "A warp walks a row of the whole through all parts: one launch, no division.",
     {.dtypes = kFloats},
     launch_backward_one<false>},
    {"vectorised", "The same walk, 16 bytes an access.", {.dtypes = kFloats}, launch_backward_one<true>},
};

constexpr const char* kParts[] = {"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"};
constexpr const char* kGradients[] = {"dx0", "dx1", "dx2", "dx3", "dx4", "dx5", "dx6", "dx7"};

Operand part(const Problem& p, int k, const char* name, Role role) {
  Operand operand = {name, role, p.dtype, 2, {p.extents[Concat::rows], p.extents[Concat::C0 + k]}};
  operand.present = k < p.extents[Concat::count];
  return operand;
}
Operand whole(const Problem& p, const char* name, Role role) {
  return {name, role, p.dtype, 2, {p.extents[Concat::rows], total_of(p)}};
}

void check_call(const char* op, const Problem& problem) {
  const int64_t count = problem.extents[Concat::count];
  if (count < 1 || count > kMax)
    fail(std::string(op) + ": " + std::to_string(count) + " parts, and there can be 1 to " + std::to_string(kMax));
  require_positive(op, std::span(kExtents, static_cast<std::size_t>(Concat::C0 + count)), problem);
}

double bytes(const Problem& p) {
  return 2 * width(p) * static_cast<double>(p.extents[Concat::rows] * total_of(p));
}

}  // namespace

const Op concat = {
    .name = "concat",
    .formula = "y[n, o_k + c] = x_k[n,c], o_k = C0 + ... + C(k-1); x_k (rows, C_k), y (rows, sum C_k)",
    .peer = nullptr,  // no library has one: frameworks copy
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          Signature signature = {kMax + 1, {}};
          for (int k = 0; k < kMax; ++k) signature.operands[k] = part(p, k, kParts[k], Role::input);
          signature.operands[kMax] = whole(p, "y", Role::output);
          return signature;
        },
    .check = [](const Problem& p) { check_call("concat", p); },
    .reference = reference::concat,
    .flops = [](const Problem&) { return 0.0; },
    .bytes = bytes,
    .bound = {.c = 1},
    .problems = kProblems,
    .rungs = kRungs,
    .exact_on_integers = true,
};

const Op concat_backward = {
    .name = "concat_backward",
    .formula = "dx_k[n,c] = dy[n, o_k + c], o_k = C0 + ... + C(k-1); dy (rows, sum C_k), dx_k (rows, C_k)",
    .peer = nullptr,  // no library has one: frameworks copy
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          Signature signature = {kMax + 1, {}};
          signature.operands[0] = whole(p, "dy", Role::input);
          for (int k = 0; k < kMax; ++k) signature.operands[k + 1] = part(p, k, kGradients[k], Role::output);
          return signature;
        },
    .check = [](const Problem& p) { check_call("concat_backward", p); },
    .reference = reference::concat_backward,
    .flops = [](const Problem&) { return 0.0; },
    .bytes = bytes,
    .bound = {.c = 1},
    .problems = kProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "concat",
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
