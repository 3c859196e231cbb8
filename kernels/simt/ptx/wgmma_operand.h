#pragma once
// Where a wgmma finds the elements of a matrix in shared memory. PTX ISA, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions: Shared Memory Matrix Layout, Canonical Layouts, Matrix Descriptor Format".

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

class BlockRunner;

/// A matrix descriptor's fields, in bytes.
struct MatrixDescriptor {
  std::uint32_t start = 0;    ///< bits 0-13, times 16: within the shared window
  std::uint32_t leading = 0;  ///< bits 16-29, times 16
  std::uint32_t stride = 0;   ///< bits 32-45, times 16
  unsigned base_offset = 0;   ///< bits 49-51: of the swizzle's pattern, in lines of 128 bytes
  unsigned swizzle_bits = 0;  ///< 0 to 3: 0 for none, 1 for 32 bytes, 2 for 64, 3 for 128 (bits 62-63: 0, 3, 2, 1)
};
MatrixDescriptor decode(std::uint64_t descriptor, const char* what, Site site);

/// The address of a 16-byte chunk of the matrix. K-major: of the row `major` (of M or N), elements 16 / size * chunk
/// and on along K. MN-major: of the position `k`, elements 16 / size * chunk and on along M or N.
std::uint32_t k_major_chunk(const MatrixDescriptor& of, int row, int chunk);
std::uint32_t mn_major_chunk(const MatrixDescriptor& of, int k, int chunk);

/// Reads elements [first, first + kCount) x [0, kDepth) of a matrix (M or N by K) as floats: to[i][k].
/// `block` is the one in whose shared memory, as the asynchronous proxy sees it, the matrix lies.
void read_bf16(BlockRunner& block, const MatrixDescriptor& of, bool mn_major, int first, int count, float* to);
void read_tf32(BlockRunner& block, const MatrixDescriptor& of, int first, int count, float* to);

inline constexpr int kBf16Depth = 16, kTf32Depth = 8;

}  // namespace weft::simt
