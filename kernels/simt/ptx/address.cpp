#include "kernels/simt/ptx/address.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/static_shared.h"

namespace weft::simt {

void check_aligned(const void* address, std::size_t alignment, const char* name, const char* what, Site site) {
  if (reinterpret_cast<std::uintptr_t>(address) % alignment == 0) return;
  fail(fmt::format("{} at {}:{}: the {} address {} is not a multiple of {}", what, site.file, site.line, name,
                   fmt::ptr(address), alignment));
}

void check_shared(const void* address, std::size_t bytes, std::size_t alignment, const char* name, const char* what,
                  Site site) {
  check_aligned(address, alignment, name, what, site);
  if (!running_block) fail(fmt::format("{} at {}:{}: outside a kernel", what, site.file, site.line));
  if (running_block->in_dynamic_shared(address, bytes) || in_static_shared(address, bytes)) return;
  fail(fmt::format("{} at {}:{}: the {} bytes at the {} address {} are not shared memory of this block", what,
                   site.file, site.line, bytes, name, fmt::ptr(address)));
}

}  // namespace weft::simt
