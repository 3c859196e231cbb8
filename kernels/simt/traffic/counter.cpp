#include "kernels/simt/traffic/counter.h"

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <tuple>

#include "kernels/error.h"
#include "kernels/simt/machine.h"

namespace weft::simt {
namespace {

constexpr std::uint64_t kSector = 32;
constexpr unsigned kMostThreads = 1024;  // of a block

struct Access {
  std::uint32_t place;       // index into Log::places
  std::uint32_t warp;        // of the block
  std::uint32_t occurrence;  // the thread's how-manyeth visit to the place
  std::uint32_t bytes;
  std::uint64_t address;
};

/// What one OS thread has seen. It runs one block at a time, so the accesses of a block stand together; they are sorted
/// into instructions when the next block begins.
struct Log {
  uint3 block{};
  bool in_block = false;
  std::vector<Access> accesses;
  std::vector<AccessPlace> places;
  std::vector<std::array<std::uint32_t, kMostThreads>> visits;  // by place and thread
  std::vector<Traffic> totals;                                  // by place

  std::uint32_t place_index(const AccessPlace& place) {
    for (std::uint32_t i = 0; i < places.size(); ++i)
      if (places[i] == place) return i;
    places.push_back(place);
    visits.emplace_back();
    totals.emplace_back();
    return static_cast<std::uint32_t>(places.size() - 1);
  }

  void record(const AccessPlace& place, std::uint64_t address, std::uint32_t bytes) {
    if (!in_block || block.x != blockIdx.x || block.y != blockIdx.y || block.z != blockIdx.z) {
      settle();
      block = blockIdx;
      in_block = true;
    }
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const std::uint32_t index = place_index(place);
    accesses.push_back({index, thread / 32, visits[index][thread]++, bytes, address});
  }

