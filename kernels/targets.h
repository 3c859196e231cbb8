#pragma once
// The two targets as plain data, so that code compiled once (core/) can use either: the catalogue, and memory.

#include <cstddef>
#include <span>

#include "kernels/catalogue.h"

namespace weft {

struct Target {
  const char* name;  ///< "simt" or "cuda"
  std::span<const Op* const> (*catalogue)();
  /// Number of devices that can be used now: 1 on simt; on cuda 0 without a driver or a GPU.
  int (*device_count)();
  /// "NVIDIA H100 80GB HBM3, compute capability 9.0, driver 13.0" or what simt runs on; a static buffer per device.
  const char* (*describe)(int device);
  /// Compute capability times ten (90), 0 on simt.
  int (*capability)(int device);
  void (*memory)(int device, std::size_t* free_bytes, std::size_t* total_bytes);
  /// Throws weft::Error with the size where there is not enough.
  void* (*allocate)(int device, std::size_t bytes);
  void (*release)(int device, void* pointer) noexcept;
  void (*copy_in)(int device, void* to, const void* from_host, std::size_t bytes);
  void (*copy_out)(int device, void* to_host, const void* from, std::size_t bytes);
  void (*copy)(int device, void* to, const void* from, std::size_t bytes);
  void (*set_bytes)(int device, void* pointer, int value, std::size_t bytes);
  void (*synchronize)(int device);
};

namespace simt {
const Target& target();
}  // namespace simt

namespace cuda {
/// Only where the program was built with nvcc (WEFT_WITH_CUDA).
const Target& target();
}  // namespace cuda

}  // namespace weft
