// weft_doctor: what this machine has, what is missing, and the command that mends it; what a weights file holds.

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "core/device.h"
#include "core/version.h"
#include "kernels/error.h"
#include "kernels/targets.h"
#include "tools/command_line.h"
#include "tools/doctor_weights.h"

namespace {

namespace fs = std::filesystem;

const char* const kInstallToolkit = "install the CUDA Toolkit 12.5 or newer, then build again";

enum class State { ok, note, missing };

/// One line: a mark, what was looked at, what was found, and below it what to do.
void say(State state, const std::string& what, const std::string& found, const std::string& mend = {}) {
  const char* mark = state == State::ok ? "[ok]     " : state == State::note ? "[note]   " : "[missing]";
  fmt::print("{} {:<12} {}\n", mark, what, found);
  if (!mend.empty()) fmt::print("{:<22} -> {}\n", "", mend);
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::string instruction_set() {
  if (__builtin_cpu_supports("avx512f")) return "AVX-512";
  if (__builtin_cpu_supports("avx2")) return "AVX2";
  return "no AVX2: the cpu device will be slow";
}

bool on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path != nullptr ? path : ""; !rest.empty();) {
    const auto colon = rest.find(':');
    if (::access((fs::path(rest.substr(0, colon)) / program).c_str(), X_OK) == 0) return true;
    rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon + 1);
  }
  return false;
}

/// Tries a device with a small allocation; says what it is or why it cannot be had.
bool check_device(const std::string& name, const std::string& mend, bool needed) {
  try {
    const auto device = weft::make_device(name);
    const auto buffer = device->allocate(1 << 20);
    device->fill_zero(buffer.data(), buffer.bytes);
    device->synchronize();
    say(State::ok, name, device->describe());
    return true;
  } catch (const weft::Error& error) {
    say(needed ? State::missing : State::note, name, error.what(), mend);
    return false;
  }
}

void check_machine() {
  struct sysinfo info {};
  ::sysinfo(&info);
  const double total = static_cast<double>(info.totalram) * info.mem_unit / (1 << 30);
  say(State::ok, "processor",
      fmt::format("{}, {} cores, {}", cpu_model(), std::thread::hardware_concurrency(), instruction_set()));
  say(total < 4 ? State::note : State::ok, "memory", fmt::format("{:.1f} GiB", total),
      total < 4 ? "train with a smaller --batch or --size" : "");
  std::error_code error;
  const auto space = fs::space(".", error);
  if (!error) {
    const double free = static_cast<double>(space.available) / (1 << 30);
    say(free < 1 ? State::note : State::ok, "disk", fmt::format("{:.1f} GiB free here", free),
        free < 1 ? "free some space" : "");
  }
}

bool nvcc_found() {
  return on_path("nvcc") || ::access("/usr/local/cuda/bin/nvcc", X_OK) == 0;
}

void check_build_tools() {
  for (const auto& [program, package] : {std::pair{"g++", "g++"}, {"cmake", "cmake"}, {"ninja", "ninja-build"}}) {
    if (on_path(program)) {
      say(State::ok, program, "found");
    } else {
      say(State::note, program, "not found; building Weft needs it", fmt::format("apt-get install {}", package));
    }
  }
  if (nvcc_found()) {
    say(State::ok, "nvcc", "found");
  } else {
    say(State::note, "nvcc", "not found; without it the cuda device is left out", kInstallToolkit);
  }
}

int diagnose() {
  fmt::print("weft {}\n", weft::version());
  check_machine();
  check_build_tools();
  const bool cpu =
      check_device("cpu", "apt-get install libdnnl-dev, then configure with -DWEFT_CPU=ON and build again", true);
  check_device("simt", "", true);
#ifdef WEFT_WITH_CUDA
  const int gpus = weft::cuda::target().device_count();
  if (gpus == 0) {
    say(State::note, "cuda", "built in, but no usable GPU or driver here", "nvidia-smi says what the driver sees");
  }
  bool cuda = false;
  for (int i = 0; i < gpus; ++i)
    cuda |= check_device(fmt::format("cuda:{}", i), "nvidia-smi says what the driver sees", false);
#else
  const bool cuda = false;
  say(State::note, "cuda", "not built in",
      nvcc_found() ? "configure without -DWEFT_CUDA=OFF and build again" : kInstallToolkit);
#endif
  const bool usable = cpu || cuda;
  fmt::print("{}\n", usable ? fmt::format("Ready: --device auto takes {}.", cuda ? "cuda" : "cpu")
                            : "Not ready: neither cpu nor cuda can be used; see above.");
  return usable ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Says what this machine has for Weft, what is missing, and the command that mends it.", "weft_doctor"};
  weft::cli::add_version(app);
  std::string file;
  auto* weights = app.add_subcommand("weights", "Says what a weights file holds and which architectures it fits");
  weights->add_option("FILE", file, "safetensors, or a .pth as torch.save writes it")->required();
  weights->footer("Exit status: 0 it fits an architecture; 1 it fits none, or is no sound weights file.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return weft::cli::answer(app, error);
  }
  try {
    return *weights ? weft::examine_weights(file) : diagnose();
  } catch (const std::exception& error) {
    fmt::print(stderr, "weft_doctor: {}\n", error.what());
    return 1;
  }
}
