#pragma once
// How threads share a (rows, C) tensor so that each meets the same channels all the way: what belongs to a channel (a
// bias, a scale, a sum) is then read, or written, once a thread rather than once an element, and no element needs a
// division.
//
// The tensor is taken flat, in packs of 16 bytes. A thread takes every `stride`-th pack, and stride packs are a whole
// number of rows: a multiple of the period, the C / gcd(C, pack size) packs after which a pack starts at the same
// channel again. So any C will do, and neighbouring threads still take neighbouring packs.

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kernels/packs.h"

namespace weft::WEFT_TARGET {

template <class T>
struct ChannelWalk {
  Packing<T> packing;  ///< of the whole tensor, by the address that it was made for
  int64_t n;           ///< elements
  int64_t C;
  int64_t stride;  ///< threads, and packs between two visits of one

  /// Of element e of each pack that `thread` takes.
  __device__ int64_t channel(int64_t thread, int e) const {
    const int64_t place = (packing.first(thread) + e) % C;
    return place < 0 ? place + C : place;  // the places before the tensor
  }
};

/// Packs after which a pack starts at the same channel again.
template <class T>
int64_t channel_period(int64_t C) {
  return C / std::gcd(C, int64_t{Pack<T>::kSize});
}

/// A walk on which a thread takes about `visits` packs, where there are enough.
template <class T>
ChannelWalk<T> channel_walk(const T* tensor, int64_t rows, int64_t C, int64_t visits) {
  const Packing<T> packing = packing_of(tensor, rows * C);
  const int64_t period = channel_period<T>(C);
  return {packing, rows * C, C, ceil_div(ceil_div(packing.count, visits), period) * period};
}

}  // namespace weft::WEFT_TARGET
