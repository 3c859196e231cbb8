// conv2d, direct, in each of the three passes. The formula and its costs stand in conv.h.

#include "kernels/conv/conv.h"
#include "kernels/conv/epilogue.h"
#include "kernels/launch.h"
#include "kernels/ops.h"

namespace weft::WEFT_TARGET {
namespace {

constexpr int kBlock = 128;

LaunchConfig config_for(int64_t elements, Stream stream) {
  return {
      .grid = dim3(static_cast<unsigned>((elements + kBlock - 1) / kBlock)), .block = dim3(kBlock), .stream = stream};
}

// Direct. A thread an element of y; the sum over the patch as the formula says. Threads of a warp differ in k:
// they read the same element of x, and elements of weight that lie R S C apart, a sector each. Each number is fetched
// anew for each of its uses, K times for x and N P Q times for weight, and only the caches know that it is the same
// one.
template <class T>
__global__ void conv2d_direct_kernel(ConvShape z, const T* __restrict__ x, const T* __restrict__ weight,
                                     ConvEpilogue<T> epilogue) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, N P Q K)
  if (element >= z.pixels_out() * z.K) return;
  const int k = static_cast<int>(element % z.K);
  const int q = static_cast<int>(element / z.K % z.Q);
  const int p = static_cast<int>(element / z.K / z.Q % z.P);
  const int64_t n = element / z.K / z.Q / z.P;
  const int channels = z.channels(), first = k / z.filters() * channels;  // the group's channels begin there
  float sum = 0;
  for (int r = 0; r < z.R; ++r) {
    const int h = z.row_in(p, r);
    if (h < 0 || h >= z.H) continue;
    for (int s = 0; s < z.S; ++s) {
      const int w = z.column_in(q, s);
      if (w < 0 || w >= z.W) continue;
      const T* pixel = x + ((n * z.H + h) * z.W + w) * z.C + first;
      const T* tap = weight + ((int64_t{k} * z.R + r) * z.S + s) * channels;
      for (int c = 0; c < channels; ++c) sum += to_float(pixel[c]) * to_float(tap[c]);
    }
  }
  store_conv_sum(epilogue, element / z.K, k, sum);
}

// backward data, direct: dx[n,h,w,c] = sum_{r,s,k} dy[n,p,q,k] weight[k,r,s,c] over the p, q whose patch has
// (h, w) under tap (r, s), and the k of c's group. A thread an element of dx gathers what the forward pass spread, so
// nothing is added by two threads at once and no atomics are needed. Threads of a warp differ in c and read weight side
// by side; but with a stride of 2, three quarters of the taps find no p, q and are gone through for nothing.
template <class T>
__global__ void conv2d_backward_data_direct_kernel(ConvShape z, const T* __restrict__ dy, const T* __restrict__ weight,
                                                   ConvEpilogue<T> epilogue) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, N H W C)
  if (element >= z.pixels_in() * z.C) return;
  const int c = static_cast<int>(element % z.C);
  const int w = static_cast<int>(element / z.C % z.W);
  const int h = static_cast<int>(element / z.C / z.W % z.H);
  const int64_t n = element / z.C / z.W / z.H;
  const int64_t filter = z.patch();  // from one filter to the next
  const int channels = z.channels(), filters = z.filters(), first = c / channels * filters;
  float sum = 0;
  for (int r = 0; r < z.R; ++r) {
    const int p = z.row_out(h, r);
    if (p < 0) continue;
    for (int s = 0; s < z.S; ++s) {
      const int q = z.column_out(w, s);
      if (q < 0) continue;
      const T* gradient = dy + ((n * z.P + p) * z.Q + q) * z.K + first;
      const T* tap = weight + first * filter + (r * z.S + s) * channels + c % channels;
      for (int k = 0; k < filters; ++k) sum += to_float(gradient[k]) * to_float(tap[k * filter]);
    }
  }
  store_conv_sum(epilogue, element / z.C, c, sum);
}

// backward filter, direct: dweight[k,r,s,c] = sum_{n,p,q} dy[n,p,q,k] x[n,h,w,c] with (h, w) under tap (r, s).
// A thread an element of dweight, always in the same order, so the result has the same bits on each run. A layer with
// few channels has few elements: 64 filters of 3 x 3 x 3 keep 1,728 threads busy, each with a sum over every pixel.
template <class T>
__global__ void conv2d_backward_filter_direct_kernel(ConvShape z, const T* __restrict__ x, const T* __restrict__ dy,
                                                     T* __restrict__ dweight) {
  const int64_t element = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;  // in [0, K R S C')
  if (element >= int64_t{z.K} * z.patch()) return;
  const int channels = z.channels();
  const int s = static_cast<int>(element / channels % z.S);
  const int r = static_cast<int>(element / channels / z.S % z.R);
  const int k = static_cast<int>(element / channels / z.S / z.R);
  const int c = k / z.filters() * channels + static_cast<int>(element % channels);  // in [0, C)
  float sum = 0;
  for (int64_t n = 0; n < z.N; ++n) {
    for (int p = 0; p < z.P; ++p) {
      const int h = z.row_in(p, r);
      if (h < 0 || h >= z.H) continue;
      for (int q = 0; q < z.Q; ++q) {
        const int w = z.column_in(q, s);
        if (w < 0 || w >= z.W) continue;
        sum += to_float(dy[((n * z.P + p) * z.Q + q) * z.K + k]) * to_float(x[((n * z.H + h) * z.W + w) * z.C + c]);
      }
    }
  }
  dweight[element] = from_float<T>(sum);
}

template <class T>
void forward(const Problem& problem, void* const* operands, Stream stream) {
  const ConvShape z = conv_shape(problem);
  launch(conv2d_direct_kernel<T>, config_for(z.pixels_out() * z.K, stream), z, static_cast<const T*>(operands[kConvX]),
         static_cast<const T*>(operands[kConvWeight]), conv_epilogue<T>(problem, operands));
}

template <class T>
void backward_data(const Problem& problem, void* const* operands, Stream stream) {
  const ConvShape z = conv_shape(problem);
  launch(conv2d_backward_data_direct_kernel<T>, config_for(z.pixels_in() * z.C, stream), z,
         static_cast<const T*>(operands[kDataDy]), static_cast<const T*>(operands[kDataWeight]),
         data_epilogue<T>(problem, operands));
}

template <class T>
void backward_filter(const Problem& problem, void* const* operands, Stream stream) {
  const ConvShape z = conv_shape(problem);
  launch(conv2d_backward_filter_direct_kernel<T>, config_for(int64_t{z.K} * z.patch(), stream), z,
         static_cast<const T*>(operands[0]), static_cast<const T*>(operands[1]), static_cast<T*>(operands[2]));
}

}  // namespace

void conv2d_direct(const Problem& problem, void* const* operands, void*, Stream stream) {
  if (problem.dtype == DType::f32)
    forward<float>(problem, operands, stream);
  else
    forward<__nv_bfloat16>(problem, operands, stream);
}

void conv2d_backward_data_direct(const Problem& problem, void* const* operands, void*, Stream stream) {
  if (problem.dtype == DType::f32)
    backward_data<float>(problem, operands, stream);
  else
    backward_data<__nv_bfloat16>(problem, operands, stream);
}

void conv2d_backward_filter_direct(const Problem& problem, void* const* operands, void*, Stream stream) {
  if (problem.dtype == DType::f32)
    backward_filter<float>(problem, operands, stream);
  else
    backward_filter<__nv_bfloat16>(problem, operands, stream);
}

}  // namespace weft::WEFT_TARGET
