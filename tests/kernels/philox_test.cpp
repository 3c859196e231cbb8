// Philox on the host, Philox in a kernel, and the known answers of Random123 (kat_vectors, philox4x32 10).

#include "kernels/philox.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/philox_device.h"

namespace weft::test {
namespace {

using Words = std::array<std::uint32_t, 4>;

struct KnownAnswer {
  Words counter;
  std::array<std::uint32_t, 2> key;
  Words answer;
};
constexpr KnownAnswer kKnownAnswers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

Words in_kernel(std::uint64_t seed, std::uint64_t subsequence, std::uint64_t block) {
  const simt::uint4 words = simt::philox4x32_10(seed, subsequence, block);
  return {words.x, words.y, words.z, words.w};
}

std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return std::uint64_t{high} << 32 | low;
}

TEST_CASE("philox: the known answers, on the host and in a kernel") {
  for (const KnownAnswer& known : kKnownAnswers) {
    const std::uint64_t seed = join(known.key[0], known.key[1]);
    const std::uint64_t block = join(known.counter[0], known.counter[1]);
    const std::uint64_t subsequence = join(known.counter[2], known.counter[3]);
    CHECK(philox4x32_10(seed, subsequence, block) == known.answer);
    CHECK(in_kernel(seed, subsequence, block) == known.answer);
  }
}

TEST_CASE("philox: host and kernel agree") {
  Philox draw(2024, 1);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t seed = join(draw.next(), draw.next());
    const std::uint64_t subsequence = join(draw.next(), draw.next());
    const std::uint64_t block = join(draw.next(), draw.next() & 0x3fffffff);
    REQUIRE(philox4x32_10(seed, subsequence, block) == in_kernel(seed, subsequence, block));
  }
}

TEST_CASE("philox: a stream is the blocks in order, whatever is drawn from it") {
  Philox stream(7, 9);
  for (std::uint64_t block = 0; block < 3; ++block)
    for (const std::uint32_t word : philox4x32_10(7, 9, block)) CHECK(stream.next() == word);
  Philox bounded(1, 2);
  double mean = 0, square = 0;
  for (int i = 0; i < 20000; ++i) {
    const float uniform = bounded.uniform();
    REQUIRE((uniform >= 0 && uniform < 1));
    REQUIRE(bounded.below(7) < 7);
    const double normal = bounded.normal();
    mean += normal / 20000;
    square += normal * normal / 20000;
  }
  CHECK(std::abs(mean) < 0.03);  // four standard deviations
  CHECK(std::abs(square - 1) < 0.04);
}

}  // namespace
}  // namespace weft::test
