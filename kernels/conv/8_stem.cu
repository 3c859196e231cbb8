// conv2d, the rung for pictures of few channels: a network's stem. The formula and its costs stand in conv.h.

#include "kernels/conv/epilogue.h"
#include "kernels/gemm/tile.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {
namespace {

// Stem. A first layer has 3 channels, which no read of four can use: the implicit GEMM asks for every float by itself,
// with two comparisons to see whether it is padding, and asks for it R S / stride^2 times, 12 in a 7x7 of stride 2. But
// in NHWC taps and channels of one filter row are one run: under row r, 64 neighbouring pixels of y need
// (63 stride + S) C floats of one row of x, and not one twice. So a block takes 64 pixels of a row of y and 64 filters;
// for each r it reads that run side by side, zeros past the picture's ends, and the filters' S C numbers. A thread's 8
// x 8 sums then go through taps and channels as one packed axis: the pixels it needs lie stride C floats apart in
// shared memory, and one tap and channel on is one float on (dilation C where a tap ends). For a 7x7 of stride 2 that
// is 399 floats of x for each r, in place of 64 x 21 = 1,344.
//
// In bfloat16 the run and the filters are widened on their way into shared memory, and the sums are floats as ever. But
// where there are tensor cores the multipliers are not the ones to use: ResNet's stem at 224 pixels is 236 Mflop a
// picture, and on an H100's tensor cores takes less time (at 989 Tflop/s) than writing its 1.6 MB of y, on its float32
// multipliers (67 Tflop/s) seven times as long. So there bfloat16, and TF32, take rung 10, whose depth is R S C, all
// taps one after the other, and so is not padded to eight channels a tap.
//
// Why forward alone. The filter's gradient turns the product round: K x R S C results, 64 x 147, each a sum over all
// pixels of y. There are three tiles of 64 x 64, and what is short is not bytes of x but blocks: split-K (6_split_k.cu)
// cuts the pixels into slices, in bfloat16 rung 10 does. The picture's own gradient is wanted only where pictures are
// what is optimised, and then the ladder's other rungs compute it.
constexpr int kPixels = 64, kFilters = 64, kThreadPixels = 8, kThreadFilters = 8;
constexpr int kAcross = kPixels / kThreadPixels;  // threads along the pixels; the others lie along the filters
constexpr int kThreads = kAcross * (kFilters / kThreadFilters);
constexpr int kPitch = kFilters + kPad;  // of a tap and channel's filters in shared memory
constexpr int kMostChannels = 4;
constexpr int kMostShared = 48 << 10;  // bytes, without asking for more

/// Floats of a row of x that kPixels pixels of y need, rounded up so that the filters behind begin aligned.
__host__ __device__ inline int64_t run_floats(const ConvShape& z) {
  const int64_t pixels = int64_t{kPixels - 1} * z.stride_w + int64_t{z.S - 1} * z.dilation_w + 1;
  return ceil_div(pixels * z.C, 4) * 4;
}
int64_t shared_bytes(const ConvShape& z) {
  return (run_floats(z) + int64_t{z.S} * z.C * kPitch) * static_cast<int64_t>(sizeof(float));
}

template <class T>
__global__ void __launch_bounds__(kThreads, 8)
    stem_kernel(ConvShape z, const T* __restrict__ x, const T* __restrict__ weight, ConvEpilogue<T> epilogue) {
  const int run = static_cast<int>(run_floats(z)), packed = z.S * z.C;  // packed: taps of a filter row, and channels
  float* const pixels = dynamic_shared<float>();                        // (run)
  float* const filters = pixels + run;                                  // (packed, kPitch)
  const int thread = static_cast<int>(threadIdx.x);
  const int along = static_cast<int>(ceil_div(z.Q, kPixels));
  const int q0 = static_cast<int>(blockIdx.x % along) * kPixels, k0 = static_cast<int>(blockIdx.y) * kFilters;
  const int p = static_cast<int>(blockIdx.x / along) % z.P, n = static_cast<int>(blockIdx.x / along) / z.P;
  // A thread's pixels lie kAcross apart, so that a warp's reads of them are neighbours; its filters are neighbours.
  const int q1 = thread % kAcross, k1 = thread / kAcross * kThreadFilters;

  float sums[kThreadPixels][kThreadFilters] = {};
  for (int r = 0; r < z.R; ++r) {
    const int h = z.row_in(p, r);
    if (h < 0 || h >= z.H) continue;  // the whole block skips a row of padding
    const T* row = x + (int64_t{n} * z.H + h) * z.W * z.C;
    const int64_t first = int64_t{z.column_in(q0, 0)} * z.C, end = int64_t{z.W} * z.C;
    for (int i = thread; i < run; i += kThreads)
      pixels[i] = first + i >= 0 && first + i < end ? to_float(row[first + i]) : 0.0f;
    for (int i = thread; i < packed * kFilters; i += kThreads) {
      const int k = i / packed, j = i % packed;
      filters[j * kPitch + k] = k0 + k < z.K ? to_float(weight[(int64_t{k0 + k} * z.R + r) * packed + j]) : 0.0f;
    }
    __syncthreads();
    const float* from = pixels + q1 * z.stride_w * z.C;
    for (int s = 0, j = 0; s < z.S; ++s) {
      for (int c = 0; c < z.C; ++c, ++j) {
        float a[kThreadPixels], b[kThreadFilters];
#pragma unroll
        for (int i = 0; i < kThreadPixels; ++i)
          a[i] = from[i * kAcross * z.stride_w * z.C + s * z.dilation_w * z.C + c];
        load_fours<4>(filters + j * kPitch + k1, b);
        add_outer_product(a, b, sums);
      }
    }
    __syncthreads();  // nobody may overwrite the run while another still reads it
  }

  const bool aligned = conv_epilogue_is_aligned<4>(epilogue);
#pragma unroll
  for (int i = 0; i < kThreadPixels; ++i) {
    const int q = q0 + q1 + i * kAcross;
    if (q >= z.Q) continue;
#pragma unroll
    for (int j = 0; j < kThreadFilters; j += 4) {
      const int k = k0 + k1 + j;
      float four[4] = {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]};
      if (k < z.K) store_conv_sums<4>(epilogue, (int64_t{n} * z.P + p) * z.Q + q, k, z.K - k, aligned, four);
    }
  }
}

}  // namespace

bool conv2d_stem_takes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return z.C <= kMostChannels && z.groups == 1 && shared_bytes(z) <= kMostShared && ceil_div(z.K, kFilters) <= 65535;
}

void conv2d_stem(const Problem& problem, void* const* operands, void*, Stream stream) {
  const ConvShape z = conv_shape(problem);
  with_type(problem.dtype, [&]<class T>() {
    launch(stem_kernel<T>,
           {.grid = dim3(blocks_for(int64_t{z.N} * z.P * ceil_div(z.Q, kPixels), 1),
                         static_cast<unsigned>(ceil_div(z.K, kFilters))),
            .block = kThreads,
            .shared_bytes = static_cast<unsigned>(shared_bytes(z)),
            .stream = stream},
           z, as<const T>(operands[kConvX]), as<const T>(operands[kConvWeight]), conv_epilogue<T>(problem, operands));
  });
}

}  // namespace weft::WEFT_TARGET
