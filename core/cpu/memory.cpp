#include "core/cpu/memory.h"

#include <sys/mman.h>

#include <cstdlib>

namespace weft::cpu {

void* allocate_memory(std::size_t bytes) noexcept {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  void* data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (data && alignment == kHugePage) ::madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

void release_memory(void* data) noexcept {
  std::free(data);
}

}  // namespace weft::cpu
