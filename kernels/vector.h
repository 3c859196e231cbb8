#pragma once
// Packs of any element count: what one instruction loads and stores, or two where kVector elements are more than 16
// bytes (the int32 index beside a pack of bfloat16).

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/element.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

template <class T, int kVector>
struct alignas(sizeof(T) * kVector < 16 ? sizeof(T) * kVector : 16) Vector {
  T values[kVector];
};

template <int kVector, class T>
__device__ inline Vector<T, kVector> load_vector(const T* from, int64_t element) {
  return *reinterpret_cast<const Vector<T, kVector>*>(from + element);
}
template <int kVector, class T>
__device__ inline void store_vector(T* to, int64_t element, const Vector<T, kVector>& values) {
  *reinterpret_cast<Vector<T, kVector>*>(to + element) = values;
}

/// Calls run<T, kVector>() with the elements of a pack of 16 bytes, or 1 where rows of C channels are no whole packs.
template <class Run>
void with_vector(DType dtype, int64_t C, Run&& run) {
  const auto call = [&]<class T>() {
    if (C % Pack<T>::kSize == 0)
      run.template operator()<T, Pack<T>::kSize>();
    else
      run.template operator()<T, 1>();
  };
  if (dtype == DType::bf16)
    call.template operator()<bfloat16>();
  else
    call.template operator()<float>();
}

}  // namespace weft::WEFT_TARGET
