// global_avg_pool: y[n,c] = 1/(H W) * sum over h,w of x[n,h,w,c].   global_avg_pool_backward: dx[n,h,w,c] =
// dy[n,c] / (H W).   x, dx are (N, H, W, C); y, dy (N, C).
// N H W C flops each; in float32 4 bytes for each element of x: bound by memory.

#include "kernels/catalogue_ops.h"
#include "kernels/channels.h"
#include "kernels/column_sums.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Pool;

// Rung 1, thread-per-channel. A thread adds up one channel of one picture. Neighbouring threads read neighbouring
// channels, so requests are whole; but a thread waits for one 4-byte load after another, 49 of them for a 7 x 7
// picture, and N C threads are few.
template <class T>
__global__ void global_avg_pool_thread_per_channel(const T* __restrict__ x, T* __restrict__ y, int64_t outputs,
                                                   int64_t pixels, int64_t C) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= outputs) return;
  const T* column = x + i / C * pixels * C + i % C;
  float sum = 0;
  for (int64_t hw = 0; hw < pixels; ++hw) sum += to_float(column[hw * C]);
  y[i] = from_float<T>(sum / static_cast<float>(pixels));
}

// Rung 2, rows-in-step. A block of 32 x 8 threads takes 32 channels of a picture, eight pixels at a time: eight times
// the threads, an eighth of the waiting. Shared memory brings the eight sums together.
template <class T>
__global__ void global_avg_pool_rows_in_step(const T* __restrict__ x, T* __restrict__ y, int64_t groups, int64_t pixels,
                                             int64_t C) {
  const int64_t n = blockIdx.x / groups;
  const int64_t c = blockIdx.x % groups * kColumns + threadIdx.x;
  float sum = 0;
  if (c < C)
    for (int64_t hw = threadIdx.y; hw < pixels; hw += kRows) sum += to_float(x[(n * pixels + hw) * C + c]);
  sum = sum_over_rows(sum);
  if (threadIdx.y == 0 && c < C) y[n * C + c] = from_float<T>(sum / static_cast<float>(pixels));
}

// Backward, rung 1, scalar. A thread an element, its picture and channel by two 64-bit divisions.
template <class T>
__global__ void global_avg_pool_backward_scalar(const T* __restrict__ dy, T* __restrict__ dx, int64_t inputs,
                                                int64_t pixels, int64_t C) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= inputs) return;
  dx[i] = from_float<T>(to_float(dy[i / C / pixels * C + i % C]) / static_cast<float>(pixels));
}

// Backward, rung 2, warp-per-pixel. A warp walks the channels of one pixel: one division for all of them, and no
// remainder.
template <class T>
__global__ void global_avg_pool_backward_warp_per_pixel(const T* __restrict__ dy, T* __restrict__ dx, int64_t N,
                                                        int64_t pixels, int64_t C) {
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= N * pixels) return;
  const T* from = dy + pixel / pixels * C;
  for (int64_t c = threadIdx.x; c < C; c += 32)
    dx[pixel * C + c] = from_float<T>(to_float(from[c]) / static_cast<float>(pixels));
}

// Rung 3, vectorised. A thread takes 16 bytes of channels, four pixels under way at once: eight lanes make 128 bytes of
// a pixel, and 32 pixels are added at a time. Shuffles and shared memory bring a channel's sums together in a fixed
// order.
template <class T, int kVector>
__global__ void __launch_bounds__(kBlock)
    global_avg_pool_vectors(const T* __restrict__ x, T* __restrict__ y, int64_t groups, int64_t pixels, int64_t C,
                            int lanes) {
  constexpr int kUnderWay = 4;
  const int64_t n = blockIdx.x / groups, group = blockIdx.x % groups;
  const Place at = place_of_thread<kVector>(lanes, group, C);
  const int mine = rows_of_thread(at, 0, pixels);
  const int64_t first = (n * pixels + at.row) * C + at.channel, step = at.rows_at_once * C;
  float sums[1][kVector] = {};
  for (int k = 0; k < mine; k += kUnderWay) {
    Vector<T, kVector> values[kUnderWay] = {};
#pragma unroll
    for (int j = 0; j < kUnderWay; ++j)
      if (k + j < mine) values[j] = load_vector<kVector>(x, first + (k + j) * step);
#pragma unroll
    for (int j = 0; j < kUnderWay; ++j)
#pragma unroll
      for (int v = 0; v < kVector; ++v) sums[0][v] += to_float(values[j].values[v]);
  }
  float total[1];
  sum_over_block_rows(sums, lanes, total);
  const int own = static_cast<int>(threadIdx.x);
  const int64_t channel = group * lanes * kVector + own;
  if (own < lanes * kVector && channel < C) y[n * C + channel] = from_float<T>(total[0] / static_cast<float>(pixels));
}

