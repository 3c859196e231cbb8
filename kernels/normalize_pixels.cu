// normalize_pixels: y[n,c] = (x[n,c] / 255 - mean[c]) / std[c].   x uint8, y (rows, C); mean, std float32 (C).
// Decoded pictures, dense NHWC, become a network's input: rows are pictures times pixels, C is 3 or 1. Sent to the
// device as bytes they are a quarter of what floats would be. 2 rows C flops; x is 1 byte an element and y 4, or 2 in
// bfloat16: bound by memory. For programs that send pictures as bytes: the loader in data/ normalises on the host,
// where it decodes, so no graph of Weft's own holds this op.

#include "kernels/catalogue_ops.h"
#include "kernels/channel_walk.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Rows;

// Rung 1, scalar. A thread an element, as the formula says. A warp loads 32 bytes, a single sector, an instruction; and
// each element costs a 64-bit division for its channel, two more of floats, and two loads of what its channel has.
template <class T>
__global__ void normalize_scalar(const uint8_t* __restrict__ x, const float* __restrict__ mean,
                                 const float* __restrict__ std, T* __restrict__ y, int64_t n, int64_t C) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int64_t c = i % C;
  y[i] = from_float<T>((static_cast<float>(x[i]) / 255 - mean[c]) / std[c]);
}

/// As many pixels as a pack of y has elements: one load of 4 bytes, or of 8.
template <class T>
struct alignas(Pack<T>::kSize) Pixels {
  uint8_t values[Pack<T>::kSize];
};

template <class T>
__device__ Pixels<T> load_pixels(const uint8_t* x, int64_t first, int64_t n) {
  constexpr int kSize = Pack<T>::kSize;
  if (first >= 0 && first + kSize <= n && reinterpret_cast<uintptr_t>(x + first) % kSize == 0)
    return *reinterpret_cast<const Pixels<T>*>(x + first);
  Pixels<T> pixels;
#pragma unroll
  for (int e = 0; e < kSize; ++e) pixels.values[e] = first + e >= 0 && first + e < n ? x[first + e] : uint8_t{0};
  return pixels;
}

// Rung 2, channel-walk. (x / 255 - mean) / std is x scale + shift. A thread takes packs of y a whole number of pixels
// apart (channel_walk.h), so it keeps the scales and shifts of its channels in registers and has a multiplication and
// an addition left for each element. A pack's pixels are one load, its results one store of 16 bytes; four loads are
// under way before the first is used.
constexpr int kAtOnce = 4;

template <class T>
__global__ void normalize_channel_walk(const uint8_t* __restrict__ x, const float* __restrict__ mean,
                                       const float* __restrict__ std, T* __restrict__ y, ChannelWalk<T> walk) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread >= walk.stride) return;
  float scale[kSize], shift[kSize];
#pragma unroll
  for (int e = 0; e < kSize; ++e) {
    const int64_t c = walk.channel(thread, e);
    const float deviation = std[c];
    scale[e] = 1 / (255 * deviation);
    shift[e] = -mean[c] / deviation;
  }
  for (int64_t k = thread; k < walk.packing.count; k += kAtOnce * walk.stride) {
    Pixels<T> pixels[kAtOnce];
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a) pixels[a] = load_pixels<T>(x, walk.packing.first(k + a * walk.stride), walk.n);
#pragma unroll
    for (int a = 0; a < kAtOnce; ++a) {
      Pack<T> pack;
#pragma unroll
      for (int e = 0; e < kSize; ++e)
        pack.values[e] = from_float<T>(static_cast<float>(pixels[a].values[e]) * scale[e] + shift[e]);
      store_ragged(y, walk.packing.first(k + a * walk.stride), walk.n, pack);
    }
  }
}

void launch_scalar(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t C = problem.extents[Rows::C], n = problem.extents[Rows::rows] * C;
  with_type(problem.dtype, [&]<class T>() {
    launch(normalize_scalar<T>, {.grid = blocks_for(n, kBlock), .block = kBlock, .stream = stream},
           as<const uint8_t>(operands[0]), as<const float>(operands[1]), as<const float>(operands[2]),
           as<T>(operands[3]), n, C);
  });
}

void launch_channel_walk(const Problem& problem, void* const* operands, void*, Stream stream) {
  // Of a batch of 64 pictures of 224 x 224 150,528 threads in float32, half as many in bfloat16; what a channel has is
  // read once by each.
  constexpr int64_t kVisits = 16;
  with_type(problem.dtype, [&]<class T>() {
    const auto y = as<T>(operands[3]);
    const ChannelWalk<T> walk = channel_walk<T>(y, problem.extents[Rows::rows], problem.extents[Rows::C], kVisits);
    launch(normalize_channel_walk<T>, {.grid = blocks_for(walk.stride, kBlock), .block = kBlock, .stream = stream},
           as<const uint8_t>(operands[0]), as<const float>(operands[1]), as<const float>(operands[2]), y, walk);
  });
}

constexpr const char* kExtents[] = {"rows", "C"};
constexpr Problem kProblems[] = {
    {{1, 1}},
    {{1, 3}},
    {{7, 3}},
    {{63, 3}},
    {{5, 4}},
    {{33, 5}},
    {{1031, 3}},
    {{2 * 28 * 28, 1}, {}, DType::f32, "two digits"},
    {{64 * 64, 3}, {}, DType::f32, "a picture of 64 x 64"},
};
constexpr Rung kRungs[] = {
    {"scalar",
     "A thread an element, as the formula says, its channel by a division.",
     {.dtypes = kFloats},
     launch_scalar},
    {"channel-walk",
     "A thread always meets the same channels: scale and shift stay in registers, and a pack is a load and a store.",
     {.dtypes = kFloats},
     launch_channel_walk},
};

double elements(const Problem& p) {
  return static_cast<double>(p.extents[Rows::rows]) * static_cast<double>(p.extents[Rows::C]);
}

}  // namespace

const Op normalize_pixels = {
    .name = "normalize_pixels",
    .formula = "y[n,c] = (x[n,c] / 255 - mean[c]) / std[c]; x uint8, y (rows, C), mean, std float32 (C)",
    .peer = nullptr,  // no library of bench/ knows pixels
    .extent_names = kExtents,
    .scalar_names = {},
    .signature =
        [](const Problem& p) {
          const int64_t rows = p.extents[Rows::rows], C = p.extents[Rows::C];
          return Signature{4,
                           {{"x", Role::input, DType::u8, 2, {rows, C}, Fill::pixels},
                            {"mean", Role::input, DType::f32, 1, {C}},
                            {"std", Role::input, DType::f32, 1, {C}, Fill::positive},
                            {"y", Role::output, p.dtype, 2, {rows, C}}}};
        },
    .check = [](const Problem& p) { require_positive("normalize_pixels", kExtents, p); },
    .reference = reference::normalize_pixels,
    .flops = [](const Problem& p) { return 2 * elements(p); },
    .bytes =
        [](const Problem& p) { return (1 + width(p)) * elements(p) + 8.0 * static_cast<double>(p.extents[Rows::C]); },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
