// avg_pool: y[n,p,q,c] = 1/d[p,q] * sum over r,s of x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c].
// avg_pool_backward: dx[n,h,w,c] = sum of dy[n,p,q,c] / d[p,q] over the windows that hold (h, w).
// x, dx are (N, H, W, C); y, dy (N, P, Q, C). The divisor d counts padding, but not what hangs over the padded picture
// with ceil_mode: torch's count_include_pad = True.
// R S additions an output; in float32 4 bytes for each input and each output: bound by memory once a window's overlap
// is served by the cache.

#include "kernels/catalogue_ops.h"
#include "kernels/launch.h"
#include "kernels/pool.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Pool;

// One output: the formula as written.
template <class T>
__device__ void mean_of_window(const T* x, T* y, const PoolShape& shape, const Pixel& at, int c) {
  const Range h_range = pixels_of_window(at.row, shape.H, shape.R, shape.stride_h, shape.pad_h);
  const Range w_range = pixels_of_window(at.column, shape.W, shape.S, shape.stride_w, shape.pad_w);
  float sum = 0;
  for (int h = h_range.first; h < h_range.last; ++h)
    for (int w = w_range.first; w < w_range.last; ++w)
      sum += to_float(x[((at.n * shape.H + h) * shape.W + w) * shape.C + c]);
  const int divisor = divisor_of_window(at.row, shape.H, shape.R, shape.stride_h, shape.pad_h) *
                      divisor_of_window(at.column, shape.W, shape.S, shape.stride_w, shape.pad_w);
  y[((at.n * shape.P + at.row) * shape.Q + at.column) * shape.C + c] = from_float<T>(sum / static_cast<float>(divisor));
}

// One input's gradient: it asks every window that holds it, so that no two threads write one element.
template <class T>
__device__ void gradient_of_pixel(const T* dy, T* dx, const PoolShape& shape, const Pixel& at, int c) {
  const Range p_range = windows_of_pixel(at.row, shape.P, shape.R, shape.stride_h, shape.pad_h);
  const Range q_range = windows_of_pixel(at.column, shape.Q, shape.S, shape.stride_w, shape.pad_w);
  float sum = 0;
  for (int p = p_range.first; p < p_range.last; ++p)
    for (int q = q_range.first; q < q_range.last; ++q) {
      const int divisor = divisor_of_window(p, shape.H, shape.R, shape.stride_h, shape.pad_h) *
                          divisor_of_window(q, shape.W, shape.S, shape.stride_w, shape.pad_w);
      sum += to_float(dy[((at.n * shape.P + p) * shape.Q + q) * shape.C + c]) / static_cast<float>(divisor);
    }
  dx[((at.n * shape.H + at.row) * shape.W + at.column) * shape.C + c] = from_float<T>(sum);
}

// Rung 1, thread-per-output (backward: per input). Coalesced, since channels are innermost, but every thread takes its
// index apart with 64-bit divisions.
template <class T>
__global__ void avg_pool_thread_per_output(const T* __restrict__ x, T* __restrict__ y, PoolShape shape) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= shape.N * shape.P * shape.Q * shape.C) return;
  mean_of_window(x, y, shape, pixel_at(i / shape.C, shape.P, shape.Q), static_cast<int>(i % shape.C));
}

template <class T>
__global__ void avg_pool_backward_thread_per_input(const T* __restrict__ dy, T* __restrict__ dx, PoolShape shape) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= shape.N * shape.H * shape.W * shape.C) return;
  gradient_of_pixel(dy, dx, shape, pixel_at(i / shape.C, shape.H, shape.W), static_cast<int>(i % shape.C));
}

// Rung 2, warp-per-pixel. A warp takes one pixel and walks its channels 32 at a time: the divisions, the window's edges
// and the divisor are the same for the whole warp and are paid once for all channels.
template <class T>
__global__ void avg_pool_warp_per_pixel(const T* __restrict__ x, T* __restrict__ y, PoolShape shape) {
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= shape.N * shape.P * shape.Q) return;
  const Pixel at = pixel_at(pixel, shape.P, shape.Q);
  for (int c = static_cast<int>(threadIdx.x); c < shape.C; c += 32) mean_of_window(x, y, shape, at, c);
}

template <class T>
__global__ void avg_pool_backward_warp_per_pixel(const T* __restrict__ dy, T* __restrict__ dx, PoolShape shape) {
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= shape.N * shape.H * shape.W) return;
  const Pixel at = pixel_at(pixel, shape.H, shape.W);
  for (int c = static_cast<int>(threadIdx.x); c < shape.C; c += 32) gradient_of_pixel(dy, dx, shape, at, c);
}

void launch_thread_per_output(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(avg_pool_thread_per_output<T>,
           {.grid = blocks_for(shape.N * shape.P * shape.Q * shape.C, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), shape);
  });
}

void launch_warp_per_pixel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(avg_pool_warp_per_pixel<T>,
           {.grid = blocks_for(shape.N * shape.P * shape.Q, 8), .block = dim3(32, 8), .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), shape);
  });
}

void launch_backward_thread_per_input(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(avg_pool_backward_thread_per_input<T>,
           {.grid = blocks_for(shape.N * shape.H * shape.W * shape.C, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), shape);
  });
}

void launch_backward_warp_per_pixel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(avg_pool_backward_warp_per_pixel<T>,
           {.grid = blocks_for(shape.N * shape.H * shape.W, 8), .block = dim3(32, 8), .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), shape);
  });
}

constexpr Rung kRungs[] = {
    {"thread-per-output",
     "A thread an output, its place found by divisions.",
     {.dtypes = kFloats},
     launch_thread_per_output},
    {"warp-per-pixel",
     "A warp walks the channels of an output pixel, so that the divisions are paid once for all of them.",
     {.dtypes = kFloats},
     launch_warp_per_pixel},
};
constexpr Rung kBackwardRungs[] = {
    {"thread-per-input",
     "A thread an input asks each window that holds it: no atomics.",
     {.dtypes = kFloats},
     launch_backward_thread_per_input},
    {"warp-per-pixel",
     "A warp walks the channels of an input pixel, so that the divisions are paid once for all of them.",
     {.dtypes = kFloats},
     launch_backward_warp_per_pixel},
};

int choose(const Problem& problem, int) {
  return fills_a_warp(problem) ? 1 : 0;
}

double bytes(const Problem& p) {
  return width(p) * (pool_inputs(p) + pool_outputs(p));
}

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
    .bytes = bytes,
    .bound = {.c = 2, .terms = [](const Problem& p) { return p.extents[Pool::R] * p.extents[Pool::S]; }},
    .problems = kPoolProblems,
    .rungs = kRungs,
    .choose = choose,
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
    .bytes = bytes,
    .bound = {.c = 2, .terms = pool_overlap},
    .problems = kPoolProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "avg_pool",
    .choose = choose,
};

}  // namespace weft::WEFT_TARGET
