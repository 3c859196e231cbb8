#pragma once
// launch(kernel, config, args...) stands in for kernel<<<...>>>(args...) and is the same on both targets. Every launch
// is checked: an error is a weft::Error that names the place and the configuration of the launch.

#include <tuple>
#include <utility>

#include "kernels/catalogue.h"  // Stream
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Grid and block extents, bytes of dynamic shared memory (dynamic_shared<T>() gets at them), the stream, and how many
/// blocks a cluster has along each axis of the grid (at most 8 in all; sm_90).
struct LaunchConfig {
  dim3 grid;
  dim3 block;
  unsigned shared_bytes = 0;
  Stream stream = nullptr;
  dim3 cluster = dim3(1, 1, 1);
  /// Where the configuration is written, for messages. Not to be set.
  const char* file = __builtin_FILE();
  int line = __builtin_LINE();
};

/// Bytes of shared memory that a block gets without being asked about, static and dynamic together; and the most static
/// ones of a kernel that has dynamic ones too, so that launch() knows from the latter when to ask.
inline constexpr std::size_t kSharedUnasked = 48 * 1024, kMostStaticBeside = 32 * 1024;

#if WEFT_TARGET_IS_CUDA

/// Throws weft::Error where `status` is not cudaSuccess: `what` was tried at file:line.
void check_cuda(cudaError_t status, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE());
/// Raises the kernel's limit of dynamic shared memory, which is kSharedUnasked less its static one otherwise. Throws
/// weft::Error.
void prepare_shared(const void* kernel, const LaunchConfig& config);
/// The configuration as cudaLaunchKernelEx takes it, with `attribute`, which must outlive it, for the cluster's
/// extents.
cudaLaunchConfig_t cluster_launch(const LaunchConfig& config, cudaLaunchAttribute& attribute);
/// Throws weft::Error where `status`, what the launch came to, is not cudaSuccess.
void check_launch(cudaError_t status, const void* kernel, const LaunchConfig& config);

/// Starts `kernel` with `args` converted to its parameters' types. Throws weft::Error where it cannot start.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, Args&&... args) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (config.shared_bytes + kMostStaticBeside > kSharedUnasked) prepare_shared(function, config);
  if (config.cluster.x * config.cluster.y * config.cluster.z != 1) {
    cudaLaunchAttribute cluster{};
    const cudaLaunchConfig_t with_cluster = cluster_launch(config, cluster);
    check_launch(cudaLaunchKernelEx(&with_cluster, kernel, static_cast<Parameters>(std::forward<Args>(args))...),
                 function, config);
    return;
  }
  kernel<<<config.grid, config.block, config.shared_bytes, static_cast<cudaStream_t>(config.stream)>>>(
      static_cast<Parameters>(std::forward<Args>(args))...);
  check_launch(cudaGetLastError(), function, config);
}

/// The block's dynamic shared memory.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char weft_dynamic_shared[];
  return reinterpret_cast<T*>(weft_dynamic_shared);
}

#else

/// Runs `kernel` over the whole grid on the SIMT machine and returns when it has finished. Throws weft::Error where a
/// thread threw, or threads wait for each other for ever.
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, Args&&... args) {
  const std::tuple<Parameters...> parameters(static_cast<Parameters>(std::forward<Args>(args))...);
  run_grid(
      config.grid, config.block, config.shared_bytes, [&] { std::apply(kernel, parameters); },
      Site{config.file, config.line}, config.cluster);
}

/// The block's dynamic shared memory.
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_memory());
}

#endif

}  // namespace weft::WEFT_TARGET
