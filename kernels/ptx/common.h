#pragma once
// What every wrapped instruction needs: the place it stands on, and shared memory's own addresses.

#include <cstdint>

#include "kernels/target.h"

namespace weft::WEFT_TARGET {

#if WEFT_TARGET_IS_CUDA

/// On simt the line of the kernel that an instruction stands on, by which the machine names it and can skip it
/// (kernels/simt/site.h). On cuda empty: it costs nothing.
struct Site {
  __host__ __device__ static constexpr Site here() { return {}; }
};

/// Most instructions take an address within the shared window, which is 32 bits.
__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

#endif

}  // namespace weft::WEFT_TARGET
