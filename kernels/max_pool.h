#pragma once
// What the max pools with and without an index share: the maximum of a window, and a pixel's gradient.

#include "kernels/pool.h"
#include "kernels/pool_ladder.h"

namespace weft::WEFT_TARGET {

/// The maximum of a window for kVector channels, and its pixel: h W + w.
template <class T, int kVector>
struct Maximum {
  Vector<T, kVector> value;
  Vector<int32_t, kVector> where;
};

/// That of window (p, q) of a picture, channels c on. As torch has it: the first of equal maxima wins, and a NaN beats
/// everything.
template <int kVector, class Rows>
__device__ inline auto find_maximum(const Rows& x, const PoolShape& shape, int p, int q, int c) {
  using T = typename Rows::Element;
  const Range h_range = pixels_of_window(p, shape.H, shape.R, shape.stride_h, shape.pad_h);
  const Range w_range = pixels_of_window(q, shape.W, shape.S, shape.stride_w, shape.pad_w);
  Maximum<T, kVector> best;
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    best.value.values[v] = from_float<T>(-INFINITY);
    best.where.values[v] = h_range.first * shape.W + w_range.first;
  }
  for (int h = h_range.first; h < h_range.last; ++h)
    for (int w = w_range.first; w < w_range.last; ++w) {
      const Vector<T, kVector> candidate = x.template load<kVector>(h, w, c);
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        const float value = to_float(candidate.values[v]);
        if (value > to_float(best.value.values[v]) || value != value) {
          best.value.values[v] = candidate.values[v];
          best.where.values[v] = h * shape.W + w;
        }
      }
    }
  return best;
}

/// One pass of the ladder in pool_ladder.h. An output is the formula as written. A null index is not written.
template <class T>
struct MaxForward : OneInputPass<T, false> {
  int32_t* index;

  MaxForward(const Problem& problem, void* const* operands, int32_t* index_or_null)
      : OneInputPass<T, false>(problem, operands), index(index_or_null) {}

  template <int kVector, class Rows>
  __device__ void at(const Rows& from, const PicturePixel& pixel, int c) const {
    const PoolShape& shape = this->shape;
    const Maximum<T, kVector> best = find_maximum<kVector>(from, shape, pixel.row, pixel.column, c);
    const int64_t place = ((pixel.n * shape.P + pixel.row) * shape.Q + pixel.column) * shape.C + c;
    store_vector(this->to, place, best.value);
    if (index != nullptr) store_vector(index, place, best.where);
  }
};

/// dy and the index of one picture: planes, or rings.
template <class Gradients, class Indices>
struct MaxGradients {
  Gradients dy;
  Indices index;

  template <int kVector>
  __device__ Vector<int32_t, kVector> winner(int p, int q, int c) const {
    return index.template load<kVector>(p, q, c);
  }
};
template <class T>
using MaxRings = MaxGradients<RowRing<T>, RowRing<int32_t>>;

/// Rings of dy and of the index in shared memory, the index first: 4-byte numbers want addresses of 4.
template <int kVector, class T>
__device__ inline MaxRings<T> max_rings(unsigned char* shared, const Strip& strip, int depth, int width) {
  auto* const indices = reinterpret_cast<int32_t*>(shared);
  auto* const gradients = reinterpret_cast<T*>(indices + int64_t{depth} * width * strip.packs * kVector);
  return {row_ring<kVector>(gradients, depth, width, strip), row_ring<kVector>(indices, depth, width, strip)};
}
template <class T>
int64_t max_rings_bytes(int64_t elements) {
  return elements * static_cast<int64_t>(sizeof(T) + sizeof(int32_t));
}

/// One input's gradient: it asks every window that holds it. Gathering this way, a thread writes its own element once;
/// the other way round, windows that overlap would need atomics, whose order changes the bits. `from` has dy and says
/// which pixel won a window: winner<kVector>(p, q, c).
template <int kVector, class T, class From>
__device__ inline void gather_gradient(const From& from, const PoolShape& shape, const PicturePixel& pixel, int c,
                                       T* dx) {
  const Range p_range = windows_of_pixel(pixel.row, shape.P, shape.R, shape.stride_h, shape.pad_h);
  const Range q_range = windows_of_pixel(pixel.column, shape.Q, shape.S, shape.stride_w, shape.pad_w);
  const int me = pixel.row * shape.W + pixel.column;
  float sums[kVector] = {};
  for (int p = p_range.first; p < p_range.last; ++p)
    for (int q = q_range.first; q < q_range.last; ++q) {
      const Vector<int32_t, kVector> winner = from.template winner<kVector>(p, q, c);
      const Vector<T, kVector> gradient = from.dy.template load<kVector>(p, q, c);
#pragma unroll
      for (int v = 0; v < kVector; ++v)
        if (winner.values[v] == me) sums[v] += to_float(gradient.values[v]);
    }
  Vector<T, kVector> result;
#pragma unroll
  for (int v = 0; v < kVector; ++v) result.values[v] = from_float<T>(sums[v]);
  store_vector(dx, ((pixel.n * shape.H + pixel.row) * shape.W + pixel.column) * shape.C + c, result);
}

}  // namespace weft::WEFT_TARGET
