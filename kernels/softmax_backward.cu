// softmax_backward: dx[n,c] = y[n,c] (dy[n,c] - sum_k dy[n,k] y[n,k]).
// log_softmax_backward: dx[n,c] = dy[n,c] - exp(y[n,c]) sum_k dy[n,k].   dy, y, dx are (rows, C).
// Derivation: dy_k/dx_c of the softmax is y_k ([k = c] - y_c), and of its logarithm [k = c] - exp(y_c); sum over k.
// About 4 rows C flops and 12 rows C bytes in float32: bound by memory.
// Both are the same kernels: what is summed, and the last line, differ by kLog.

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

template <bool kLog>
__device__ float term(float dy, float y) {
  return kLog ? dy : dy * y;
}
template <bool kLog>
__device__ float gradient(float dy, float y, float sum) {
  return kLog ? dy - expf(y) * sum : y * (dy - sum);
}

// Rung 1, thread-per-row. Neighbouring threads read addresses C elements apart: 32 sectors a request.
template <class T, bool kLog>
__global__ void softmax_backward_thread_per_row(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                                                int64_t rows, int64_t C) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  float sum = 0;
  for (int64_t i = row * C; i < (row + 1) * C; ++i) sum += term<kLog>(to_float(dy[i]), to_float(y[i]));
  for (int64_t i = row * C; i < (row + 1) * C; ++i)
    dx[i] = from_float<T>(gradient<kLog>(to_float(dy[i]), to_float(y[i]), sum));
}

// Rung 2, warp-per-row. A warp reads the row side by side, 4 sectors a request, and reduces by shuffles.
template <class T, bool kLog>
__global__ void softmax_backward_warp_per_row(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                                              int64_t rows, int64_t C) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;  // the whole warp leaves together
  const int64_t begin = row * C + threadIdx.x % 32, end = (row + 1) * C;
  float sum = 0;
  for (int64_t i = begin; i < end; i += 32) sum += term<kLog>(to_float(dy[i]), to_float(y[i]));
  sum = warp_sum(sum);
  for (int64_t i = begin; i < end; i += 32) dx[i] = from_float<T>(gradient<kLog>(to_float(dy[i]), to_float(y[i]), sum));
}

// Rung 3, block-per-row. Long rows are few, and a warp each leaves the GPU half empty: a block shares one.
template <class T, bool kLog>
__global__ void softmax_backward_block_per_row(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                                               int64_t C) {
  const int64_t begin = blockIdx.x * C + threadIdx.x, end = (int64_t{blockIdx.x} + 1) * C;
  float sum = 0;
  for (int64_t i = begin; i < end; i += blockDim.x) sum += term<kLog>(to_float(dy[i]), to_float(y[i]));
  sum = block_sum(sum);
  for (int64_t i = begin; i < end; i += blockDim.x)
    dx[i] = from_float<T>(gradient<kLog>(to_float(dy[i]), to_float(y[i]), sum));
}

// What the elements of a pack add to the sum. The logarithm's takes nothing from y.
template <bool kLog, class T>
__device__ float terms_of(const Pack<T>& dy, const Pack<T>& y) {
  float sum = 0;
#pragma unroll
  for (int e = 0; e < Pack<T>::kSize; ++e) sum += term<kLog>(to_float(dy.values[e]), to_float(y.values[e]));
  return sum;
}
template <bool kLog, class T>
__device__ Pack<T> gradients_of(Pack<T> dy, const Pack<T>& y, float sum) {
#pragma unroll
  for (int e = 0; e < Pack<T>::kSize; ++e)
    dy.values[e] = from_float<T>(gradient<kLog>(to_float(dy.values[e]), to_float(y.values[e]), sum));
  return dy;
}

