#pragma once

#include <cstddef>

namespace weft {

/// Bytes that a program can still allocate on this machine without swapping: what the kernel calls MemAvailable
/// (free memory and the page cache it would give up), or less where the control group has a lower limit.
std::size_t host_memory_available();

}  // namespace weft
