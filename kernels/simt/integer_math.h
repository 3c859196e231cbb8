#pragma once
// Integer intrinsics, min and max, and the casts that keep the bits.

#include <bit>
#include <cstdint>
#include <type_traits>

namespace weft::simt {

/// The common type's larger and smaller, as CUDA overloads them for every pair of arithmetic types. For floats they are
/// fmax and fmin: a NaN loses.
template <class A, class B>
requires(std::is_arithmetic_v<A>&& std::is_arithmetic_v<B>) constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  const T x = static_cast<T>(a), y = static_cast<T>(b);
  return x != x || x < y ? y : x;
}
template <class A, class B>
requires(std::is_arithmetic_v<A>&& std::is_arithmetic_v<B>) constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  const T x = static_cast<T>(a), y = static_cast<T>(b);
  return x != x || y < x ? y : x;
}
constexpr unsigned umin(unsigned a, unsigned b) {
  return a < b ? a : b;
}
constexpr unsigned umax(unsigned a, unsigned b) {
  return a < b ? b : a;
}

constexpr int __mulhi(int a, int b) {
  return static_cast<int>((static_cast<std::int64_t>(a) * b) >> 32);
}
constexpr unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UnsignedWide;
constexpr long long __mul64hi(long long a, long long b) {
  return static_cast<long long>((static_cast<Wide>(a) * b) >> 64);
}
constexpr unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<UnsignedWide>(a) * b) >> 64);
}
/// The product of the lower 24 bits.
constexpr unsigned __umul24(unsigned a, unsigned b) {
  return (a & 0xffffff) * (b & 0xffffff);
}
constexpr int __mul24(int a, int b) {
  const auto low24 = [](int v) {
    return static_cast<std::int64_t>(static_cast<int>(static_cast<unsigned>(v) << 8) >> 8);
  };
  return static_cast<int>(static_cast<std::uint32_t>(low24(a) * low24(b)));
}

constexpr int __popc(unsigned value) {
  return std::popcount(value);
}
constexpr int __popcll(unsigned long long value) {
  return std::popcount(value);
}
constexpr int __clz(int value) {
  return std::countl_zero(static_cast<unsigned>(value));
}
constexpr int __clzll(long long value) {
  return std::countl_zero(static_cast<unsigned long long>(value));
}
/// The place of the lowest set bit, counted from 1; 0 where there is none.
constexpr int __ffs(int value) {
  return value ? std::countr_zero(static_cast<unsigned>(value)) + 1 : 0;
}
constexpr int __ffsll(long long value) {
  return value ? std::countr_zero(static_cast<unsigned long long>(value)) + 1 : 0;
}
/// The bits in reverse.
constexpr unsigned __brev(unsigned v) {
  v = (v & 0x55555555) << 1 | (v >> 1 & 0x55555555);
  v = (v & 0x33333333) << 2 | (v >> 2 & 0x33333333);
  v = (v & 0x0f0f0f0f) << 4 | (v >> 4 & 0x0f0f0f0f);
  return __builtin_bswap32(v);
}
constexpr unsigned long long __brevll(unsigned long long v) {
  return static_cast<unsigned long long>(__brev(static_cast<unsigned>(v))) << 32 |
         __brev(static_cast<unsigned>(v >> 32));
}
/// Four bytes of the eight (a's, then b's) by the selector's four digits; a digit's top bit spreads that byte's sign.
constexpr unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned digit = selector >> (4 * i) & 0xf;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (digit & 7))) & 0xff;
    if (digit & 8) byte = byte & 0x80 ? 0xff : 0;
    result |= byte << (8 * i);
  }
  return result;
}
/// The upper and the lower word of high:low shifted by shift modulo 32.
constexpr unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
constexpr unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(high) << 32 | low) >> (shift & 31));
}
/// c plus the sum of the four products of signed bytes.
constexpr int __dp4a(int a, int b, int c) {
  auto sum = static_cast<unsigned>(c);
  for (int i = 0; i < 32; i += 8)
    sum += static_cast<unsigned>(static_cast<signed char>(a >> i) * static_cast<signed char>(b >> i));
  return static_cast<int>(sum);
}
constexpr unsigned __usad(unsigned a, unsigned b, unsigned c) {
  return (a > b ? a - b : b - a) + c;
}

constexpr int __float_as_int(float value) {
  return std::bit_cast<int>(value);
}
constexpr unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
constexpr float __int_as_float(int bits) {
  return std::bit_cast<float>(bits);
}
constexpr float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
constexpr long long __double_as_longlong(double value) {
  return std::bit_cast<long long>(value);
}
constexpr double __longlong_as_double(long long bits) {
  return std::bit_cast<double>(bits);
}
constexpr int __double2hiint(double value) {
  return static_cast<int>(std::bit_cast<std::uint64_t>(value) >> 32);
}
constexpr int __double2loint(double value) {
  return static_cast<int>(std::bit_cast<std::uint64_t>(value));
}
constexpr double __hiloint2double(int high, int low) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(static_cast<unsigned>(high)) << 32 |
                               static_cast<unsigned>(low));
}

}  // namespace weft::simt
