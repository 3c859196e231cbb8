#pragma once
// What a test takes away from a GPU, so that shapes small enough for compute-sanitizer come by the loops that a GPU
// enters with large ones alone: a persistent block's second tile, a convolution's second part. The one place where the
// environment is asked for it:
//
//   WEFT_MULTIPROCESSORS=2    persistent kernels run as if the GPU had two multiprocessors
//   WEFT_PART_BYTES=131072    a convolution that is taken in parts has 128 KiB for each at most
//
// Both lower what there is, never raise it, on cuda and on simt. They are read at every launch and whenever a
// workspace is asked for: a process keeps them from its start to its end.

#include <cstdint>

namespace weft {

/// `count`, or WEFT_MULTIPROCESSORS where that is less. Throws Error where it is no whole number of 1 or more.
int multiprocessors_to_use(int count);

/// `bytes`, or WEFT_PART_BYTES where that is less. Throws Error where it is no whole number of 1 or more.
std::int64_t part_bytes_to_use(std::int64_t bytes);

}  // namespace weft
