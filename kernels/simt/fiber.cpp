#include "kernels/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "kernels/error.h"

namespace weft::simt {
namespace {

// A guard page splits a mapping in two, and Linux allows 65530 mappings: beyond this many stacks, none is guarded.
constexpr int kGuardedStacks = 20000;
std::atomic<int> mapped_stacks{0};

std::size_t page_bytes() {
  static const std::size_t bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

void map_stack(Fiber& fiber, std::size_t bytes, std::size_t number) {
  const std::size_t page = page_bytes();
  const std::size_t stack = (bytes + page - 1) / page * page + page;  // a page more, for the shift of the top
  void* mapping =
      mmap(nullptr, stack + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    fail("simt: no memory for the stacks of a block's threads (" + std::to_string(bytes) +
         " bytes each): " + std::strerror(errno));
  }
  if (mapped_stacks.fetch_add(1) < kGuardedStacks) mprotect(mapping, page, PROT_NONE);
  fiber.mapping = mapping;
  fiber.mapping_bytes = stack + page;
  fiber.stack_bottom = static_cast<char*>(mapping) + page;
  fiber.stack_size = stack - number * 320 % page / 64 * 64;
}

void unmap_stack(Fiber& fiber) {
  if (!fiber.mapping) return;
#if WEFT_SIMT_ASAN
  __asan_unpoison_memory_region(fiber.mapping, fiber.mapping_bytes);
#endif
  munmap(fiber.mapping, fiber.mapping_bytes);
  mapped_stacks.fetch_sub(1);
  fiber.mapping = nullptr;
}

}  // namespace weft::simt
