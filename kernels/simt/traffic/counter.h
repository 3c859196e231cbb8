#pragma once
// Counts the bytes that kernels move, operand by operand, on the SIMT machine. See README.md.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace weft::simt {

/// What went between threads and a range of memory.
struct Traffic {
  std::uint64_t asked = 0;     ///< bytes, each thread's access counted whole
  std::uint64_t bytes = 0;     ///< bytes, where an instruction's lanes that want the same byte share it: a broadcast
  std::uint64_t sectors = 0;   ///< 32-byte sectors touched, summed over warps' instructions
  std::uint64_t requests = 0;  ///< instructions of a warp

  Traffic& operator+=(const Traffic& other);
};

/// A range of memory whose traffic is to be counted.
struct WatchedRange {
  const void* begin = nullptr;
  std::size_t bytes = 0;
};

/// One load or store in the program, and the range that it touched.
struct AccessPlace {
  std::uintptr_t address = 0;  ///< where the instruction behind it lies: what addr2line wants is this less 1
  bool store = false;
  int range = 0;  ///< index of the watched range

  auto operator<=>(const AccessPlace&) const = default;
};

using TrafficByPlace = std::map<AccessPlace, Traffic>;

/// Counts from its construction to stop(). One at a time, and between launches: nothing may run on the machine while it
/// starts or stops. Ranges do not overlap.
class TrafficWatch {
 public:
  /// Throws weft::Error where another one is counting.
  explicit TrafficWatch(std::span<const WatchedRange> ranges);
  ~TrafficWatch();
  TrafficWatch(const TrafficWatch&) = delete;
  TrafficWatch& operator=(const TrafficWatch&) = delete;

  /// Ends the counting and returns what was counted.
  TrafficByPlace stop();
};

}  // namespace weft::simt
