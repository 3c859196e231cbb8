// softmax: y[n,c] = exp(x[n,c] - m[n]) / s[n], where m[n] = max_c x[n,c] and s[n] = sum_c exp(x[n,c] - m[n]).
// log_softmax: y[n,c] = x[n,c] - m[n] - log(s[n]).   x, y are (rows, C).
// About 5 rows C flops (an exponential counted as one) and 8 rows C bytes in float32: bound by memory. The floor is one
// read and one write of (rows, C). Subtracting the maximum changes nothing in exact arithmetic; in floating point it
// keeps exp from overflowing.
// Both are the same kernels: only the last line, kLog, differs.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/online_softmax.h"
#include "kernels/ops.h"
#include "kernels/reduce.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

constexpr int kWarps = kBlock / 32;

template <bool kLog>
__device__ float normalised(float x, float maximum, float sum) {
  return kLog ? x - maximum - logf(sum) : expf(x - maximum) / sum;
}

// Rung 1, thread-per-row. The formula as written. Neighbouring threads read addresses C elements apart: a warp's
// request is 32 sectors of which it uses 4 bytes each, and `rows` threads are few.
template <class T, bool kLog>
__global__ void softmax_thread_per_row(const T* __restrict__ x, T* __restrict__ y, int64_t rows, int64_t C) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  x += row * C;
  y += row * C;
  float maximum = std::numeric_limits<float>::lowest();
  for (int64_t c = 0; c < C; ++c) maximum = fmaxf(maximum, to_float(x[c]));
  float sum = 0;
  for (int64_t c = 0; c < C; ++c) sum += expf(to_float(x[c]) - maximum);
  for (int64_t c = 0; c < C; ++c) y[c] = from_float<T>(normalised<kLog>(to_float(x[c]), maximum, sum));
}

// Rung 2, warp-per-row. A warp reads its row side by side, so a request is 4 sectors, all of them used; shuffles bring
// the 32 maxima and sums together without shared memory. The row is still read three times: for the maximum, for the
// sum and for the result.
template <class T, bool kLog>
__global__ void softmax_warp_per_row(const T* __restrict__ x, T* __restrict__ y, int64_t rows, int64_t C) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (row >= rows) return;  // the whole warp leaves together
  x += row * C;
  y += row * C;
  float maximum = std::numeric_limits<float>::lowest();
  for (int64_t c = lane; c < C; c += 32) maximum = fmaxf(maximum, to_float(x[c]));
  maximum = warp_max(maximum);
  float sum = 0;
  for (int64_t c = lane; c < C; c += 32) sum += expf(to_float(x[c]) - maximum);
  sum = warp_sum(sum);
  for (int64_t c = lane; c < C; c += 32) y[c] = from_float<T>(normalised<kLog>(to_float(x[c]), maximum, sum));
}

// Rung 3, online. One pass gives the maximum and the sum together (online_softmax.h), a second the result: two reads
// instead of three, which counts where a row is too long for the cache. A block shares a row, so that long rows, of
// which there are few, still have threads enough.
template <class T, bool kLog>
__global__ void softmax_online(const T* __restrict__ x, T* __restrict__ y, int64_t C) {
  x += blockIdx.x * C;
  y += blockIdx.x * C;
  MaxSum row;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) row = append(row, to_float(x[c]));
  row = block_merge(row);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x)
    y[c] = from_float<T>(normalised<kLog>(to_float(x[c]), row.maximum, row.sum));
}

template <bool kLog>
void launch_thread_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_thread_per_row<T, kLog>, {.grid = blocks_for(rows, 64), .block = 64, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), rows, C);
  });
}

template <bool kLog>
void launch_warp_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_warp_per_row<T, kLog>, {.grid = blocks_for(rows, kWarps), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), rows, C);
  });
}

template <bool kLog>
void launch_online(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_online<T, kLog>, {.grid = blocks_for(rows, 1), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), C);
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
    {{9, 127}},
    {{5, 257}},
    {{32, 1000}, {}, DType::f32, "an ImageNet head"},
    {{2, 4099}},
};

template <bool kLog>
constexpr Rung kRungs[] = {
    {"thread-per-row", "The formula as written, a thread a row.", {.dtypes = kFloats}, launch_thread_per_row<kLog>},
    {"warp-per-row",
     "A warp reads a row side by side, so whole sectors are used; shuffles reduce.",
     {.dtypes = kFloats},
     launch_warp_per_row<kLog>},
    {"online",
     "Maximum and sum in one pass, and a block shares a row: two reads instead of three, for long rows.",
     {.dtypes = kFloats},
     launch_online<kLog>},
};

Signature signature(const Problem& p) {
  const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
  return {2, {{"x", Role::input, p.dtype, 2, {rows, C}}, {"y", Role::output, p.dtype, 2, {rows, C}}}};
}

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}
double flops(const Problem& p) {
  return 5 * elements(p);
}
double bytes(const Problem& p) {
  return 2 * width(p) * elements(p);
}
int64_t terms(const Problem& p) {
  return p.extents[Rows::C];
}

// Up to 2048 columns a warp has its row in the L1 cache when it reads it again, and eight rows share a block.
int choose(const Problem& problem, int) {
  return problem.extents[Rows::C] <= 2048 ? 1 : 2;
}

}  // namespace

const Op softmax = {
    .name = "softmax",
    .formula = "y[n,c] = exp(x[n,c] - max_c x[n,:]) / sum_c exp(x[n,c] - max_c x[n,:]); x, y (rows, C)",
    .peer = "cudnn:softmax_forward",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature = signature,
    .check = [](const Problem& p) { require_positive("softmax", kExtents, p); },
    .reference = reference::softmax,
    .flops = flops,
    .bytes = bytes,
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kRungs<false>,
    .choose = choose,
};

const Op log_softmax = {
    .name = "log_softmax",
    .formula = "y[n,c] = x[n,c] - max_c x[n,:] - log sum_c exp(x[n,c] - max_c x[n,:]); x, y (rows, C)",
    .peer = "cudnn:softmax_forward_log",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature = signature,
    .check = [](const Problem& p) { require_positive("log_softmax", kExtents, p); },
    .reference = reference::log_softmax,
    .flops = flops,
    .bytes = bytes,
    .bound = {.c = 4, .terms = terms},
    .problems = kProblems,
    .rungs = kRungs<true>,
    .choose = choose,
};

}  // namespace weft::WEFT_TARGET