// Backward, rung 3, vectorised. Rung 2 reads dy again for every pixel and divides for every element, which doubles the
// bytes that are asked for. Here a block reads 128 bytes of dy, 32 channels or 64, once, divides once, and a thread
// writes the same 16 bytes to every 32nd pixel of the picture.
template <class T, int kVector>
__global__ void __launch_bounds__(kBlock)
    global_avg_pool_backward_vectors(const T* __restrict__ dy, T* __restrict__ dx, int64_t groups, int64_t pixels,
                                     int64_t C, int lanes) {
  __shared__ float quotients[kMostChannels];
  const int64_t n = blockIdx.x / groups, group = blockIdx.x % groups;
  const Place at = place_of_thread<kVector>(lanes, group, C);
  const int own = static_cast<int>(threadIdx.x);
  const int64_t channel = group * lanes * kVector + own;
  if (own < lanes * kVector && channel < C) quotients[own] = to_float(dy[n * C + channel]) / static_cast<float>(pixels);
  __syncthreads();
  const int mine = rows_of_thread(at, 0, pixels);
  Vector<T, kVector> gradient;
  for (int v = 0; v < kVector; ++v) gradient.values[v] = from_float<T>(quotients[own % lanes * kVector + v]);
  for (int k = 0; k < mine; ++k)
    store_vector(dx, (n * pixels + at.row + k * at.rows_at_once) * C + at.channel, gradient);
}

struct Shape {
  int64_t N, pixels, C;
};
Shape shape_of(const Problem& p) {
  return {p.extents[Pool::N], p.extents[Pool::H] * p.extents[Pool::W], p.extents[Pool::C]};
}

void launch_thread_per_channel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const Shape shape = shape_of(problem);
  const int64_t outputs = shape.N * shape.C;
  with_type(problem.dtype, [&]<class T>() {
    launch(global_avg_pool_thread_per_channel<T>, {.grid = blocks_for(outputs, 64), .block = 64, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), outputs, shape.pixels, shape.C);
  });
}

void launch_rows_in_step(const Problem& problem, void* const* operands, void*, Stream stream) {
  const Shape shape = shape_of(problem);
  const int64_t groups = ceil_div(shape.C, kColumns);
  with_type(problem.dtype, [&]<class T>() {
    launch(global_avg_pool_rows_in_step<T>,
           {.grid = blocks_for(shape.N * groups, 1), .block = dim3(kColumns, kRows), .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), groups, shape.pixels, shape.C);
  });
}

void launch_backward_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const Shape shape = shape_of(problem);
  const int64_t inputs = shape.N * shape.pixels * shape.C;
  with_type(problem.dtype, [&]<class T>() {
    launch(global_avg_pool_backward_scalar<T>, {.grid = blocks_for(inputs, kBlock), .block = kBlock, .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), inputs, shape.pixels, shape.C);
  });
}

void launch_backward_warp_per_pixel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const Shape shape = shape_of(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(global_avg_pool_backward_warp_per_pixel<T>,
           {.grid = blocks_for(shape.N * shape.pixels, 8), .block = dim3(32, 8), .stream = stream},
           as<const T>(operands[0]), as<T>(operands[1]), shape.N, shape.pixels, shape.C);
  });
}

/// Of kernels whose blocks take up to eight packs of one picture's channels.
void launch_groups(const Problem& problem, void* const* operands, Stream stream, bool backward) {
  const Shape shape = shape_of(problem);
  with_vector(problem.dtype, shape.C, [&]<class T, int kVector>() {
    const int64_t packs = shape.C / kVector;
    const int lanes = lanes_for(packs, kVector == 1 ? 32 : 8);
    const int64_t groups = ceil_div(packs, lanes);
    launch(backward ? global_avg_pool_backward_vectors<T, kVector> : global_avg_pool_vectors<T, kVector>,
           {.grid = blocks_for(shape.N * groups, 1), .block = kBlock, .stream = stream}, as<const T>(operands[0]),
           as<T>(operands[1]), groups, shape.pixels, shape.C, lanes);
  });
}

