// What becomes of a launch on a GPU: limits raised before, errors made sentences after.
#include "kernels/launch.h"

#if WEFT_TARGET_IS_CUDA

#include <string>

#include "kernels/error.h"
#include "kernels/gpu_text.h"

namespace weft::cuda {
namespace {

std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

std::string place(const char* file, int line) {
  return std::string(file) + ":" + std::to_string(line);
}

std::string extents(const dim3& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}

/// The current device.
GpuIdentity this_gpu() {
  int device = 0;
  cudaDeviceProp properties;
  if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&properties, device) != cudaSuccess) return {};
  return {properties.name, properties.major, properties.minor};
}

/// What the error means for the reader, beyond CUDA's own words. Empty where that is all there is to say.
std::string advice(cudaError_t status) {
  switch (status) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorInvalidKernelImage:
    case cudaErrorInvalidDeviceFunction:
      return no_kernel_image_advice(WEFT_CUDA_ARCHITECTURES_USED, this_gpu());
    case cudaErrorInsufficientDriver: {
      int driver = 0, runtime = 0;
      cudaDriverGetVersion(&driver);
      cudaRuntimeGetVersion(&runtime);
      const std::string has =
          driver == 0 ? "no NVIDIA driver is installed" : "the driver is for CUDA " + version(driver);
      return has + ", and this program was built with CUDA " + version(runtime) +
             ": install a driver that is as new, or use --device cpu";
    }
    case cudaErrorNoDevice:
      return "this machine shows no GPU (nvidia-smi lists them; CUDA_VISIBLE_DEVICES may hide them): use --device cpu";
    case cudaErrorMemoryAllocation: {
      std::size_t free_bytes = 0, total_bytes = 0;
      cudaMemGetInfo(&free_bytes, &total_bytes);
      return std::to_string(free_bytes >> 20) + " of " + std::to_string(total_bytes >> 20) + " MiB are free";
    }
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
      return "a kernel that was started earlier may be the one to blame; run it on the simt target under "
             "AddressSanitizer, or here "
             "under compute-sanitizer";
    default:
      return "";
  }
}

[[noreturn]] void report(cudaError_t status, const std::string& what) {
  const std::string more = advice(status);
  fail(what + ": " + cudaGetErrorName(status) + ": " + cudaGetErrorString(status) +
       (more.empty() ? "" : " (" + more + ")"));
}

std::string launch_text(const LaunchConfig& config) {
  const dim3& cluster = config.cluster;
  const bool alone = cluster.x * cluster.y * cluster.z == 1;
  return "cuda: kernel launched at " + place(config.file, config.line) + " with grid " + extents(config.grid) +
         ", block " + extents(config.block) + (alone ? "" : ", cluster " + extents(cluster)) + " and " +
         std::to_string(config.shared_bytes) + " bytes of dynamic shared memory";
}

}  // namespace

void check_cuda(cudaError_t status, const char* what, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // not to be found again after a later call
  report(status, "cuda: " + std::string(what) + " at " + place(file, line));
}

void prepare_shared(const void* kernel, const LaunchConfig& config) {
  const cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(config.shared_bytes));
  if (status == cudaSuccess) return;
  cudaGetLastError();
  int device = 0, limit = 0;
  if (cudaGetDevice(&device) == cudaSuccess) {
    cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  report(status, launch_text(config) + ", where " + gpu_text(this_gpu()) + " allows " + std::to_string(limit));
}

cudaLaunchConfig_t cluster_launch(const LaunchConfig& config, cudaLaunchAttribute& attribute) {
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = config.cluster.x;
  attribute.val.clusterDim.y = config.cluster.y;
  attribute.val.clusterDim.z = config.cluster.z;
  cudaLaunchConfig_t launch{};
  launch.gridDim = config.grid;
  launch.blockDim = config.block;
  launch.dynamicSmemBytes = config.shared_bytes;
  launch.stream = static_cast<cudaStream_t>(config.stream);
  launch.attrs = &attribute;
  launch.numAttrs = 1;
  return launch;
}

void check_launch(cudaError_t status, const void* kernel, const LaunchConfig& config) {
  if (status == cudaSuccess) return;
  std::string text = launch_text(config);
  cudaFuncAttributes attributes;
  if (status == cudaErrorLaunchOutOfResources && cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess) {
    text += " (the kernel takes " + std::to_string(attributes.numRegs) + " registers a thread, " +
            std::to_string(attributes.sharedSizeBytes) + " bytes of static shared memory and at most " +
            std::to_string(attributes.maxThreadsPerBlock) + " threads a block)";
  }
  report(status, text);
}

}  // namespace weft::cuda

#endif
