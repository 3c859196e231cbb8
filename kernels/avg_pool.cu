// avg_pool: y[n,p,q,c] = 1/d[p,q] * sum over r,s of x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c].
// avg_pool_backward: dx[n,h,w,c] = sum of dy[n,p,q,c] / d[p,q] over the windows that hold (h, w).
// x, dx are (N, H, W, C); y, dy (N, P, Q, C). The divisor d counts padding, but not what hangs over the padded picture
// with ceil_mode: torch's count_include_pad = True.
// R S additions an output; in float32 4 bytes for each input and each output: bound by memory once a window's overlap
// is served by the cache.

#include "kernels/catalogue_ops.h"
#include "kernels/pool.h"
#include "kernels/pool_ladder.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Pool;

/// One pass of the ladder in pool_ladder.h. An output is the formula as written.
template <class T>
struct AverageForward : OneInputPass<T, false> {
  using OneInputPass<T, false>::OneInputPass;

  template <int kVector, class Rows>
  __device__ void at(const Rows& rows, const PicturePixel& pixel, int c) const {
    const PoolShape& shape = this->shape;
    const Range h_range = this->in_rows(pixel.row), w_range = this->in_columns(pixel.column);
    float sums[kVector] = {};
    for (int h = h_range.first; h < h_range.last; ++h) {
#pragma unroll 2  // of four, eight channels' sums and packs do not fit the registers that ptxas allows itself
      for (int w = w_range.first; w < w_range.last; ++w) {
        const Vector<T, kVector> values = rows.template load<kVector>(h, w, c);
#pragma unroll
        for (int v = 0; v < kVector; ++v) sums[v] += to_float(values.values[v]);
      }
    }
    const int divisor = divisor_of_window(pixel.row, shape.H, shape.R, shape.stride_h, shape.pad_h) *
                        divisor_of_window(pixel.column, shape.W, shape.S, shape.stride_w, shape.pad_w);
    Vector<T, kVector> result;
#pragma unroll
    for (int v = 0; v < kVector; ++v) result.values[v] = from_float<T>(sums[v] / static_cast<float>(divisor));
    store_vector(this->to, ((pixel.n * shape.P + pixel.row) * shape.Q + pixel.column) * shape.C + c, result);
  }
};

// One input's gradient: it asks every window that holds it, so that no two threads write one element.
template <class T>
struct AverageBackward : OneInputPass<T, true> {
  using OneInputPass<T, true>::OneInputPass;

  template <int kVector, class Rows>
  __device__ void at(const Rows& rows, const PicturePixel& pixel, int c) const {
    const PoolShape& shape = this->shape;
    const Range p_range = this->in_rows(pixel.row), q_range = this->in_columns(pixel.column);
    float sums[kVector] = {};
    for (int p = p_range.first; p < p_range.last; ++p)
      for (int q = q_range.first; q < q_range.last; ++q) {
        const int divisor = divisor_of_window(p, shape.H, shape.R, shape.stride_h, shape.pad_h) *
                            divisor_of_window(q, shape.W, shape.S, shape.stride_w, shape.pad_w);
        const Vector<T, kVector> values = rows.template load<kVector>(p, q, c);
#pragma unroll
        for (int v = 0; v < kVector; ++v) sums[v] += to_float(values.values[v]) / static_cast<float>(divisor);
      }
    Vector<T, kVector> result;
#pragma unroll
    for (int v = 0; v < kVector; ++v) result.values[v] = from_float<T>(sums[v]);
    store_vector(this->to, ((pixel.n * shape.H + pixel.row) * shape.W + pixel.column) * shape.C + c, result);
  }
};

constexpr const char* kForwardIdea = "A thread an output, its place found by divisions.";
constexpr const char* kBackwardIdea = "A thread an input asks each window that holds it: no atomics.";
constexpr Rung kRungs[] = {
    pool_rung<AverageForward>(0, "thread-per-output", kForwardIdea),
    pool_rung<AverageForward>(1, nullptr, nullptr),
    pool_rung<AverageForward>(2, nullptr, nullptr),
    pool_rung<AverageForward>(3, nullptr, nullptr),
};
constexpr Rung kBackwardRungs[] = {
    pool_rung<AverageBackward>(0, "thread-per-input", kBackwardIdea),
    pool_rung<AverageBackward>(1, nullptr, nullptr),
    pool_rung<AverageBackward>(2, nullptr, nullptr),
    pool_rung<AverageBackward>(3, nullptr, nullptr),
};

}  // namespace

const Op avg_pool = {
    .name = "avg_pool",
    .formula =
        "y[n,p,q,c] = 1/d[p,q] sum_rs x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c]; "
        "x (N, H, W, C), y (N, P, Q, C)",
    .peer = "cudnn:pooling_forward_average",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{2,
                           {{"x", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}},
                            {"y", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { check_pool("avg_pool", p); },
    .reference = reference::avg_pool,
    .flops = [](const Problem& p) { return pool_outputs(p) * pool_window(p); },
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs_met(p) + pool_outputs(p)); },
    .bound = {.c = 2, .terms = [](const Problem& p) { return p.extents[Pool::R] * p.extents[Pool::S]; }},
    .problems = kPoolProblems,
    .rungs = kRungs,
    .choose = choose_pool_rung<false>,
};

const Op avg_pool_backward = {
    .name = "avg_pool_backward",
    .formula =
        "dx[n,h,w,c] = sum of dy[n,p,q,c] / d[p,q] over the windows that hold (h, w); dy (N, P, Q, C), "
        "dx (N, H, W, C)",
    .peer = "cudnn:pooling_backward_average",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{2,
                           {{"dy", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}},
                            {"dx", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { check_pool("avg_pool_backward", p); },
    .reference = reference::avg_pool_backward,
    .flops = [](const Problem& p) { return pool_outputs(p) * pool_window(p); },
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs(p) + pool_outputs(p)); },
    .bound = {.c = 2, .terms = pool_overlap},
    .problems = kPoolProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "avg_pool",
    .choose = choose_pool_rung<true>,
};

}  // namespace weft::WEFT_TARGET
