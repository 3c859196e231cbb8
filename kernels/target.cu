// The cuda target as plain data: its devices and their memory. (The simt target's are in simt/target.cpp.)
#include "kernels/launch.h"

#if WEFT_TARGET_IS_CUDA

#include <mutex>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/targets.h"

namespace weft::cuda {

std::span<const Op* const> catalogue();

namespace {

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {  // no driver, or an old one: there is no device to use
    cudaGetLastError();
    return 0;
  }
  return count;
}

void use(int device) {
  check_cuda(cudaSetDevice(device), ("use of device " + std::to_string(device)).c_str());
}

int capability(int device) {
  int major = 0, minor = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "the compute capability");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "the compute capability");
  return major * 10 + minor;
}

const char* describe(int device) {
  static std::mutex mutex;
  static std::vector<std::string> texts(static_cast<std::size_t>(device_count()));
  const std::lock_guard lock(mutex);
  if (device < 0 || device >= static_cast<int>(texts.size())) return "no such device";
  std::string& text = texts[static_cast<std::size_t>(device)];
  if (text.empty()) {
    cudaDeviceProp properties;
    int driver = 0;
    check_cuda(cudaGetDeviceProperties(&properties, device), "the device's properties");
    check_cuda(cudaDriverGetVersion(&driver), "the driver's version");
    text = std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
           std::to_string(properties.minor) + ", driver " + std::to_string(driver / 1000) + "." +
           std::to_string(driver % 1000 / 10);
  }
  return text.c_str();
}

void memory(int device, std::size_t* free_bytes, std::size_t* total_bytes) {
  use(device);
  check_cuda(cudaMemGetInfo(free_bytes, total_bytes), "cudaMemGetInfo");
}

void* allocate(int device, std::size_t bytes) {
  use(device);
  void* pointer = nullptr;
  check_cuda(cudaMalloc(&pointer, bytes ? bytes : 1), ("cudaMalloc of " + std::to_string(bytes) + " bytes").c_str());
  return pointer;
}

void release(int device, void* pointer) noexcept {
  if (!pointer) return;
  // Nothing to be done about an error here; a fault of an earlier kernel is reported by the next checked call.
  if (cudaSetDevice(device) == cudaSuccess) static_cast<void>(cudaFree(pointer));
}

void move(int device, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, const char* what) {
  if (bytes == 0) return;
  use(device);
  check_cuda(cudaMemcpy(to, from, bytes, kind),
             (std::string(what) + " of " + std::to_string(bytes) + " bytes").c_str());
}

void copy_in(int device, void* to, const void* from_host, std::size_t bytes) {
  move(device, to, from_host, bytes, cudaMemcpyHostToDevice, "copy to the device");
}

void copy_out(int device, void* to_host, const void* from, std::size_t bytes) {
  move(device, to_host, from, bytes, cudaMemcpyDeviceToHost, "copy from the device");
}

void copy(int device, void* to, const void* from, std::size_t bytes) {
  move(device, to, from, bytes, cudaMemcpyDeviceToDevice, "copy on the device");
}

void set_bytes(int device, void* pointer, int value, std::size_t bytes) {
  if (bytes == 0) return;
  use(device);
  check_cuda(cudaMemset(pointer, value, bytes), ("cudaMemset of " + std::to_string(bytes) + " bytes").c_str());
}

void synchronize(int device) {
  use(device);
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

constexpr Target kTarget = {"cuda",  catalogue, device_count, describe, capability, memory,     allocate,
                            release, copy_in,   copy_out,     copy,     set_bytes,  synchronize};

}  // namespace

const Target& target() {
  return kTarget;
}

}  // namespace weft::cuda

#endif