void launch_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  launch_groups(problem, operands, stream, false);
}
void launch_backward_vectorised(const Problem& problem, void* const* operands, void*, Stream stream) {
  launch_groups(problem, operands, stream, true);
}

constexpr const char* kExtents[] = {"N", "H", "W", "C"};
constexpr Problem kProblems[] = {
    {{1, 1, 1, 1}},
    {{2, 1, 1, 33}, {}, DType::f32, "1 x 1 pictures"},
    {{3, 2, 3, 7}},
    {{2, 7, 5, 31}},
    {{1, 13, 11, 65}},
    {{2, 7, 7, 512}, {}, DType::f32, "resnet18 avgpool"},
    {{1, 13, 13, 1000}, {}, DType::f32, "squeezenet1_1 classifier"},
};
constexpr Rung kRungs[] = {
    {"thread-per-channel",
     "A thread adds up one channel of one picture.",
     {.dtypes = kFloats},
     launch_thread_per_channel},
    {"rows-in-step",
     "Eight threads share a channel's pixels, so that eight loads are under way instead of one.",
     {.dtypes = kFloats},
     launch_rows_in_step},
    {"vectorised",
     "16 bytes an instruction and four pixels under way at once; 32 pixels are added at a time.",
     {.dtypes = kFloats, .alignment = 16},
     launch_vectorised},
};
constexpr Rung kBackwardRungs[] = {
    {"scalar", "A thread an element, its place found by divisions.", {.dtypes = kFloats}, launch_backward_scalar},
    {"warp-per-pixel",
     "A warp walks the channels of a pixel: one division for all of them.",
     {.dtypes = kFloats},
     launch_backward_warp_per_pixel},
    {"vectorised",
     "A block reads a picture's dy once, divides once, and writes 16 bytes an instruction to every pixel.",
     {.dtypes = kFloats, .alignment = 16},
     launch_backward_vectorised},
};

double inputs_of(const Problem& p) {
  const Shape shape = shape_of(p);
  return static_cast<double>(shape.N * shape.pixels * shape.C);
}

double bytes(const Problem& p) {
  const Shape shape = shape_of(p);
  return width(p) * static_cast<double>(shape.N * shape.C * (shape.pixels + 1));
}

}  // namespace

const Op global_avg_pool = {
    .name = "global_avg_pool",
    .formula = "y[n,c] = 1/(H W) sum_hw x[n,h,w,c]; x (N, H, W, C), y (N, C)",
    .peer = "cudnn:reduce_tensor_average",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{2,
                           {{"x", Role::input, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}},
                            {"y", Role::output, p.dtype, 2, {e[Pool::N], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { require_positive("global_avg_pool", kExtents, p); },
    .reference = reference::global_avg_pool,
    .flops = inputs_of,
    .bytes = bytes,
    .bound = {.c = 2, .terms = [](const Problem& p) { return shape_of(p).pixels; }},
    .problems = kProblems,
    .rungs = kRungs,
};

const Op global_avg_pool_backward = {
    .name = "global_avg_pool_backward",
    .formula = "dx[n,h,w,c] = dy[n,c] / (H W); dy (N, C), dx (N, H, W, C)",
    .peer = "cudnn:pooling_backward_average_global",
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t* e = p.extents;
          return Signature{2,
                           {{"dy", Role::input, p.dtype, 2, {e[Pool::N], e[Pool::C]}},
                            {"dx", Role::output, p.dtype, 4, {e[Pool::N], e[Pool::H], e[Pool::W], e[Pool::C]}}}};
        },
    .check = [](const Problem& p) { require_positive("global_avg_pool_backward", kExtents, p); },
    .reference = reference::global_avg_pool_backward,
    .flops = inputs_of,
    .bytes = bytes,
    .bound = {.c = 2},
    .problems = kProblems,
    .rungs = kBackwardRungs,
    .gradient_of = "global_avg_pool",
};

}  // namespace weft::WEFT_TARGET
