#include "bench/cuda_clock.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <fstream>
#include <string>

#include "kernels/error.h"

namespace weft::bench {
namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fail(fmt::format("bench: {}: {}: {}", what, cudaGetErrorName(status), cudaGetErrorString(status)));
}

class CudaClock final : public Clock {
 public:
  explicit CudaClock(int device) {
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaStreamCreate(&stream_), "cudaStreamCreate");
    check(cudaEventCreate(&start_), "cudaEventCreate");
    check(cudaEventCreate(&stop_), "cudaEventCreate");
    int bytes = 0;
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device), "the size of L2");
    cache_bytes_ = static_cast<std::size_t>(bytes);
  }
  CudaClock(const CudaClock&) = delete;
  CudaClock& operator=(const CudaClock&) = delete;
  ~CudaClock() override {  // nothing to be done about an error here
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
    cudaStreamDestroy(stream_);
  }

  double seconds(const std::function<void()>& work) override {
    check(cudaEventRecord(start_, stream_), "cudaEventRecord");
    work();
    check(cudaEventRecord(stop_, stream_), "cudaEventRecord");
    check(cudaEventSynchronize(stop_), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_, stop_), "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }
  Stream stream() const override { return stream_; }
  std::size_t cache_bytes() const override { return cache_bytes_; }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
  std::size_t cache_bytes_ = 0;
};

std::string version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

/// "580.159.04" of "NVRM version: NVIDIA UNIX ... Kernel Module  580.159.04  Release ..."; empty where it is not told.
std::string kernel_driver() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string word;
  while (file >> word)
    if (word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos) return word;
  return "";
}

}  // namespace

std::unique_ptr<Clock> make_cuda_clock(int device) {
  return std::make_unique<CudaClock>(device);
}

std::string cuda_versions() {
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "the driver's version");
  check(cudaRuntimeGetVersion(&runtime), "the runtime's version");
  const std::string kernel = kernel_driver();
  return fmt::format("driver {}for CUDA {}, CUDA runtime {}", kernel.empty() ? "" : kernel + ", ", version(driver),
                     version(runtime));
}

}  // namespace weft::bench