  /// Adds up the block's accesses by instruction: the lanes of a warp that come to a place for the same time.
  void settle() {
    std::sort(accesses.begin(), accesses.end(), [](const Access& a, const Access& b) {
      return std::tie(a.place, a.warp, a.occurrence, a.address) < std::tie(b.place, b.warp, b.occurrence, b.address);
    });
    const Access* before = nullptr;
    std::uint64_t end = 0;          // of the bytes seen in this instruction
    std::uint64_t next_sector = 0;  // the first one not yet counted
    for (const Access& access : accesses) {
      Traffic& total = totals[access.place];
      const bool same = before != nullptr && before->place == access.place && before->warp == access.warp &&
                        before->occurrence == access.occurrence;
      if (!same) {
        total.requests += 1;
        end = next_sector = 0;
      }
      const std::uint64_t last = access.address + access.bytes;
      total.asked += access.bytes;
      if (last > end) total.bytes += last - std::max(end, access.address);
      end = std::max(end, last);
      const std::uint64_t first_sector = std::max(next_sector, access.address / kSector);
      const std::uint64_t sectors_end = (last + kSector - 1) / kSector;
      if (sectors_end > first_sector) total.sectors += sectors_end - first_sector;
      next_sector = std::max(next_sector, sectors_end);
      before = &access;
    }
    accesses.clear();
    for (auto& counts : visits) counts.fill(0);
  }
};

struct Counter {
  std::mutex mutex;
  bool counting = false;
  std::vector<WatchedRange> ranges;
  std::vector<std::shared_ptr<Log>> logs;  // of every OS thread that has recorded
};

Counter& counter() {
  static Counter the_counter;
  return the_counter;
}

/// Which watch the thread's log belongs to: a later one starts anew.
std::uint64_t generation = 0;
thread_local std::uint64_t log_generation = 0;
thread_local std::shared_ptr<Log> log;

void note(const void* pointer, std::size_t bytes, bool store, void* return_address) {
  // Written only between launches, when no other thread runs.
  const Counter& state = counter();
  if (!state.counting) return;
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  for (std::size_t i = 0; i < state.ranges.size(); ++i) {
    const auto begin = reinterpret_cast<std::uintptr_t>(state.ranges[i].begin);
    if (address < begin || address >= begin + state.ranges[i].bytes) continue;
    if (log_generation != generation) {
      log = std::make_shared<Log>();
      log_generation = generation;
      const std::lock_guard lock(counter().mutex);
      counter().logs.push_back(log);
    }
    log->record({reinterpret_cast<std::uintptr_t>(return_address), store, static_cast<int>(i)}, address,
                static_cast<std::uint32_t>(bytes));
    return;
  }
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& other) {
  asked += other.asked;
  bytes += other.bytes;
  sectors += other.sectors;
  requests += other.requests;
  return *this;
}

TrafficWatch::TrafficWatch(std::span<const WatchedRange> ranges) {
  Counter& state = counter();
  const std::lock_guard lock(state.mutex);
  if (state.counting) fail("TrafficWatch: another one is counting; stop it first");
  state.ranges.assign(ranges.begin(), ranges.end());
  state.logs.clear();
  ++generation;
  state.counting = true;
}

TrafficWatch::~TrafficWatch() {
  counter().counting = false;
}

TrafficByPlace TrafficWatch::stop() {
  Counter& state = counter();
  state.counting = false;
  const std::lock_guard lock(state.mutex);
  TrafficByPlace traffic;
  for (const auto& each : state.logs) {
    each->settle();
    for (std::size_t i = 0; i < each->places.size(); ++i) traffic[each->places[i]] += each->totals[i];
  }
  state.logs.clear();
  return traffic;
}

}  // namespace weft::simt

// What -fsanitize=thread has the compiler call before every load and store. The names, and their arguments, are the
// interface between GCC or Clang and ThreadSanitizer's runtime, which is not linked here: these stand in its place.
extern "C" {

using weft::simt::note;

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

void __tsan_read_range(void* address, std::size_t bytes) {
  note(address, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* address, std::size_t bytes) {
  note(address, bytes, true, __builtin_return_address(0));
}

void __tsan_read1(void* address) {
  note(address, 1, false, __builtin_return_address(0));
}
void __tsan_read2(void* address) {
  note(address, 2, false, __builtin_return_address(0));
}
void __tsan_read4(void* address) {
  note(address, 4, false, __builtin_return_address(0));
}
void __tsan_read8(void* address) {
  note(address, 8, false, __builtin_return_address(0));
}
void __tsan_read16(void* address) {
  note(address, 16, false, __builtin_return_address(0));
}
void __tsan_write1(void* address) {
  note(address, 1, true, __builtin_return_address(0));
}
void __tsan_write2(void* address) {
  note(address, 2, true, __builtin_return_address(0));
}
void __tsan_write4(void* address) {
  note(address, 4, true, __builtin_return_address(0));
}
void __tsan_write8(void* address) {
  note(address, 8, true, __builtin_return_address(0));
}
void __tsan_write16(void* address) {
  note(address, 16, true, __builtin_return_address(0));
}
void __tsan_unaligned_read2(void* address) {
  note(address, 2, false, __builtin_return_address(0));
}
void __tsan_unaligned_read4(void* address) {
  note(address, 4, false, __builtin_return_address(0));
}
void __tsan_unaligned_read8(void* address) {
  note(address, 8, false, __builtin_return_address(0));
}
void __tsan_unaligned_read16(void* address) {
  note(address, 16, false, __builtin_return_address(0));
}
void __tsan_unaligned_write2(void* address) {
  note(address, 2, true, __builtin_return_address(0));
}
void __tsan_unaligned_write4(void* address) {
  note(address, 4, true, __builtin_return_address(0));
}
void __tsan_unaligned_write8(void* address) {
  note(address, 8, true, __builtin_return_address(0));
}
void __tsan_unaligned_write16(void* address) {
  note(address, 16, true, __builtin_return_address(0));
}

}  // extern "C"
