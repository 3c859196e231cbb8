#include "core/pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/text.h"
#include "kernels/error.h"

namespace weft {

std::size_t Pool::block_size(std::size_t bytes) {
  constexpr std::size_t kSmall = 512, kLarge = std::size_t{1} << 20;
  const std::size_t step = bytes < kLarge ? kSmall : std::bit_floor(bytes) / 16;
  return (std::max<std::size_t>(bytes, 1) + step - 1) / step * step;
}

std::shared_ptr<void> Pool::allocate(std::size_t bytes) {
  const std::size_t size = block_size(bytes);
  std::unique_lock lock(mutex_);
  WEFT_CHECK(device_ != nullptr, "the device is gone");
  void* block = nullptr;
  std::size_t got = size;
  if (const auto found = kept_.lower_bound(size); found != kept_.end() && found->first <= size + size / 8) {
    got = found->first;
    block = found->second;
    kept_bytes_ -= got;
    kept_.erase(found);
  } else {
    std::string reason;
    // A device says that it is out of memory in its own words, or by a null pointer.
    for (int attempt = 0; attempt < 2 && block == nullptr; ++attempt) {
      if (attempt == 1) trim_locked();
      try {
        block = device_->allocate_bytes(size);
      } catch (const Error& error) {
        reason = fmt::format(" ({})", error.what());
      }
    }
    if (block == nullptr) {
      const std::size_t in_use = in_use_;
      Device& device = *device_;
      lock.unlock();  // the device's answers ask the pool
      fail(fmt::format("{}: out of memory: need {}, have {}, with {} in use already{}", device.name(), bytes_text(size),
                       bytes_text(device.memory_available()), bytes_text(in_use), reason));
    }
  }
  in_use_ += got;
  high_water_mark_ = std::max(high_water_mark_, in_use_);
  return {block, [pool = shared_from_this(), got](void* freed) { pool->give_back(freed, got); }};
}

void Pool::give_back(void* block, std::size_t size) noexcept {
  const std::lock_guard lock(mutex_);
  in_use_ -= size;
  if (device_ == nullptr) return;
  try {
    kept_.emplace(size, block);
    kept_bytes_ += size;
  } catch (...) {  // no memory to remember it by
    device_->release_bytes(block);
  }
}

void Pool::trim_locked() noexcept {
  for (const auto& [size, block] : kept_) device_->release_bytes(block);
  kept_.clear();
  kept_bytes_ = 0;
}

void Pool::trim() noexcept {
  const std::lock_guard lock(mutex_);
  if (device_ != nullptr) trim_locked();
}

void Pool::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (device_ != nullptr) trim_locked();
  device_ = nullptr;
}

std::size_t Pool::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

std::size_t Pool::kept() const {
  const std::lock_guard lock(mutex_);
  return kept_bytes_;
}

std::size_t Pool::high_water_mark() const {
  const std::lock_guard lock(mutex_);
  return high_water_mark_;
}

void Pool::reset_high_water_mark() {
  const std::lock_guard lock(mutex_);
  high_water_mark_ = in_use_;
}

}  // namespace weft
