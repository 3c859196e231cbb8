// max_pool: y[n,p,q,c] = max over r,s of x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c], and
// index[n,p,q,c] = h W + w of that maximum.   max_pool_backward: dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows
// whose index is h W + w.   x, dx are (N, H, W, C); y, dy, index (N, P, Q, C).
// R S comparisons an output; in float32 4 bytes for each input and 8 for each output: bound by memory once a window's
// overlap is served by the cache. The floor is one read of x and one write of y and of index.
// As torch has it: padding is minus infinity, the first of equal maxima wins, and a NaN beats everything.

#include "kernels/catalogue_ops.h"
#include "kernels/launch.h"
#include "kernels/pool.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Pool;

// One output: the formula as written.
template <class T>
__device__ void max_of_window(const T* x, T* y, int32_t* index, const PoolShape& shape, const Pixel& at, int c) {
  const Range h_range = pixels_of_window(at.row, shape.H, shape.R, shape.stride_h, shape.pad_h);
  const Range w_range = pixels_of_window(at.column, shape.W, shape.S, shape.stride_w, shape.pad_w);
  float best = -INFINITY;
  int where = h_range.first * shape.W + w_range.first;
  for (int h = h_range.first; h < h_range.last; ++h)
    for (int w = w_range.first; w < w_range.last; ++w) {
      const float value = to_float(x[((at.n * shape.H + h) * shape.W + w) * shape.C + c]);
      if (value > best || value != value) {
        best = value;
        where = h * shape.W + w;
      }
    }
  const int64_t to = ((at.n * shape.P + at.row) * shape.Q + at.column) * shape.C + c;
  y[to] = from_float<T>(best);
  index[to] = where;
}

// One input's gradient: it asks every window that holds it. Gathering this way, a thread writes its own element once;
// the other way round, windows that overlap would need atomics, whose order changes the bits.
template <class T>
__device__ void gradient_of_pixel(const T* dy, const int32_t* index, T* dx, const PoolShape& shape, const Pixel& at,
                                  int c) {
  const Range p_range = windows_of_pixel(at.row, shape.P, shape.R, shape.stride_h, shape.pad_h);
  const Range q_range = windows_of_pixel(at.column, shape.Q, shape.S, shape.stride_w, shape.pad_w);
  const int me = at.row * shape.W + at.column;
  float sum = 0;
  for (int p = p_range.first; p < p_range.last; ++p)
    for (int q = q_range.first; q < q_range.last; ++q) {
      const int64_t from = ((at.n * shape.P + p) * shape.Q + q) * shape.C + c;
      if (index[from] == me) sum += to_float(dy[from]);
    }
  dx[((at.n * shape.H + at.row) * shape.W + at.column) * shape.C + c] = from_float<T>(sum);
}

// Rung 1, thread-per-output. Channels are innermost, so neighbouring threads read neighbouring addresses. But each
// thread takes its index apart with 64-bit divisions, which cost more than the nine comparisons of a 3 x 3 window.
template <class T>
__global__ void max_pool_thread_per_output(const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ index,
                                           PoolShape shape) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= shape.N * shape.P * shape.Q * shape.C) return;
  max_of_window(x, y, index, shape, pixel_at(i / shape.C, shape.P, shape.Q), static_cast<int>(i % shape.C));
}

template <class T>
__global__ void max_pool_backward_thread_per_input(const T* __restrict__ dy, const int32_t* __restrict__ index,
                                                   T* __restrict__ dx, PoolShape shape) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= shape.N * shape.H * shape.W * shape.C) return;
  gradient_of_pixel(dy, index, dx, shape, pixel_at(i / shape.C, shape.H, shape.W), static_cast<int>(i % shape.C));
}

// Rung 2, warp-per-pixel. A warp takes one output pixel and walks its channels 32 at a time: the divisions, the
// window's edges and the branches are the same for the whole warp and are paid once for all channels.
template <class T>
__global__ void max_pool_warp_per_pixel(const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ index,
                                        PoolShape shape) {
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= shape.N * shape.P * shape.Q) return;
  const Pixel at = pixel_at(pixel, shape.P, shape.Q);
  for (int c = static_cast<int>(threadIdx.x); c < shape.C; c += 32) max_of_window(x, y, index, shape, at, c);
}

template <class T>
__global__ void max_pool_backward_warp_per_pixel(const T* __restrict__ dy, const int32_t* __restrict__ index,
                                                 T* __restrict__ dx, PoolShape shape) {
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= shape.N * shape.H * shape.W) return;
  const Pixel at = pixel_at(pixel, shape.H, shape.W);
  for (int c = static_cast<int>(threadIdx.x); c < shape.C; c += 32) gradient_of_pixel(dy, index, dx, shape, at, c);
}

void launch_thread_per_output(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(max_pool_thread_per_output<T>,
           {.grid = blocks_for(shape.N * shape.P * shape.Q * shape.C, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), as<int32_t>(operands[2]), shape);
  });
}

void launch_warp_per_pixel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(max_pool_warp_per_pixel<T>,
           {.grid = blocks_for(shape.N * shape.P * shape.Q, 8), .block = dim3(32, 8), .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), as<int32_t>(operands[2]), shape);
  });
}

void launch_backward_thread_per_input(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(max_pool_backward_thread_per_input<T>,
           {.grid = blocks_for(shape.N * shape.H * shape.W * shape.C, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<const int32_t>(operands[1]), as<T>(operands[2]), shape);
  });
}

void launch_backward_warp_per_pixel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const PoolShape shape = pool_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(max_pool_backward_warp_per_pixel<T>,
           {.grid = blocks_for(shape.N * shape.H * shape.W, 8), .block = dim3(32, 8), .stream = stream},
           as<const T>(operands[0]), as<const int32_t>(operands[1]), as<T>(operands[2]), shape);
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

}  // namespace

const Op max_pool = {
    .name = "max_pool",
    .formula =
        "y[n,p,q,c] = max_rs x[n, p stride_h - pad_h + r, q stride_w - pad_w + s, c]; x (N, H, W, C), "
        "y, index (N, P, Q, C)",
    .peer = "cudnn:pooling_forward_max",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{
              3,
              {{"x", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}, Fill::distinct},
               {"y", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}},
               {"index", Role::output, DType::i32, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { check_pool("max_pool", p); },
    .reference = reference::max_pool,
    .flops = [](const Problem& p) { return pool_outputs(p) * pool_window(p); },
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs(p) + pool_outputs(p)) + 4 * pool_outputs(p); },
    .bound = {.c = 1},
    .problems = kPoolProblems,
    .rungs = kRungs,
    .choose = choose,
    .exact_on_integers = true,
};

const Op max_pool_backward = {
    .name = "max_pool_backward",
    .formula =
        "dx[n,h,w,c] = sum of dy[n,p,q,c] where index[n,p,q,c] = h W + w; dy, index (N, P, Q, C), "
        "dx (N, H, W, C)",
    .peer = "cudnn:pooling_backward_max",
    .extent_names = kPoolExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{
              3,
              {{"dy", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}},
               {"index", Role::input, DType::i32, 4, {e[Pool::N], e[Pool::P], e[Pool::Q], e[Pool::C]}, Fill::derived},
               {"dx", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { check_pool("max_pool_backward", p); },
    .reference = reference::max_pool_backward,
    .flops = pool_outputs,
    .bytes = [](const Problem& p) { return width(p) * (pool_inputs(p) + pool_outputs(p)) + 4 * pool_outputs(p); },
    .bound = {.c = 2, .terms = pool_overlap},
    .problems = kPoolProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "max_pool",
    .choose = choose,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
