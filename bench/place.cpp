#include "bench/place.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <ctime>
#include <fstream>

#include "bench/cuda_clock.h"
#include "kernels/error.h"
#include "kernels/simt/machine.h"

namespace weft::bench {
namespace {

class HostClock final : public Clock {
 public:
  double seconds(const std::function<void()>& work) override {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
};

Place make_cuda_place(int index) {
#if WEFT_WITH_CUDA
  const int count = weft::cuda::target().device_count();
  if (count == 0)
    fail("no GPU is here (no NVIDIA GPU, or no driver for it): --device simt runs the kernels on the CPU");
  if (index >= count)
    fail(fmt::format("cuda:{}: {} GPU{} here, counted from cuda:0", index, count, count == 1 ? " is" : "s are"));
  return {fmt::format("cuda:{}", index), &weft::cuda::target(), index, weft::cuda::target().capability(index)};
#else
  (void)index;
  fail(
      "this build has no cuda device, for no nvcc was found when it was configured: --device simt runs the kernels on "
      "the CPU");
#endif
}

}  // namespace

Place make_place(const std::string& name) {
  if (name == "simt") return {name, &weft::simt::target(), 0, 0};
  if (name == "cpu") return {name, &weft::simt::target(), 0, 0, false};
  if (name == "cuda") return make_cuda_place(0);
  if (name.starts_with("cuda:")) {
    int index = -1;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + 5, end, index);
    if (error == std::errc{} && rest == end && index >= 0) return make_cuda_place(index);
  }
  throw UsageError(fmt::format("there is no device \"{}\" to measure: take cuda, cuda:N, simt or cpu", name));
}

std::unique_ptr<Clock> make_clock(const Place& place) {
#if WEFT_WITH_CUDA
  if (place.on_gpu()) return make_cuda_clock(place.index);
#else
  (void)place;
#endif
  return std::make_unique<HostClock>();
}

std::string timestamp() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::string versions_text(const Place& place) {
#if WEFT_WITH_CUDA
  if (place.on_gpu()) return cuda_versions();
#endif
  return fmt::format("{}, {} threads", processor(), place.has_rungs ? weft::simt::thread_count() : 0);
}

}  // namespace weft::bench
