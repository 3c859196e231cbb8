// softmax: y[n,c] = exp(x[n,c] - m[n]) / s[n], where m[n] = max_c x[n,c] and s[n] = sum_c exp(x[n,c] - m[n]).
// log_softmax: y[n,c] = x[n,c] - m[n] - log(s[n]).   x, y are (rows, C).
// About 5 rows C flops (an exponential counted as one) and 8 rows C bytes in float32: bound by memory. The floor is one
// read and one write of (rows, C). Subtracting the maximum changes nothing in exact arithmetic; in floating point it
// keeps exp from overflowing.
// Both are the same kernels: only the last line, kLog, differs.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/kept_row.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/online_softmax.h"
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

// Rung 3, block-per-row. Long rows are few, and a warp each leaves the GPU half empty: 132 SMs have room for 8,448
// warps. A block shares a row, eight times the threads and the bytes under way; what the warps found goes through
// shared memory. Three reads still, and a short row now waits at two barriers where a warp needed none.
template <class T, bool kLog>
__global__ void softmax_block_per_row(const T* __restrict__ x, T* __restrict__ y, int64_t C) {
  x += blockIdx.x * C;
  y += blockIdx.x * C;
  float maximum = std::numeric_limits<float>::lowest();
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) maximum = fmaxf(maximum, to_float(x[c]));
  maximum = block_max(maximum);
  float sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) sum += expf(to_float(x[c]) - maximum);
  sum = block_sum(sum);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x)
    y[c] = from_float<T>(normalised<kLog>(to_float(x[c]), maximum, sum));
}

// Rung 4, online. One pass gives the maximum and the sum together (online_softmax.h), a second the result: two reads
// instead of three, which counts where a row is too long for the cache; and the warps come together once, not twice.
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

// Rung 5, vectorised. The online rung issues a load for every 4 bytes, twice over the row. Here each is of 16 bytes,
// and a pack is appended with one rescaling of the sum instead of four. Rows start at any address (C need not be a
// multiple of 4): packs lie on multiples of 16, and the first and the last of a row are taken element by element
// (packs.h).
template <class T, bool kLog>
__global__ void softmax_vectorised(const T* __restrict__ x, T* __restrict__ y, int64_t C) {
  x += blockIdx.x * C;
  y += blockIdx.x * C;
  const Packing<T> packing = packing_of(x, C);
  MaxSum row;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x)
    row = append(row, load_ragged(x, packing.first(k), C, -INFINITY));
  row = block_merge(row);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    Pack<T> pack = load_ragged(x, packing.first(k), C);
    for (T& value : pack.values) value = from_float<T>(normalised<kLog>(to_float(value), row.maximum, row.sum));
    store_ragged(y, packing.first(k), C, pack);
  }
}

// Rung 6, shared-resident. The second read was of what the threads had just held. Here each puts its packs into shared
// memory as it appends them, and finds them there again (kept_row.h): one read and one write, the floor, for rows of up
// to 57 thousand floats. A thread reads back only what it wrote itself, so no barrier is needed beyond that of the sum.
// What it costs: a long row has an SM for itself, whose memory pipe rests while the row's sum is brought together.
template <class T, bool kLog>
__global__ void __launch_bounds__(kWideBlock)
    softmax_shared_resident(const T* __restrict__ x, T* __restrict__ y, int64_t C) {
  Pack<T>* const kept = dynamic_shared<Pack<T>>();
  x += blockIdx.x * C;
  y += blockIdx.x * C;
  const Packing<T> packing = packing_of(x, C);
  MaxSum row;
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    kept[k] = load_ragged(x, packing.first(k), C, -INFINITY);
    row = append(row, kept[k]);
  }
  row = block_merge(row);
  for (int64_t k = threadIdx.x; k < packing.count; k += blockDim.x) {
    Pack<T> pack = kept[k];
    for (T& value : pack.values) value = from_float<T>(normalised<kLog>(to_float(value), row.maximum, row.sum));
    store_ragged(y, packing.first(k), C, pack);
  }
}

// Rung 7, register-resident. Shared memory is one step away still, and a block a row is too much for short ones. A team
// (two lanes for a few columns, a warp up to about 1000, a block up to 16000) keeps its row in registers: all loads are
// under way together, and maximum, sum and result are found without another access. Each element's exponential is
// computed once, by its thread's own maximum, and scaled to the row's.
template <class Team, class T, bool kLog>
__global__ void __launch_bounds__(Team::kBlockThreads)
    softmax_register_resident(const T* __restrict__ x, T* __restrict__ y, int64_t rows, int64_t C) {
  x += Team::row() * C;
  y += Team::row() * C;
  C = Team::length(rows, C);
  const Packing<T> packing = packing_of(x, C);
  auto held = HeldRow<Team, T>::load(x, packing, C, -INFINITY);
  MaxSum mine;
#pragma unroll
  for (const float value : held.values) mine.maximum = fmaxf(mine.maximum, value);
#pragma unroll
  for (float& value : held.values) {
    const float exponential = expf(value - mine.maximum);
    mine.sum += exponential;
    if (!kLog) value = exponential;
  }
  const MaxSum row = Team::merge(mine);
  const float scale = expf(mine.maximum - row.maximum) / row.sum, log_sum = logf(row.sum);
#pragma unroll
  for (float& value : held.values) value = kLog ? value - row.maximum - log_sum : value * scale;
  held.store(y, packing, C);
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
void launch_block_per_row(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_block_per_row<T, kLog>, {.grid = blocks_for(rows, 1), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), C);
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

template <bool kLog>
void launch_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_vectorised<T, kLog>, {.grid = blocks_for(rows, 1), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), C);
  });
}

bool fits_shared(const Problem& problem) {
  return fits_kept(problem, width(problem));
}

template <bool kLog>
void launch_shared_resident(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    launch(softmax_shared_resident<T, kLog>,
           {.grid = blocks_for(rows, 1),
            .block = kept_block(problem),
            .shared_bytes = kept_shared_bytes(problem, width(problem)),
            .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), C);
  });
}

template <bool kLog>
void launch_register_resident(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t rows = problem.extents[Rows::rows], C = problem.extents[Rows::C];
  with_type(problem.dtype, [&]<class T>() {
    with_row_team(C, [&]<class Team>() {
      launch(softmax_register_resident<Team, T, kLog>,
             {.grid = blocks_for(rows, Team::kTeams), .block = Team::kBlockThreads, .stream = stream},
             as<const T>(operands[0]), as<T>(operands[1]), rows, C);
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
    {{1, 20011}},
    {{1, 50021}},  // more shared memory than a GPU of 12.0 has
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
    {"online",
     "Maximum and sum in one pass: two reads of a row instead of three.",
     {.dtypes = kFloats},
     launch_online<kLog>},
    {"vectorised",
     "Loads and stores of 16 bytes, wherever the row starts, and one rescaling a pack.",
     {.dtypes = kFloats},
     launch_vectorised<kLog>},
    {"shared-resident",
     "A block keeps the row in shared memory: one read and one write, for long rows too.",
     {.exact_capability = 90, .dtypes = kFloats, .takes = fits_shared, .takes_what = kKeptWhat},
     launch_shared_resident<kLog>},
    {"register-resident",
     "A team of threads holds the row in registers, all loads under way at once.",
     {.dtypes = kFloats, .takes = fits_row_team, .takes_what = "rows that the registers of a block hold"},
     launch_register_resident<kLog>},
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
};

}  // namespace weft::WEFT_TARGET
