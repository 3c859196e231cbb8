// Throughput of one training step (forward, backward, SGD with momentum 0.9) on random data, in float32 or, with --amp,
// in bfloat16 with float32 weights: the counterpart of a PyTorch script of the same flags and the same last line, to be
// run in turn with it.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "core/executor.h"
#include "core/version.h"
#include "kernels/error.h"
#include "nn/model.h"
#include "optim/sgd.h"
#include "tools/command_line.h"

using namespace weft;

namespace {

struct Options {
  std::string arch = "resnet18", device = "cpu", math = "fast";
  std::int64_t size = 128, batch = 32;
  int threads = 2, steps = 7;
  bool amp = false, compile = false, profile = false, no_fuse = false;
};

constexpr int kWarmUp = 3;

float loss_of(const Executor& executor) {
  const float loss = executor.output("loss").values<float>()[0];
  if (!std::isfinite(loss)) fail(fmt::format("the loss is {}: these are not the times of a training step", loss));
  return loss;
}

/// A batch of normally distributed pictures of random classes, the same in every run.
void feed(Executor& executor, const Options& options) {
  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  Tensor pictures({options.batch, options.size, options.size, 3}), labels({options.batch}, DType::i32);
  for (float& value : pictures.values<float>()) value = normal(random);
  for (std::int32_t& label : labels.values<std::int32_t>()) label = static_cast<std::int32_t>(random() & 1u);
  executor.set_input("input", pictures);
  executor.set_input("labels", labels);
}

void measure(const Options& options) {
  const auto device = make_device(options.device, {.threads = options.threads});
  Model model = make_model(options.arch, {"a", "b"});
  model.set_size(options.size, options.size);
  ExecutorOptions how;
  how.compile.math = math_named(options.math);
  how.compile.fuse = !options.no_fuse;
  Executor executor(device,
                    model.graph({.batch = options.batch,
                                 .height = options.size,
                                 .width = options.size,
                                 .training = true,
                                 .bfloat16 = options.amp}),
                    how);
  executor.store()->load(model.state());
  feed(executor, options);
  const Sgd sgd({.momentum = 0.9});

  using Clock = std::chrono::steady_clock;
  std::uint64_t step = 0;
  const auto train = [&] {
    const auto start = Clock::now();
    executor.run(step++);
    sgd.step(*executor.store(), 0.01);
    device->synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  float first_loss = 0;
  for (int i = 0; i < kWarmUp; ++i) {
    train();
    if (i == 0) first_loss = loss_of(executor);
  }
  std::vector<double> seconds;
  for (int i = 0; i < options.steps; ++i) seconds.push_back(train());
  std::ranges::sort(seconds);
  const float last_loss = loss_of(executor);

  if (options.profile) {  // apart, since looking at each step's clock takes time of its own
    executor.set_profiling(true);
    for (int i = 0; i < options.steps; ++i) train();
    fmt::print("{}\n", executor.profile_table());
    fmt::print("{}\n", to_text(executor.memory(), executor.graph(), executor.program()));
  }
  fmt::print("weft {}, {}, {} math{}, {:.0f} MiB, loss {:.4f} -> {:.4f}\n", version(), device->describe(), options.math,
             options.no_fuse ? ", nothing fused" : "", static_cast<double>(executor.total_bytes()) / (1 << 20),
             first_loss, last_loss);
  const auto rate = [&](double time) { return static_cast<double>(options.batch) / time; };
  fmt::print("{} {}px batch {} {}: median {:.1f} img/s (best {:.1f}, worst {:.1f})\n", options.arch, options.size,
             options.batch, options.amp ? "bf16" : "fp32", rate(seconds[seconds.size() / 2]), rate(seconds.front()),
             rate(seconds.back()));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Images per second of one training step on random data.", "train_step"};
  Options options;
  app.add_option("--arch", options.arch, "the architecture")->capture_default_str();
  app.add_option("--size", options.size, "of the square pictures")->check(cli::number_above(0))->capture_default_str();
  app.add_option("--batch", options.batch, "pictures a step")->check(cli::number_above(0))->capture_default_str();
  app.add_option("--threads", options.threads, "that compute")->check(cli::number_above(0))->capture_default_str();
  app.add_option("--steps", options.steps, "that are timed")->check(cli::number_above(0))->capture_default_str();
  app.add_option("--device", options.device, "auto, cpu, simt, cuda or cuda:N")->capture_default_str();
  app.add_option("--math", options.math, "fast, strict or tf32")
      ->check(CLI::IsMember(math_names()))
      ->capture_default_str();
  app.add_flag("--amp", options.amp, "bfloat16 with float32 weights, on cuda and simt");
  app.add_flag("--compile", options.compile, "accepted for the peer's sake: a graph is always compiled");
  app.add_flag("--no-fuse", options.no_fuse, "every node of the graph in a kernel of its own: what fusing is worth");
  app.add_flag("--profile", options.profile, "where the time goes, step by step");
  cli::add_version(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli::answer(app, error);
  }
  if (options.compile) fmt::print("--compile changes nothing: Weft compiles every graph before it runs\n");
  try {
    measure(options);
  } catch (const UsageError& error) {
    fmt::print(stderr, "train_step: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "train_step: {}\n", error.what());
    return 1;
  }
  return 0;
}
