#include "kernels/simt/ptx/shared_window.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/block.h"
#include "kernels/simt/ptx/address.h"
#include "kernels/simt/static_shared.h"

namespace weft::simt {

std::uint32_t shared_address(const void* pointer) {
  return shared_piece(pointer, 0, 1, "shared_address", Site{}).address();
}

unsigned char* SharedPiece::threads() const {
  return static_cast<unsigned char*>(block->dynamic_shared()) + offset;
}

unsigned char* SharedPiece::proxy() const {
  return block->proxy().data() + offset;
}

void SharedPiece::write(std::size_t at, const void* from, std::size_t size) const {
  std::memcpy(threads() + at, from, size);
  std::memcpy(proxy() + at, from, size);
  block->proxy().overwritten(offset + at, size);
}

void SharedPiece::poison() const {
  fill_poison(threads(), bytes);
  fill_poison(proxy(), bytes);
  block->proxy().overwritten(offset, bytes);
}

SharedPiece shared_piece(const void* pointer, std::size_t bytes, std::size_t alignment, const char* what, Site site) {
  if (!running_block) fail(fmt::format("{} at {}:{}: outside a kernel", what, site.file, site.line));
  check_aligned(pointer, alignment, "shared", what, site);
  if (!running_block->in_dynamic_shared(pointer, bytes))
    fail(fmt::format("{} at {}:{}: the {} bytes at {} are not within this block's {} bytes of dynamic shared memory",
                     what, site.file, site.line, bytes, fmt::ptr(pointer), running_block->shared_bytes()));
  const auto offset = static_cast<const char*>(pointer) - static_cast<const char*>(running_block->dynamic_shared());
  return {running_block, static_cast<std::size_t>(offset), bytes};
}

}  // namespace weft::simt
