#pragma once
// Where a benchmark runs, and the clock that is right there.

#include <functional>
#include <memory>
#include <string>

#include "kernels/targets.h"

namespace weft::bench {

/// A device of a target. On "cpu" there are no kernels of ours: the host's memory (simt's) and libraries on the host.
struct Place {
  std::string name;  ///< "cuda:0", "simt", "cpu"
  const Target* target = nullptr;
  int index = 0;
  int capability = 0;     ///< compute capability times ten; 0 off the GPU
  bool has_rungs = true;  ///< false on the cpu
  bool on_gpu() const { return capability > 0; }
};

/// "cuda", "cuda:N", "simt" or "cpu". Throws Error where that device is not here (in one line that says why), and
/// UsageError for any other name.
Place make_place(const std::string& name);

/// Times launches: with CUDA events on a GPU, which time what the GPU does and not what the host waits for, else with
/// the host's steady clock.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Seconds that `work`, which enqueues launches on stream(), takes from its first to its last.
  virtual double seconds(const std::function<void()>& work) = 0;
  virtual Stream stream() const { return nullptr; }
  /// Bytes of the cache that a repeated run could be served from, to be outgrown by rotating buffers; 0: do not bother.
  virtual std::size_t cache_bytes() const { return 0; }
};

std::unique_ptr<Clock> make_clock(const Place& place);

/// Date and time in UTC as ISO 8601 has it: "2026-01-31T12:00:00Z".
std::string timestamp();
/// The host's processor, as /proc/cpuinfo names it.
std::string processor();
/// "driver 580.10, CUDA runtime 13.0, ..." on a GPU; what is known of the host elsewhere.
std::string versions_text(const Place& place);

}  // namespace weft::bench
