#pragma once
// Checks of the addresses that an instruction is given. Each throws one weft::Error that names the instruction and its
// line.

#include <cstddef>

#include "kernels/simt/site.h"

namespace weft::simt {

/// `address` must be a multiple of `alignment`; `name` is what the instruction calls it ("source").
void check_aligned(const void* address, std::size_t alignment, const char* name, const char* what, Site site);

/// The same, and all `bytes` from `address` must lie in one piece of the running block's shared memory. (In a stripped
/// program, where static shared variables cannot be told from others, only the alignment is looked at.)
void check_shared(const void* address, std::size_t bytes, std::size_t alignment, const char* name, const char* what,
                  Site site);

}  // namespace weft::simt
