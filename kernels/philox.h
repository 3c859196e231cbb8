#pragma once
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), counter layout as
// cuRAND's device API has it: after curand_init(seed, subsequence, offset) the counter's low half is offset / 4, its
// high half is the subsequence, and the key is the seed. One seed therefore means the same on every device and on the
// host.

#include <array>
#include <cstdint>

namespace weft {

/// The four 32-bit numbers that cuRAND's curand4() gives right after curand_init(seed, subsequence, 4 * block).
std::array<std::uint32_t, 4> philox4x32_10(std::uint64_t seed, std::uint64_t subsequence, std::uint64_t block);

/// A stream of numbers on the host: same seed and subsequence, same numbers.
class Philox {
 public:
  Philox(std::uint64_t seed, std::uint64_t subsequence);
  /// The next 32 random bits.
  std::uint32_t next();
  /// Uniform in [0, 1), 24 bits.
  float uniform();
  /// Uniform in [0, bound) without modulo bias. `bound` is at least 1.
  std::uint32_t below(std::uint32_t bound);
  /// Standard normal (Box-Muller).
  float normal();

 private:
  std::uint64_t seed_, subsequence_, block_ = 0;
  std::array<std::uint32_t, 4> numbers_{};
  int used_ = 4;
  bool has_spare_ = false;
  float spare_ = 0;
};

/// A subsequence for a name (a parameter, say), so that adding one does not move the numbers of the others (64-bit
/// FNV-1a).
std::uint64_t subsequence_of(const char* name);

}  // namespace weft
