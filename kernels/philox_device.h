#pragma once
// Philox4x32-10 inside a kernel. kernels/philox.h is the same for the host; a test holds the two and cuRAND together.
//
// Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011): ten rounds of multiplication
// and exclusive or turn a counter into four random words. There is no state to keep: element i of a tensor asks for
// counter i / 4 and gets its numbers whatever thread asks, in whatever order. The counter's layout is that of cuRAND's
// device API after curand_init(seed, subsequence, 4 * block).

#include <cstdint>

#include "kernels/target.h"

namespace weft::WEFT_TARGET {

__device__ inline uint4 philox4x32_10(uint64_t seed, uint64_t subsequence, uint64_t block) {
  uint4 counter = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(subsequence),
                   static_cast<uint32_t>(subsequence >> 32)};
  uint32_t key_x = static_cast<uint32_t>(seed), key_y = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    // One 32 x 32 -> 64 bit multiplication each; nvcc keeps both halves.
    const uint64_t product_x = uint64_t{0xD2511F53u} * counter.x;
    const uint64_t product_z = uint64_t{0xCD9E8D57u} * counter.z;
    counter = {static_cast<uint32_t>(product_z >> 32) ^ counter.y ^ key_x, static_cast<uint32_t>(product_z),
               static_cast<uint32_t>(product_x >> 32) ^ counter.w ^ key_y, static_cast<uint32_t>(product_x)};
    key_x += 0x9E3779B9u;  // the golden ratio
    key_y += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

}  // namespace weft::WEFT_TARGET
