#include "core/device.h"

#include <fmt/format.h>

#include <charconv>

#include "core/kernel_device.h"
#include "core/pool.h"
#include "kernels/error.h"
#include "kernels/targets.h"

namespace weft {

bool same_layout(const LayoutPtr& a, const LayoutPtr& b) {
  if (a == b) return true;
  return a != nullptr && b != nullptr && a->equals(*b);
}

void Device::check(const CompileOptions&) const {}

Graph Device::prepare(const Graph& graph, const CompileOptions&) const {
  return graph;
}

Device::Device() : pool_(std::make_shared<Pool>(*this)) {}

Device::~Device() = default;

void Device::release_pool() noexcept {
  pool_->close();
}

Buffer Device::allocate(std::size_t bytes) {
  if (bytes == 0) return {};
  return {pool_->allocate(bytes), bytes};
}

std::size_t Device::bytes_in_use() const {
  return pool_->in_use();
}

std::size_t Device::high_water_mark() const {
  return pool_->high_water_mark();
}

void Device::reset_high_water_mark() {
  pool_->reset_high_water_mark();
}

std::size_t Device::bytes_kept() const {
  return pool_->kept();
}

namespace {

std::shared_ptr<Device> make_cpu(const DeviceOptions& options) {
#if WEFT_WITH_CPU
  return make_cpu_device(options);
#else
  (void)options;
  fail("the cpu device is not in this build: configure with -DWEFT_CPU=ON, or take --device simt");
#endif
}

/// GPUs that can be used now.
int cuda_devices() {
#if WEFT_WITH_CUDA
  return cuda::target().device_count();
#else
  return 0;
#endif
}

std::shared_ptr<Device> make_cuda(int index, const DeviceOptions& options) {
#if WEFT_WITH_CUDA
  const int count = cuda_devices();
  if (count == 0)
    fail(
        "cuda: no GPU can be used here (no NVIDIA GPU, or no driver for it): weft_doctor says more; take --device cpu");
  if (index >= count)
    fail(fmt::format("cuda:{}: there {} {} GPU{} here, counted from cuda:0", index, count == 1 ? "is" : "are", count,
                     count == 1 ? "" : "s"));
  return std::make_shared<KernelDevice>(cuda::target(), index, options);
#else
  (void)index;
  (void)options;
  fail(
      "cuda: this build has no cuda device, for no nvcc was found when it was configured: install the CUDA Toolkit and "
      "build again, or take --device cpu");
#endif
}

}  // namespace

std::shared_ptr<Device> make_device(const std::string& name, const DeviceOptions& options) {
  if (name == "auto") return cuda_devices() > 0 ? make_cuda(0, options) : make_cpu(options);
  if (name == "cpu") return make_cpu(options);
  if (name == "simt") return std::make_shared<KernelDevice>(simt::target(), 0, options);
  if (name == "cuda") return make_cuda(0, options);
  if (name.starts_with("cuda:")) {
    int index = -1;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + 5, end, index);
    if (error == std::errc{} && rest == end && index >= 0) return make_cuda(index, options);
  }
  throw UsageError(fmt::format("there is no device \"{}\": take auto, cpu, simt, cuda or cuda:N", name));
}

}  // namespace weft
