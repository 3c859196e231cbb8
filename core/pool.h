#pragma once
// The allocator that every device hands out memory through: blocks given back are kept by size and handed out again,
// for a device's own allocator is slow (cudaMalloc waits for the GPU) and a fresh page is a page fault.

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "core/device.h"

namespace weft {

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  explicit Pool(Device& device) : device_(&device) {}

  /// A block of at least `bytes`: a kept one that is at most an eighth too large, else a new one; where the device has
  /// no more, all kept blocks go back first. Throws Error: need, have.
  std::shared_ptr<void> allocate(std::size_t bytes);
  /// Gives the kept blocks back to the device.
  void trim() noexcept;
  /// trim(), and nothing is asked of the device from now on: a block that is still out is never released.
  void close() noexcept;

  std::size_t in_use() const;
  std::size_t kept() const;
  std::size_t high_water_mark() const;
  void reset_high_water_mark();

  /// What a request is rounded up to: 512 bytes, from 1 MiB on a sixteenth of the next power of two below it, so that
  /// requests of nearly the same size share a block.
  static std::size_t block_size(std::size_t bytes);

 private:
  void give_back(void* block, std::size_t size) noexcept;
  void trim_locked() noexcept;

  mutable std::mutex mutex_;
  Device* device_;
  std::multimap<std::size_t, void*> kept_;
  std::size_t in_use_ = 0, kept_bytes_ = 0, high_water_mark_ = 0;
};

}  // namespace weft
