// The cpu device: memory, copies and the SGD step. compiler.h has the rest.

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "core/cpu/compiler.h"
#include "core/cpu/memory.h"
#include "core/cpu/sgd.h"
#include "core/device.h"
#include "core/host_memory.h"
#include "kernels/error.h"

namespace weft {

namespace {

using namespace cpu;

// The first line of a /proc file that starts with `key`, after its colon.
std::string from_proc(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) {
      const auto colon = line.find(':');
      return colon == std::string::npos ? "" : line.substr(line.find_first_not_of(" \t", colon + 1));
    }
  return "";
}

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const DeviceOptions& options) {
    const auto all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    if (options.threads < 0) fail(fmt::format("{} threads: at least 1 is needed, or 0 for all", options.threads));
    runtime_.threads = options.threads > 0 ? options.threads : all;
    runtime_.use_threads();
  }
  ~CpuDevice() override { release_pool(); }

  std::string name() const override { return "cpu"; }

  std::string describe() const override {
    const std::string model = from_proc("/proc/cpuinfo", "model name"), isa = isa_name();
    const std::string text = isa == "avx512_core" ? "AVX-512" : isa == "avx2" ? "AVX2" : isa;
    return fmt::format("{}, {} thread{}, {}, oneDNN {}", model.empty() ? "a processor" : model, threads(),
                       threads() == 1 ? "" : "s", text, library_version());
  }

  std::size_t memory_available() const override { return host_memory_available() + bytes_kept(); }

  void copy_in(void* to, const void* from_host, std::size_t bytes) override { std::memcpy(to, from_host, bytes); }
  void copy_out(void* to_host, const void* from, std::size_t bytes) override { std::memcpy(to_host, from, bytes); }
  void fill_zero(void* data, std::size_t bytes) override { std::memset(data, 0, bytes); }
  void synchronize() override { runtime_.stream.wait(); }

  void check(const CompileOptions& options) const override {
    if (options.math == Math::tf32)
      fail("the cpu device multiplies float32 as it is and has no TF32: take fast or strict math, or the device cuda");
  }

  Program compile(const Graph& graph, const CompileOptions& options) override {
    check(options);
    return Compiler(runtime_, graph, options).compile();
  }

  void reorder(const Shape& shape, DType dtype, const void* from, const LayoutPtr& from_layout, void* to,
               const LayoutPtr& to_layout) override {
    runtime_.use_threads();
    reorder_value(runtime_.engine, runtime_.stream, shape, dtype, from, from_layout, to, to_layout);
  }

  void sgd_step(const SgdArguments& arguments) override { sgd_.step(runtime_, arguments); }
  int threads() const override { return runtime_.threads; }

 protected:
  void* allocate_bytes(std::size_t bytes) override { return allocate_memory(bytes); }
  void release_bytes(void* data) noexcept override { release_memory(data); }

 private:
  Runtime runtime_;
  Sgd sgd_;
};

}  // namespace

std::shared_ptr<Device> make_cpu_device(const DeviceOptions& options) {
  return std::make_shared<CpuDevice>(options);
}

}  // namespace weft