// Rung 4, vectorised. 16 bytes a load and a store, wherever the row starts (packs.h): a quarter of the instructions,
// and four times the bytes under way. Both inputs are still read twice.
template <class T, bool kLog>
__global__ void softmax_backward_vectorised(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                                            int64_t C) {
  dy += blockIdx.x * C;
  y += blockIdx.x * C;
  dx += blockIdx.x * C;
  const Packing<T> packing = packing_of(dy, C);
  float sum = 0;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    Pack<T> values = {};
    if (!kLog) values = load_ragged(y, packing.first(k), C);
    sum += terms_of<kLog>(load_ragged(dy, packing.first(k), C), values);
  }
  sum = block_sum(sum);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    const int64_t first = packing.first(k);
    store_ragged(dx, first, C, gradients_of<kLog>(load_ragged(dy, first, C), load_ragged(y, first, C), sum));
  }
}

// Rung 5, shared-resident. The second read was of what the threads had just held. Here each puts its packs into shared
// memory as it adds them up, and finds them there again (kept_row.h): 12 bytes an element in float32 instead of 20. The
// logarithm's sum is of dy alone: dy alone is kept, and y read when the sum is known, so 12 instead of 16. 224 KiB hold
// 28 thousand floats of both, 57 thousand of one.
template <class T, bool kLog>
__global__ void __launch_bounds__(kWideBlock)
    softmax_backward_shared_resident(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int64_t C) {
  dy += blockIdx.x * C;
  y += blockIdx.x * C;
  dx += blockIdx.x * C;
  const Packing<T> packing = packing_of(dy, C);
  Pack<T>*const kept_dy = dynamic_shared<Pack<T>>(), *const kept_y = kept_dy + packing.count;
  float sum = 0;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    Pack<T> values = {};
    if (!kLog) kept_y[k] = values = load_ragged(y, packing.first(k), C);
    kept_dy[k] = load_ragged(dy, packing.first(k), C);
    sum += terms_of<kLog>(kept_dy[k], values);
  }
  sum = block_sum(sum);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    const int64_t first = packing.first(k);
    const Pack<T> values = kLog ? load_ragged(y, first, C) : kept_y[k];
    store_ragged(dx, first, C, gradients_of<kLog>(kept_dy[k], values, sum));
  }
}

// Rung 6, register-resident. Shared memory is one step away still, and a block a row is too much for short ones. A team
// of threads (row_team.h) keeps both rows in registers, all loads under way together.
template <class Team, class T, bool kLog>
__global__ void __launch_bounds__(Team::kBlockThreads)
    softmax_backward_register_resident(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                                       int64_t rows, int64_t C) {
  dy += Team::row() * C;
  y += Team::row() * C;
  dx += Team::row() * C;
  C = Team::length(rows, C);
  const Packing<T> packing = packing_of(dy, C);
  auto held = HeldRow<Team, T>::load(dy, packing, C, 0);
  const auto values = HeldRow<Team, T>::load(y, packing, C, 0);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Team::kHeld; ++i) sum += term<kLog>(held.values[i], values.values[i]);
  sum = Team::sum(sum);
#pragma unroll
  for (int i = 0; i < Team::kHeld; ++i) held.values[i] = gradient<kLog>(held.values[i], values.values[i], sum);
  held.store(dx, packing, C);
}

template <bool kLog>
void launch_thread_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_backward_thread_per_row<T, kLog>, {.grid = blocks_for(rows, 64), .block = 64, .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), rows, C);
  });
}

template <bool kLog>
void launch_warp_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_backward_warp_per_row<T, kLog>,
           {.grid = blocks_for(rows, kWarps), .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<const T>(operands[1]), as<T>(operands[2]), rows, C);
  });
}

template <bool kLog>
void launch_block_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_backward_block_per_row<T, kLog>, {.grid = blocks_for(rows, 1), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), C);
  });
}

template <bool kLog>
void launch_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_backward_vectorised<T, kLog>, {.grid = blocks_for(rows, 1), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), C);
  });
}

// Bytes kept of each element: of y none where the logarithm's gradient is wanted.
template <bool kLog>
double kept_of_element(const Problem& problem) {
  return (kLog ? 1 : 2) * width(problem);
}

template <bool kLog>
bool fits_shared(const Problem& problem) {
  return fits_kept(problem, kept_of_element<kLog>(problem));
}

