#pragma once
// Memory for tensors on the host.

#include <cstddef>

namespace weft::cpu {

/// 64-byte aligned at least. Large blocks begin on a huge page and ask for such: activations are streamed through, and
/// the fewer the pages the fewer the misses in the TLB (a tenth of a training step). Null where there is none.
void* allocate_memory(std::size_t bytes) noexcept;
void release_memory(void* data) noexcept;

}  // namespace weft::cpu
