#include "kernels/simt/ptx/stack_copy.h"

#include <cstring>

#include "kernels/simt/block.h"
#include "kernels/simt/sanitizer.h"

namespace weft::simt {

#if WEFT_SIMT_ASAN
// Volatile, lest the loop become a memcpy, which is checked.
__attribute__((no_sanitize_address)) void copy_words(const std::uint32_t* at, std::size_t count, std::uint32_t* to) {
  const volatile std::uint32_t* const words = at;
  for (std::size_t i = 0; i < count; ++i) to[i] = words[i];
}
#else
void copy_words(const std::uint32_t* at, std::size_t count, std::uint32_t* to) {
  std::memcpy(to, at, count * sizeof(std::uint32_t));
}
#endif

void StackCopy::take() {
  const Fiber& fiber = *running_block->current().fiber;
  const auto top = reinterpret_cast<std::uintptr_t>(fiber.stack_bottom) + fiber.stack_size;
  from_ = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  words_.resize((top - from_) / sizeof(std::uint32_t));
  copy_words(reinterpret_cast<const std::uint32_t*>(from_), words_.size(), words_.data());
}

std::optional<std::size_t> StackCopy::first_changed(const void* at, std::size_t count) const {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  const std::size_t bytes = words_.size() * sizeof(std::uint32_t);
  if (address < from_ || address - from_ > bytes || count * sizeof(std::uint32_t) > bytes - (address - from_))
    return {};
  const std::uint32_t* const then = words_.data() + (address - from_) / sizeof(std::uint32_t);
  std::vector<std::uint32_t> now(count);
  copy_words(static_cast<const std::uint32_t*>(at), count, now.data());
  for (std::size_t i = 0; i < count; ++i)
    if (now[i] != then[i]) return i;
  return {};
}

}  // namespace weft::simt
