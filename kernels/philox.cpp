#include "kernels/philox.h"

#include <cmath>
#include <numbers>

namespace weft {

std::array<std::uint32_t, 4> philox4x32_10(std::uint64_t seed, std::uint64_t subsequence, std::uint64_t block) {
  constexpr std::uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  std::array<std::uint32_t, 4> c = {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                    static_cast<std::uint32_t>(subsequence),
                                    static_cast<std::uint32_t>(subsequence >> 32)};
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * c[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * c[2];
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return c;
}

Philox::Philox(std::uint64_t seed, std::uint64_t subsequence) : seed_(seed), subsequence_(subsequence) {}

std::uint32_t Philox::next() {
  if (used_ == 4) {
    numbers_ = philox4x32_10(seed_, subsequence_, block_++);
    used_ = 0;
  }
  return numbers_[static_cast<std::size_t>(used_++)];
}

float Philox::uniform() {
  return static_cast<float>(next() >> 8) * 0x1p-24f;
}

std::uint32_t Philox::below(std::uint32_t bound) {
  // Lemire's multiply-and-reject: the low half of the product is biased only below 2^32 mod bound.
  std::uint64_t product = std::uint64_t{next()} * bound;
  if (static_cast<std::uint32_t>(product) < bound) {
    const std::uint32_t threshold = (0u - bound) % bound;
    while (static_cast<std::uint32_t>(product) < threshold) product = std::uint64_t{next()} * bound;
  }
  return static_cast<std::uint32_t>(product >> 32);
}

float Philox::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  // 1 - uniform lies in (0, 1], so the logarithm is finite.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - static_cast<double>(uniform())));
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(uniform());
  spare_ = static_cast<float>(radius * std::sin(angle));
  has_spare_ = true;
  return static_cast<float>(radius * std::cos(angle));
}

std::uint64_t subsequence_of(const char* name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (; *name; ++name) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001B3u;
  return hash;
}

}  // namespace weft
