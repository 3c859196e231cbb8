#include "kernels/simt/ptx/wgmma_operand.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/ptx/mma_sum.h"
#include "kernels/simt/ptx/shared_window.h"

namespace weft::simt {
namespace {

constexpr std::uint32_t kChunk = 16, kLine = 128;

/// Swizzle<bits, 4, 3>: address bits 4 and up are XORed with bits 7 and up, counted from where the pattern begins.
std::uint32_t swizzle(const MatrixDescriptor& of, std::uint32_t address) {
  const std::uint32_t line = (address - of.base_offset * kLine) / kLine;
  return address ^ (line & ((1u << of.swizzle_bits) - 1)) * kChunk;
}

const unsigned char* chunk_at(BlockRunner& block, std::uint32_t address) {
  if (address < kSharedWindowStart || address - kSharedWindowStart + kChunk > block.shared_bytes())
    fail(fmt::format("the descriptor leads to shared address {}, outside the block's dynamic shared memory ({} bytes)",
                     address, block.shared_bytes()));
  const std::size_t offset = address - kSharedWindowStart;
  block.proxy().require_fenced(offset, kChunk);
  return block.proxy().data() + offset;
}

}  // namespace

MatrixDescriptor decode(std::uint64_t descriptor, const char* what, Site site) {
  constexpr std::uint64_t kField = 0x3fff;
  if (descriptor &
      (std::uint64_t{3} << 14 | std::uint64_t{3} << 30 | std::uint64_t{7} << 46 | std::uint64_t{0x3ff} << 52))
    fail(fmt::format("{} at {}:{}: the descriptor {:#018x} has bits set that must be 0", what, site.file, site.line,
                     descriptor));
  const auto mode = static_cast<unsigned>(descriptor >> 62);
  return {static_cast<std::uint32_t>(descriptor & kField) * kChunk,
          static_cast<std::uint32_t>(descriptor >> 16 & kField) * kChunk,
          static_cast<std::uint32_t>(descriptor >> 32 & kField) * kChunk, static_cast<unsigned>(descriptor >> 49 & 7),
          mode == 0 ? 0 : 4 - mode};
}

// In chunks of 16 bytes (T elements), the canonical layout is ((8,m),(1,2k)) : ((1,SBO),(1,LBO)) without a swizzle, and
// ((8,m),(1,2k)) : ((2|4|8,SBO),(1,1)) with one of 32, 64 or 128 bytes: a row is as long as the swizzle.
std::uint32_t k_major_chunk(const MatrixDescriptor& of, int row, int chunk) {
  const auto r = static_cast<std::uint32_t>(row), c = static_cast<std::uint32_t>(chunk);
  const std::uint32_t row_pitch = kChunk << of.swizzle_bits, chunk_pitch = of.swizzle_bits == 0 ? of.leading : kChunk;
  return swizzle(of, of.start + r % 8 * row_pitch + r / 8 * of.stride + c * chunk_pitch);
}

// ((1,m),(8,k)) : ((1,SBO),(1,LBO)) without a swizzle, ((2|4|8,m),(8,k)) : ((1,LBO),(2|4|8,SBO)) with one. (Yes: the
// two offsets change their roles.)
std::uint32_t mn_major_chunk(const MatrixDescriptor& of, int k, int chunk) {
  const auto d = static_cast<std::uint32_t>(k), c = static_cast<std::uint32_t>(chunk);
  const std::uint32_t chunks = 1u << of.swizzle_bits;  // side by side
  const std::uint32_t along_mn = of.swizzle_bits == 0 ? of.stride : of.leading;
  const std::uint32_t along_k = of.swizzle_bits == 0 ? of.leading : of.stride;
  return swizzle(of,
                 of.start + c % chunks * kChunk + c / chunks * along_mn + d % 8 * chunks * kChunk + d / 8 * along_k);
}

void read_bf16(BlockRunner& block, const MatrixDescriptor& of, bool mn_major, int first, int count, float* to) {
  std::uint16_t elements[8];
  const auto as_float = [](std::uint16_t bits) { return bf16_low(bits); };
  if (mn_major) {
    for (int k = 0; k < kBf16Depth; ++k) {
      for (int i = 0; i < count; i += 8) {
        std::memcpy(elements, chunk_at(block, mn_major_chunk(of, k, (first + i) / 8)), kChunk);
        for (int e = 0; e < 8; ++e) to[(i + e) * kBf16Depth + k] = as_float(elements[e]);
      }
    }
    return;
  }
  for (int i = 0; i < count; ++i) {
    for (int chunk = 0; chunk < kBf16Depth / 8; ++chunk) {
      std::memcpy(elements, chunk_at(block, k_major_chunk(of, first + i, chunk)), kChunk);
      for (int e = 0; e < 8; ++e) to[i * kBf16Depth + chunk * 8 + e] = as_float(elements[e]);
    }
  }
}

void read_tf32(BlockRunner& block, const MatrixDescriptor& of, int first, int count, float* to) {
  std::uint32_t elements[4];
  for (int i = 0; i < count; ++i) {
    for (int chunk = 0; chunk < kTf32Depth / 4; ++chunk) {
      std::memcpy(elements, chunk_at(block, k_major_chunk(of, first + i, chunk)), kChunk);
      for (int e = 0; e < 4; ++e) to[i * kTf32Depth + chunk * 4 + e] = tf32_value(elements[e]);
    }
  }
}

}  // namespace weft::simt
