#include "core/executor.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>

#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

std::shared_ptr<Device> simt_device() {
  static const std::shared_ptr<Device> device = make_device("simt");
  return device;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Outputs, gradients and states of an executor after a run, against the reference.
void check_against_reference(const Executor& executor, const StateDict& leaves, std::uint64_t step) {
  const Graph& graph = executor.graph();
  const std::vector<Doubles> exact = reference_run(graph, to_doubles(leaves), step);
  const auto truth = [&](std::string_view name) -> const Doubles& {
    return exact[static_cast<std::size_t>(graph.find(name).index)];
  };
  for (const auto& [name, id] : graph.outputs())
    CHECK(difference(name, executor.output(name), truth(name), 2e-4) == "");
  for (const ParameterStore::Entry& entry : executor.store()->entries()) {
    if (entry.trained && graph.contains("grad." + entry.name))
      CHECK(difference("store's grad." + entry.name, executor.store()->gradient(entry.name),
                       truth("grad." + entry.name), 2e-4) == "");
    if (entry.state) CHECK(difference(entry.name, executor.store()->get(entry.name), truth(entry.name), 2e-4) == "");
  }
}

TEST_CASE("executor: a training step of a small net agrees with the references, memory shared or not") {
  for (const bool reuse : {true, false}) {
    SmallNet options;
    options.dropout = 0.3;
    const Graph graph = with_gradients(small_net(options), "loss", {"input"});
    Executor executor(simt_device(), graph, {.reuse_memory = reuse, .poison = true});
    StateDict leaves = random_leaves(graph, 1, 3);
    for (const std::uint64_t step : {5, 6}) {
      feed(executor, leaves);
      executor.run(step);
      check_against_reference(executor, leaves, step);
    }
  }
}

TEST_CASE("executor: the same run gives the same bits, another step other dropout") {
  SmallNet options;
  options.dropout = 0.5;
  const Graph graph = with_gradients(small_net(options), "loss");
  const StateDict leaves = random_leaves(graph, 1, 3);
  const auto loss = [&](std::uint64_t step) {
    Executor executor(simt_device(), graph, {.poison = true});
    feed(executor, leaves);
    executor.run(step);
    return executor.output("loss").values<float>()[0];
  };
  CHECK(loss(3) == loss(3));
  CHECK(loss(3) != loss(4));
}

TEST_CASE("executor: training and prediction share one store") {
  const Graph training = with_gradients(small_net(), "loss"), inference = for_inference(training, {"logits"});
  Executor trainer(simt_device(), training);
  Executor predictor(simt_device(), inference, {}, trainer.store());
  StateDict leaves = random_leaves(training, 2, 3);
  feed(trainer, leaves);
  trainer.run();
  ParameterStore& store = *trainer.store();
  const ParameterStore::Range range = store.range(0);
  simt_device()->sgd_step({.weight = store.weights() + range.offset,
                           .gradient = store.gradients() + range.offset,
                           .velocity = store.velocities() + range.offset,
                           .groups = {{.end = static_cast<std::int64_t>(range.floats), .lr = 0.1}},
                           .momentum = 0.9});
  store.touch_trained();
  predictor.set_input("input", leaves.at("input"));
  predictor.run();
  StateDict moved = store.save();
  moved["input"] = leaves.at("input");
  const std::vector<Doubles> exact = reference_run(inference, to_doubles(moved));
  CHECK(difference("logits", predictor.output("logits"),
                   exact[static_cast<std::size_t>(inference.find("logits").index)], 1e-4) == "");
  // One SGD step is what it should be: w - lr * g, velocity g.
  const Tensor before = leaves.at("fc.weight"), after = store.get("fc.weight"), gradient = store.gradient("fc.weight");
  for (std::size_t i = 0; i < 24; ++i)
    CHECK(after.values<float>()[i] == doctest::Approx(before.values<float>()[i] - 0.1 * gradient.values<float>()[i]));
  CHECK(store.save_velocity().at("fc.weight").values<float>()[3] == gradient.values<float>()[3]);
}

TEST_CASE("executor: inputs are checked") {
  Executor executor(simt_device(), small_net());
  CHECK(error_of([&] {
          executor.set_input("input", Tensor::zeros({4, 8, 8, 1}));
        }) == "input input wants (4, 8, 8, 3) f32, got (4, 8, 8, 1) f32");
  CHECK(error_of([&] {
          executor.set_input("inputs", Tensor::zeros({4, 8, 8, 3}));
        }).find("near names: input") != std::string::npos);
  CHECK(error_of([&] {
          executor.set_input("fc.weight", Tensor::zeros({3, 8}));
        }) == "fc.weight is not an input of the graph");
}

TEST_CASE("executor: a store made for another graph is refused by name") {
  SmallNet frozen;
  frozen.frozen_trunk = true;
  Executor head(simt_device(), with_gradients(small_net(frozen), "loss"));
  CHECK(error_of([&] {
          Executor(simt_device(), with_gradients(small_net(), "loss"), {}, head.store());
        }).find("conv1.weight") != std::string::npos);
  SmallNet wider;
  wider.classes = 5;
  CHECK(error_of([&] { Executor(simt_device(), small_net(wider), {}, head.store()); }) ==
        "fc.bias has shape (5) in the graph and (3) in the parameter store");
}

TEST_CASE("executor: too little memory says need, have, the biggest layers and the largest batch") {
  SmallNet options;
  options.batch = 64;
  const Graph graph = with_gradients(small_net(options), "loss");
  const std::size_t in_use = simt_device()->bytes_in_use();
  const auto attempt = [&](std::int64_t batch) {
    return error_of(
        [&] { Executor(simt_device(), with_batch(graph, batch), {.memory_limit = std::size_t{600} << 10}); });
  };
  const std::string message = attempt(64);
  fmt::print("{}\n", message);
  CHECK(simt_device()->bytes_in_use() == in_use);
  for (const char* part : {"simt: not enough memory at batch 64: need ", "have 600.0 KiB", "The biggest layers: "})
    CHECK(message.find(part) != std::string::npos);
  const std::size_t at = message.find("largest batch that fits is ");
  REQUIRE(at != std::string::npos);
  const std::int64_t fits = std::stol(message.substr(at + 27));
  CHECK(attempt(fits) == "");
  CHECK(attempt(fits + 1) != "");
  CHECK(error_of([&] { Executor(simt_device(), graph, {.memory_limit = 1000}); }).find("Not even a batch of 1 fits.") !=
        std::string::npos);
}

TEST_CASE("executor: what it takes is what it said") {
  const Graph graph = with_gradients(small_net(), "loss");
  const std::size_t before = simt_device()->bytes_in_use();
  Executor executor(simt_device(), graph);
  const std::size_t taken = simt_device()->bytes_in_use() - before;
  CHECK(taken >= executor.total_bytes());
  CHECK(taken <= executor.total_bytes() + 6 * 512 + executor.total_bytes() / 16);
  // A limit of exactly that is enough.
  const auto attempt = [&](std::size_t limit) {
    return error_of([&] { Executor(simt_device(), graph, {.memory_limit = limit}); });
  };
  CHECK(attempt(executor.total_bytes()) == "");
  CHECK(attempt(executor.total_bytes() - 1) != "");
}

#if WEFT_WITH_CPU
TEST_CASE("executor: too little memory on the cpu device, whose plan has layouts and scratch of its own") {
  const auto device = make_device("cpu", {.threads = 1});
  SmallNet options;
  options.batch = 64;
  const Graph graph = with_gradients(small_net(options), "loss");
  const std::size_t limit = Executor(device, with_batch(graph, 24)).total_bytes();
  const auto attempt = [&](std::int64_t batch) {
    return error_of([&] { Executor(device, with_batch(graph, batch), {.memory_limit = limit}); });
  };
  const std::string message = attempt(64);
  CAPTURE(message);
  for (const char* part : {"cpu: not enough memory at batch 64: need ", "The biggest layers: "})
    CHECK(message.find(part) != std::string::npos);
  const std::size_t at = message.find("largest batch that fits is ");
  REQUIRE(at != std::string::npos);
  const std::int64_t fits = std::stol(message.substr(at + 27));
  CHECK(fits >= 24);
  CHECK(attempt(fits) == "");
  CHECK(attempt(fits + 1) != "");
}
#endif

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST_CASE("find_nonfinite: the first broken tensor, its layer and its sample") {
  const Graph graph = with_gradients(small_net(), "loss");
  Executor executor(simt_device(), graph);
  const StateDict good = random_leaves(graph, 1, 3);
  const auto run = [&] {
    executor.run(2);
    return executor.find_nonfinite(2);
  };
  feed(executor, good);
  CHECK(!run());

  SUBCASE("an input") {
    Tensor input = good.at("input").clone();
    input.values<float>()[2 * 192 + 5] = kNaN;
    executor.set_input("input", input);
    const auto found = run();
    REQUIRE(found);
    CHECK(found->tensor == "input");
    CHECK(found->layer == "conv1");
    CHECK(found->element == 2 * 192 + 5);
    CHECK(found->sample == 2);
    CHECK(std::isnan(found->value));
    CHECK(found->from_outside);
  }
  SUBCASE("a parameter") {
    Tensor weight = good.at("block.conv.weight").clone();
    weight.values<float>()[7] = std::numeric_limits<float>::infinity();
    executor.store()->set("block.conv.weight", weight);
    const auto found = run();
    REQUIRE(found);
    CHECK(found->tensor == "block.conv.weight");
    CHECK(found->layer == "block.conv");
    CHECK(found->element == 7);
    CHECK(!found->sample);
    CHECK(std::isinf(found->value));
    CHECK(found->from_outside);
  }
  SUBCASE("made by a layer") {
    // All is finite at first, but this layer's sums overflow for the sample whose picture is that bright.
    Tensor input = good.at("input").clone();
    for (std::size_t i = 0; i < 192; ++i) input.values<float>()[3 * 192 + i] = 3e38f;
    executor.set_input("input", input);
    const auto found = run();
    REQUIRE(found);
    CHECK(found->tensor == "conv1");
    CHECK(found->layer == "conv1");
    CHECK(found->op == "conv2d");
    CHECK(found->sample == 3);
    CHECK(!found->from_outside);
  }
  SUBCASE("running statistics are as they were before the second run") {
    const Tensor before = executor.store()->get("bn1.running_mean");
    CHECK(!executor.find_nonfinite(2));
    const Tensor after = executor.store()->get("bn1.running_mean");
    for (std::size_t i = 0; i < 8; ++i) CHECK(before.values<float>()[i] == after.values<float>()[i]);
  }
}

TEST_CASE("profile: a row for each step") {
  const Graph graph = with_gradients(small_net(), "loss");
  Executor executor(simt_device(), graph);
  feed(executor, random_leaves(graph, 1, 3));
  executor.set_profiling(true);
  executor.run();
  executor.run();
  const std::vector<StepProfile> profile = executor.profile();
  CHECK(profile.size() == executor.program().steps.size());
  CHECK(profile.front().name == "conv1");
  CHECK(profile.front().op == "conv2d");
  CHECK(!profile.front().algorithm.empty());
  CHECK(profile.front().flops == doctest::Approx(2.0 * 4 * 64 * 8 * 27));
  for (const StepProfile& step : profile) CHECK(step.seconds > 0);
  const std::string table = executor.profile_table();
  CHECK(table.find("forward pass") == 0);
  CHECK(table.find("backward pass") != std::string::npos);
  CHECK(table.find("conv2d_backward_filter") != std::string::npos);
}

TEST_CASE("plan: a former plan is taken again where it fits") {
  const Graph graph = small_net();
  const Program program = simt_device()->compile(graph, {});
  CHECK(program.plan.find("conv1/conv2d ") != std::string::npos);
  CHECK(program.plan.find("fc/gemm ") != std::string::npos);
  std::string plan = program.plan;
  const std::size_t at = plan.find("fc/gemm ") + 8;
  plan.replace(at, plan.find('\n', at) - at, "naive");
  CHECK(simt_device()->compile(graph, {.plan = plan}).plan == plan);
  plan.replace(at, 5, "a-rung-of-tomorrow");
  CHECK(simt_device()->compile(graph, {.plan = plan}).plan == program.plan);
}

}  // namespace
}  // namespace weft::test
