#pragma once
// Operands of wgmma in shared memory, as the figures of PTX ISA's "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions" draw them, and where a thread's registers stand in the result.

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/ptx/fence.h"
#include "kernels/ptx/wgmma.h"

namespace weft::simt::test::wgmma {

/// How a matrix of `rows` (of M or N) by 16 or more along K lies in shared memory: bytes from its start to an element,
/// as the ISA's figures draw it.
struct Layout {
  Swizzle swizzle;
  bool mn_major;
  int rows, depth;  // in elements
  int size = 2;     // bytes an element

  int chunks() const { return swizzle == Swizzle::none ? 1 : static_cast<int>(swizzle_span(swizzle)) / 16; }
  int per_chunk() const { return 16 / size; }
  // K-major: 8 rows by a span; all of a row group's spans along K, then the next 8 rows. MN-major: spans of 8 positions
  // along K; along M or N side by side, then the next 8 along K.
  int spans() const { return (mn_major ? rows : depth) / (chunks() * per_chunk()); }
  unsigned group_bytes() const { return 8u * 16u * static_cast<unsigned>(chunks()); }
  unsigned leading() const {
    if (swizzle == Swizzle::none && mn_major) return group_bytes() * static_cast<unsigned>(spans());
    return group_bytes();
  }
  unsigned stride() const {
    if (swizzle == Swizzle::none && mn_major) return group_bytes();
    return group_bytes() * static_cast<unsigned>(spans());
  }
  int offset(int row, int k) const {
    const int fast = mn_major ? row : k, slow = mn_major ? k : row;
    const int chunk = fast / per_chunk() % chunks(), span = fast / per_chunk() / chunks(), line = slow % 8;
    // Lines are 16, 32, 64 or 128 bytes; the 128-byte row of shared memory that a line lies in moves its chunks.
    const int moved = chunk ^ (chunks() == 1 ? 0 : line * chunks() / 8 % chunks());
    const int group = slow / 8;
    return (group * spans() + span) * static_cast<int>(group_bytes()) + line * 16 * chunks() + moved * 16 +
           fast % per_chunk() * size;
  }
  int bytes() const { return rows * depth * size; }
};

inline float value_a(int m, int k) {
  return static_cast<float>((m * 7 + k * 3) % 11 - 5);
}
inline float value_b(int n, int k) {
  return static_cast<float>((n * 5 + k * 2) % 13 - 6);
}
inline float start_d(int m, int n) {
  return static_cast<float>((m + n) % 4);
}

inline std::uint16_t bf16_bits(float value) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

inline void put(unsigned char* to, const Layout& layout, float (*value)(int, int)) {
  for (int row = 0; row < layout.rows; ++row)
    for (int k = 0; k < layout.depth; ++k) {
      unsigned char* at = to + layout.offset(row, k);
      if (layout.size == 2) {
        const std::uint16_t bits = bf16_bits(value(row, k));
        std::memcpy(at, &bits, 2);
      } else {
        const float element = value(row, k);
        std::memcpy(at, &element, 4);
      }
    }
}

inline std::uint64_t descriptor(const void* at, const Layout& layout) {
  return wgmma_descriptor(at, layout.swizzle, layout.leading(), layout.stride());
}

// Register i of thread t in the warpgroup holds this element of D (figure "WGMMA .m64nNk16 register fragment layout for
// accumulator matrix D").
inline int d_row(int t, int i) {
  return t / 32 * 16 + t % 32 / 4 + (i / 2 % 2) * 8;
}
inline int d_column(int t, int i) {
  return i / 4 * 8 + t % 4 * 2 + i % 2;
}

/// The running thread's registers of A, of the 16 columns from `k` on (figure "WGMMA .m64nNk16 register fragment layout
/// for matrix A"): like D's, two elements a register.
inline void fill_fragment(std::uint32_t (&a)[4], int k) {
  const int t = static_cast<int>(threadIdx.x), row = d_row(t, 0), column = k + d_column(t, 0);
  for (int r = 0; r < 4; ++r) {
    const int m = row + r % 2 * 8, at = column + r / 2 * 8;
    a[r] = bf16_bits(value_a(m, at)) | static_cast<std::uint32_t>(bf16_bits(value_a(m, at + 1))) << 16;
  }
}

/// A at the start of the block's shared memory and B 8192 bytes behind it, for the asynchronous proxy to read.
inline unsigned char* both_operands(const Layout& layout) {
  auto* const shared = dynamic_shared<unsigned char>();
  if (threadIdx.x == 0) {
    put(shared, layout, value_a);
    put(shared + 8192, layout, value_b);
    fence_proxy_async();
  }
  __syncthreads();
  return shared;
}

}  // namespace weft::simt::test::wgmma
