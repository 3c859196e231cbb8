#pragma once
// Atomic functions, on memory that other blocks' OS threads may change at the same time. As on a GPU they order nothing
// else. Each returns the old value.

#include "kernels/simt/bf16.h"

namespace weft::simt {

/// A loop that tries again and again because of another thread calls this, so that the other one gets to run.
void contended();

/// Replaces *address by change(*address), whatever the type.
template <class T, class Change>
T atomic_update(T* address, Change change) {
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  for (;;) {
    T wanted = change(old);
    if (__atomic_compare_exchange(address, &old, &wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}

inline int atomicAdd(int* address, int value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicAdd(unsigned* address, unsigned value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline float atomicAdd(float* address, float value) {
  return atomic_update(address, [=](float old) { return old + value; });
}
inline double atomicAdd(double* address, double value) {
  return atomic_update(address, [=](double old) { return old + value; });
}
inline __nv_bfloat16 atomicAdd(__nv_bfloat16* address, __nv_bfloat16 value) {
  return atomic_update(address, [=](__nv_bfloat16 old) { return __hadd(old, value); });
}
inline __nv_bfloat162 atomicAdd(__nv_bfloat162* address, __nv_bfloat162 value) {
  return {atomicAdd(&address->x, value.x), atomicAdd(&address->y, value.y)};  // each half for itself, as documented
}

inline int atomicSub(int* address, int value) {
  return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicSub(unsigned* address, unsigned value) {
  return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}

inline int atomicExch(int* address, int value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicExch(unsigned* address, unsigned value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicExch(unsigned long long* address, unsigned long long value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
inline float atomicExch(float* address, float value) {
  float old;
  __atomic_exchange(address, &value, &old, __ATOMIC_RELAXED);
  return old;
}

template <class T>
T compare_and_swap(T* address, T compare, T value) {
  T old = compare;
  if (!__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) contended();
  return old;
}
inline int atomicCAS(int* address, int compare, int value) {
  return compare_and_swap(address, compare, value);
}
inline unsigned atomicCAS(unsigned* address, unsigned compare, unsigned value) {
  return compare_and_swap(address, compare, value);
}
inline unsigned short atomicCAS(unsigned short* address, unsigned short compare, unsigned short value) {
  return compare_and_swap(address, compare, value);
}
inline unsigned long long atomicCAS(unsigned long long* address, unsigned long long compare, unsigned long long value) {
  return compare_and_swap(address, compare, value);
}

inline int atomicMin(int* address, int value) {
  return atomic_update(address, [=](int old) { return value < old ? value : old; });
}
inline unsigned atomicMin(unsigned* address, unsigned value) {
  return atomic_update(address, [=](unsigned old) { return value < old ? value : old; });
}
inline long long atomicMin(long long* address, long long value) {
  return atomic_update(address, [=](long long old) { return value < old ? value : old; });
}
inline unsigned long long atomicMin(unsigned long long* address, unsigned long long value) {
  return atomic_update(address, [=](unsigned long long old) { return value < old ? value : old; });
}
inline int atomicMax(int* address, int value) {
  return atomic_update(address, [=](int old) { return value > old ? value : old; });
}
inline unsigned atomicMax(unsigned* address, unsigned value) {
  return atomic_update(address, [=](unsigned old) { return value > old ? value : old; });
}
inline long long atomicMax(long long* address, long long value) {
  return atomic_update(address, [=](long long old) { return value > old ? value : old; });
}
inline unsigned long long atomicMax(unsigned long long* address, unsigned long long value) {
  return atomic_update(address, [=](unsigned long long old) { return value > old ? value : old; });
}

/// Counts up to `limit`, then starts again at 0.
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return atomic_update(address, [=](unsigned old) { return old >= limit ? 0 : old + 1; });
}
/// Counts down to 0, then starts again at `limit`.
inline unsigned atomicDec(unsigned* address, unsigned limit) {
  return atomic_update(address, [=](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}

inline int atomicAnd(int* address, int value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicAnd(unsigned* address, unsigned value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicAnd(unsigned long long* address, unsigned long long value) {
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
inline int atomicOr(int* address, int value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicOr(unsigned* address, unsigned value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicOr(unsigned long long* address, unsigned long long value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
inline int atomicXor(int* address, int value) {
  return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
}
inline unsigned atomicXor(unsigned* address, unsigned value) {
  return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicXor(unsigned long long* address, unsigned long long value) {
  return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
}

}  // namespace weft::simt