template <bool kLog>
void launch_shared_resident(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_backward_shared_resident<T, kLog>,
           {.grid = blocks_for(rows, 1),
            .block = kept_block(problem),
            .shared_bytes = kept_shared_bytes(problem, kept_of_element<kLog>(problem)),
            .stream = stream},
           as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), C);
  });
}

template <bool kLog>
void launch_register_resident(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    with_row_team(C, [&]<class Team>() {
      launch(softmax_backward_register_resident<Team, T, kLog>,
             {.grid = blocks_for(rows, Team::kTeams), .block = Team::kBlockThreads, .stream = stream},
             as<const T>(operands[0]), as<const T>(operands[1]), as<T>(operands[2]), rows, C);
    });
  });
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 1}},
    {{3, 2}},
    {{2, 3}},
    {{7, 31}},
    {{33, 7}},
    {{1, 33}},
    {{65, 10}, {}, DType::f32, "lenet's digits"},
    {{11, 101}},
    {{9, 127}},
    {{5, 257}},
    {{32, 1000}, {}, DType::f32, "an ImageNet head"},
    {{2, 4099}},
    {{1, 8191}},
    {{1, 20011}},  // registers do not hold it
    {{1, 50021}},  // nor, in float32, shared memory two of them
};

template <bool kLog>
constexpr Rung kRungs[] = {
    {"thread-per-row", "The formula as written, a thread a row.", {.dtypes = kFloats}, launch_thread_per_row<kLog>},
    {"warp-per-row",
     "A warp reads a row side by side, so whole sectors are used; shuffles reduce.",
     {.dtypes = kFloats},
     launch_warp_per_row<kLog>},
    {"block-per-row",
     "A block shares a row, so that few long rows still fill the GPU.",
     {.dtypes = kFloats},
     launch_block_per_row<kLog>},
    {"vectorised",
     "Loads and stores of 16 bytes, wherever the row starts.",
     {.dtypes = kFloats},
     launch_vectorised<kLog>},
    {"shared-resident",
     "A block keeps in shared memory what it needs again: each input is read once, of long rows too.",
     {.exact_capability = 90, .dtypes = kFloats, .takes = fits_shared<kLog>, .takes_what = kKeptWhat},
     launch_shared_resident<kLog>},
    {"register-resident",
     "A team of threads holds both rows in registers: each is read once.",
     {.dtypes = kFloats, .takes = fits_row_team, .takes_what = "rows that the registers of a block hold"},
     launch_register_resident<kLog>},
};

Signature signature(const Problem& p) {
  const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
  return {3,
          {{"dy", Role::input, p.dtype, 2, {rows, C}},
           {"y", Role::input, p.dtype, 2, {rows, C}, Fill::derived},
           {"dx", Role::output, p.dtype, 2, {rows, C}}}};
}

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}
double flops(const Problem& p) {
  return 4 * elements(p);
}
double bytes(const Problem& p) {
  return 3 * width(p) * elements(p);
}
int64_t terms(const Problem& p) {
  return p.extents[Rows::C];
}

}  // namespace

const Op softmax_backward = {
    .name = "softmax_backward",
    .formula = "dx[n,c] = y[n,c] (dy[n,c] - sum_k dy[n,k] y[n,k]); dy, y, dx (rows, C)",
    .peer = "cudnn:softmax_backward",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature = signature,
    .check = [](const Problem& p) { require_positive("softmax_backward", kExtents, p); },
    .reference = reference::softmax_backward,
    .flops = flops,
    .bytes = bytes,
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kRungs<false>,
    .gradient_of = "softmax",
};

const Op log_softmax_backward = {
    .name = "log_softmax_backward",
    .formula = "dx[n,c] = dy[n,c] - exp(y[n,c]) sum_k dy[n,k]; dy, y, dx (rows, C)",
    .peer = "cudnn:softmax_backward_log",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature = signature,
    .check = [](const Problem& p) { require_positive("log_softmax_backward", kExtents, p); },
    .reference = reference::log_softmax_backward,
    .flops = flops,
    .bytes = bytes,
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kRungs<true>,
    .gradient_of = "log_softmax",
};

}  // namespace weft::WEFT_TARGET
