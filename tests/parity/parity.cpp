// parity FILE...: how far Weft's training step is from PyTorch's float64, number by number. The files come from a
// script that runs torchvision's models; truth.h says what is in them.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/device.h"
#include "kernels/error.h"
#include "tests/parity/checks.h"
#include "tools/command_line.h"

using namespace weft;
using namespace weft::parity;

namespace {

struct Options {
  std::vector<std::string> files;
  std::string device = "auto", arch, math = "strict";
  int threads = 0;
  bool all = false;
};

/// How much of its bound an error uses; NaN is worse than anything.
double share(const Check& check) {
  return std::isnan(check.error) ? HUGE_VAL : check.error / check.bound;
}

void print(const Check& check) {
  fmt::print("  {:<36} {:<20} {:>9.1e}  {:>7.0e}  {}\n", check.where, check.what, check.error, check.bound,
             check.passed() ? "pass" : "FAIL");
}

/// The worst few of the modules, or all; then the whole net. True where all are within bounds.
bool report(std::vector<Check> modules, const std::vector<Check>& net, bool all) {
  constexpr std::size_t kWorst = 10;
  const auto failed = [](const std::vector<Check>& checks) {
    return static_cast<std::size_t>(std::ranges::count_if(checks, [](const Check& check) { return !check.passed(); }));
  };
  const std::size_t bad = failed(modules) + failed(net);
  if (!all) {
    std::ranges::stable_sort(modules, std::greater<>(), share);
    const std::size_t shown = std::max(kWorst, failed(modules));
    fmt::print("module by module, {} of {} numbers, the worst first:\n", std::min(shown, modules.size()),
               modules.size());
    if (modules.size() > shown) modules.resize(shown);
  }
  fmt::print("  {:<36} {:<20} {:>9}  {:>7}\n", "where", "what", "error", "bound");
  for (const Check& check : modules) print(check);
  for (const Check& check : net) print(check);
  fmt::print("{}\n", bad == 0 ? "PASS" : fmt::format("FAIL: {} beyond their bounds", bad));
  return bad == 0;
}

bool compare(const std::string& file, const Options& options) {
  const Truth truth(file);
  const std::string arch = options.arch.empty() ? architecture_of(truth) : options.arch;
  const auto classes = static_cast<std::size_t>(truth.at("logits").shape()[1]);
  const Model model = make_model(arch, Classes(classes, "class"));
  Setting setting;
  setting.device = make_device(options.device, {.threads = options.threads});
  setting.compile.math = options.math == "fast" ? Math::fast : Math::strict;
  if (setting.compile.math == Math::fast) setting.bounds.node = 1e-3;
  const Shape& input = truth.at("input").shape();
  fmt::print("{}: {}, batch {}, {} x {}, on {}, {} math\n", file, arch, input[0], input[2], input[1],
             setting.device->name(), options.math);
  std::fflush(stdout);
  std::vector<Check> modules = check_modules(truth, model, setting);
  return report(std::move(modules), check_whole_net(truth, model, setting), options.all);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Compares Weft's training step with PyTorch's float64: relative errors, norm over norm.", "parity"};
  Options options;
  app.add_option("files", options.files, "safetensors of one training step each")->required();
  app.add_option("--device", options.device, "auto, cpu, simt, cuda or cuda:N")->capture_default_str();
  app.add_option("--arch", options.arch, "the architecture; told from the file where it is left out");
  app.add_option("--math", options.math, "strict or fast")
      ->check(CLI::IsMember({"strict", "fast"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "of cpu and simt; 0: all there are")->check(cli::number_from(0));
  app.add_flag("--all", options.all, "print every number, not the worst alone");
  cli::add_version(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli::answer(app, error);
  }
  try {
    bool good = true;
    for (const std::string& file : options.files) good = compare(file, options) && good;
    return good ? 0 : 1;
  } catch (const UsageError& error) {
    fmt::print(stderr, "parity: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "parity: {}\n", error.what());
    return 1;
  }
}
