#pragma once
// A range of elements that starts at any address and has any length, taken 16 bytes at a time.
//
// A 16-byte access wants an address that is a multiple of 16. So the packs are laid on the addresses, not on the
// elements: pack 0 starts at the last multiple of 16 at or before the range, and may hold elements that are not the
// range's; so may the last one. Those two are taken element by element, all others whole:
//
//     address     16       32       48       64             range: 9 floats from address 24, offset 2, 3 packs
//                 . . 0 1  2 3 4 5  6 7 8 .                  first elements of the packs: -2, 2, 6

#include <cstdint>

#include "kernels/element.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// How a range divides into packs.
template <class T>
struct Packing {
  int offset;     ///< places of pack 0 that lie before the range
  int64_t count;  ///< packs that the range touches

  /// The element that stands first in a pack: below 0 in pack 0 where the range starts within it.
  __host__ __device__ int64_t first(int64_t pack) const { return pack * Pack<T>::kSize - offset; }
};

template <class T>
__host__ __device__ inline Packing<T> packing_of(const T* range, int64_t n) {
  const int offset = static_cast<int>(reinterpret_cast<uintptr_t>(range) % 16 / sizeof(T));
  return {offset, ceil_div(offset + n, int64_t{Pack<T>::kSize})};
}

/// True where all of a pack from element `first` on is the range's, and its address is a multiple of 16. A range that
/// is packed as another one is (a row of y, by the packing of a row of x) may have none such.
template <class T>
__device__ inline bool whole_pack(const T* range, int64_t first, int64_t n) {
  return first >= 0 && first + Pack<T>::kSize <= n && reinterpret_cast<uintptr_t>(range + first) % 16 == 0;
}

/// The elements from `first` on of a range of n; `outside` stands for those that are not in it.
template <class T>
__device__ inline Pack<T> load_ragged(const T* range, int64_t first, int64_t n, float outside = 0) {
  if (whole_pack(range, first, n)) return *reinterpret_cast<const Pack<T>*>(range + first);
  Pack<T> pack;
#pragma unroll
  for (int k = 0; k < Pack<T>::kSize; ++k)
    pack.values[k] = first + k >= 0 && first + k < n ? range[first + k] : from_float<T>(outside);
  return pack;
}

/// Writes those that are in the range.
template <class T>
__device__ inline void store_ragged(T* range, int64_t first, int64_t n, const Pack<T>& pack) {
  if (whole_pack(range, first, n)) {
    *reinterpret_cast<Pack<T>*>(range + first) = pack;
    return;
  }
#pragma unroll
  for (int k = 0; k < Pack<T>::kSize; ++k)
    if (first + k >= 0 && first + k < n) range[first + k] = pack.values[k];
}

}  // namespace weft::WEFT_TARGET
