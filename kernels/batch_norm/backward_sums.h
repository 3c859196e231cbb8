#pragma once
// What the later rungs of batch norm's backward pass share: packs of dy behind the ReLU's mask, and dx from known sums.

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/channels.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Rows that a thread has under way at once, of two or three tensors.
inline constexpr int kGradientRows = 4;

/// dx = scale (dy - mean_of_dy - (x - centre) slope), a channel each.
struct GradientFactors {
  float centre[kMostChannels], scale[kMostChannels], mean_of_dy[kMostChannels], slope[kMostChannels];

  /// The numbers of channel c of the block from the sums over its rows, sum of dy and sum of dy xhat.
  __device__ void set(int c, float weight, float invstd, float sum, float dot, float inverse_rows) {
    scale[c] = weight * invstd;
    mean_of_dy[c] = sum * inverse_rows;
    slope[c] = dot * inverse_rows * invstd;
  }
  __device__ float dx(int c, float dy, float x) const {
    return scale[c] * (dy - mean_of_dy[c] - (x - centre[c]) * slope[c]);
  }
};

/// dy, masked, and x of up to kGradientRows rows: element `i` on, `step` elements apart, of which `there` exist; the
/// others are 0. Writes dresidual where it is wanted.
template <class T, int kVector>
struct GradientRows {
  Vector<T, kVector> dy[kGradientRows] = {}, x[kGradientRows] = {};

  __device__ void load(const Gradient<T>& gradient, const T* from_x, int64_t i, int64_t step, int there) {
    Vector<T, kVector> y[kGradientRows] = {};
#pragma unroll
    for (int k = 0; k < kGradientRows; ++k) {
      if (k >= there) break;
      dy[k] = load_vector<kVector>(gradient.dy, i + k * step);
      x[k] = load_vector<kVector>(from_x, i + k * step);
      if (gradient.y != nullptr) y[k] = load_vector<kVector>(gradient.y, i + k * step);
    }
#pragma unroll
    for (int k = 0; k < kGradientRows; ++k) {
      if (k >= there) break;
#pragma unroll
      for (int v = 0; v < kVector; ++v)
        if (gradient.y != nullptr && !lets_through(y[k].values[v], gradient.ceiling))
          dy[k].values[v] = from_float<T>(0);
      if (gradient.dresidual != nullptr) store_vector(gradient.dresidual, i + k * step, dy[k]);
    }
  }

  /// Adds sum of dy and of dy (x - centre) to sums[0] and sums[1].
  __device__ void add_to(float (&sums)[2][kVector], const GradientFactors& factors, int first_channel) const {
#pragma unroll
    for (int k = 0; k < kGradientRows; ++k)
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        const float value = to_float(dy[k].values[v]);
        sums[0][v] += value;
        sums[1][v] += value * (to_float(x[k].values[v]) - factors.centre[first_channel + v]);
      }
  }

  __device__ void store_dx(const GradientFactors& factors, int first_channel, T* dx, int64_t i, int64_t step,
                           int there) const {
#pragma unroll
    for (int k = 0; k < kGradientRows; ++k) {
      if (k >= there) break;
      Vector<T, kVector> result;
#pragma unroll
      for (int v = 0; v < kVector; ++v)
        result.values[v] =
            from_float<T>(factors.dx(first_channel + v, to_float(dy[k].values[v]), to_float(x[k].values[v])));
      store_vector(dx, i + k * step, result);
    }
  }
};

}  // namespace weft::WEFT_TARGET
