#pragma once
// What a bias's gradient is summed from. bias_backward's ladder and relu_bias_backward's are one: a rung is written for
// a gradient, which is dy as it lies, or dy behind the mask of a ReLU, which is then also written down.

#include "kernels/element.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/packs.h"
#include "kernels/rectify.h"
#include "kernels/vector.h"

namespace weft::WEFT_TARGET {

/// dy as it lies.
template <class T>
struct Plain {
  static constexpr int kLoads = 8;  ///< packs that a thread asks for at once
  const T* __restrict__ dy;

  __device__ float at(int64_t i) const { return to_float(dy[i]); }
  /// Those from i on, a multiple of kVector.
  template <int kVector>
  __device__ Vector<T, kVector> vector(int64_t i) const {
    return load_vector<kVector>(dy, i);
  }
  /// The packs that begin at `first` + a `step`.
  __device__ __forceinline__ void packs(int64_t first, int64_t step, int64_t n, Pack<T> (&to)[kLoads]) const {
#pragma unroll
    for (int a = 0; a < kLoads; ++a) to[a] = load_ragged(dy, first + a * step, n);
  }
};

/// dy behind the mask of the ReLU that made y; each element is to be asked for once.
template <class T>
struct Masked {
  static constexpr int kLoads = 4;  ///< of dy, and as many of y
  const T* __restrict__ dy;
  const T* __restrict__ y;
  T* __restrict__ dx;
  float ceiling;

  __device__ T masked(T gradient, T value) const { return lets_through(value, ceiling) ? gradient : from_float<T>(0); }
  __device__ float at(int64_t i) const {
    dx[i] = masked(dy[i], y[i]);
    return to_float(dx[i]);
  }
  template <int kVector>
  __device__ Vector<T, kVector> vector(int64_t i) const {
    Vector<T, kVector> gradients = load_vector<kVector>(dy, i);
    const Vector<T, kVector> values = load_vector<kVector>(y, i);
#pragma unroll
    for (int v = 0; v < kVector; ++v) gradients.values[v] = masked(gradients.values[v], values.values[v]);
    store_vector(dx, i, gradients);
    return gradients;
  }
  __device__ __forceinline__ void packs(int64_t first, int64_t step, int64_t n, Pack<T> (&to)[kLoads]) const {
    Pack<T> values[kLoads];
#pragma unroll
    for (int a = 0; a < kLoads; ++a) {
      to[a] = load_ragged(dy, first + a * step, n);
      values[a] = load_ragged(y, first + a * step, n);
    }
#pragma unroll
    for (int a = 0; a < kLoads; ++a) {
#pragma unroll
      for (int e = 0; e < Pack<T>::kSize; ++e) to[a].values[e] = masked(to[a].values[e], values[a].values[e]);
      store_ragged(dx, first + a * step, n, to[a]);
    }
  }
};

/// Operands by position.
struct PlainOperands {
  enum : int { dy, dbias, kCount };
};
struct MaskedOperands {
  enum : int { dy, y, dx, dbias, kCount };
};

/// Calls run.operator()<T>(gradient, dbias) with the call's operands. kMasks: relu_bias_backward's.
template <bool kMasks, class Run>
void with_gradient(const Problem& problem, void* const* operands, Run&& run) {
  with_type(problem.dtype, [&]<class T>() {
    if constexpr (kMasks) {
      using At = MaskedOperands;
      run.template operator()<T>(
          Masked<T>{as<const T>(operands[At::dy]), as<const T>(operands[At::y]), as<T>(operands[At::dx]),
                    static_cast<float>(problem.scalars[extents::Elements::ceiling])},
          as<T>(operands[At::dbias]));
    } else {
      using At = PlainOperands;
      run.template operator()<T>(Plain<T>{as<const T>(operands[At::dy])}, as<T>(operands[At::dbias]));
    }
  });
}

}  // namespace weft::WEFT_TARGET
