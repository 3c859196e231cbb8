#pragma once
// launch(kernel, config, args...) stands in for kernel<<<...>>>(args...) and is the same on both targets. Every launch
// is checked: an error is a weft::Error that names the kernel's configuration.

#include <source_location>
#include <utility>

#include "kernels/catalogue.h"  // Stream
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Grid and block extents, bytes of dynamic shared memory (dynamic_shared<T>() gets at them), and the stream.
struct LaunchConfig {
  dim3 grid;
  dim3 block;
  unsigned shared_bytes = 0;
  Stream stream = nullptr;
};

#if WEFT_TARGET_IS_CUDA

/// Raises the block's limit of dynamic shared memory where 48 KiB are not enough.
void prepare_shared(const void* kernel, unsigned shared_bytes, const LaunchConfig& config, std::source_location where);
/// Throws weft::Error where `status` is not cudaSuccess.
void check_launch(cudaError_t status, const LaunchConfig& config, std::source_location where);

template <class... Parameters>
struct Kernel {
  void (*function)(Parameters...);
};

/// Starts `kernel` with `args` converted to its parameters' types.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, Args&&... args) {
  const auto where = std::source_location::current();
  if (config.shared_bytes > 48 * 1024)
    prepare_shared(reinterpret_cast<const void*>(kernel), config.shared_bytes, config, where);
  kernel<<<config.grid, config.block, config.shared_bytes, static_cast<cudaStream_t>(config.stream)>>>(
      static_cast<Parameters>(std::forward<Args>(args))...);
  check_launch(cudaGetLastError(), config, where);
}

/// The block's dynamic shared memory.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char weft_dynamic_shared[];
  return reinterpret_cast<T*>(weft_dynamic_shared);
}

#else

/// Runs `kernel` over the whole grid on the SIMT machine and returns when it has finished.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, Args&&... args) {
  run_grid(config.grid, config.block, config.shared_bytes, [&]() { kernel(static_cast<Parameters>(args)...); });
}

/// The block's dynamic shared memory.
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_memory());
}

#endif

}  // namespace weft::WEFT_TARGET
