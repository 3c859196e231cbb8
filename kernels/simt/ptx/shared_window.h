#pragma once
// Dynamic shared memory as the asynchronous proxy addresses it: within a window of 32 bits, and through a view of its
// own. Bulk copies and wgmma work on dynamic shared memory only.

#include <cstddef>
#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

class BlockRunner;

/// Where the window's first byte of dynamic shared memory lies. (The first KiB belongs to the system, as on sm_90.)
inline constexpr std::uint32_t kSharedWindowStart = 1024;

/// The address within the window of a pointer into the running block's dynamic shared memory: bits 4 to 9 are what a
/// swizzle looks at.
std::uint32_t shared_address(const void* pointer);

/// A piece of a block's dynamic shared memory: as its threads see it, and as the asynchronous proxy does.
struct SharedPiece {
  BlockRunner* block = nullptr;
  std::size_t offset = 0;
  std::size_t bytes = 0;

  unsigned char* threads() const;
  unsigned char* proxy() const;
  std::uint32_t address() const { return kSharedWindowStart + static_cast<std::uint32_t>(offset); }
  /// The asynchronous proxy writes: both see it.
  void write(std::size_t at, const void* from, std::size_t size) const;
  void poison() const;
};

/// The piece of the running block at `pointer`. Throws weft::Error where it is not a multiple of `alignment` or not
/// within the block's dynamic shared memory.
SharedPiece shared_piece(const void* pointer, std::size_t bytes, std::size_t alignment, const char* what, Site site);

}  // namespace weft::simt
