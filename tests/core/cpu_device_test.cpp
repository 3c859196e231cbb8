// The cpu device itself: copies between layouts, the SGD step, repeatability, users' ops.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/ops.h"
#include "core/passes.h"
#include "kernels/philox.h"
#include "tests/core/harness.h"

#if WEFT_WITH_CPU

namespace weft::test {
namespace {

TEST_CASE("cpu device: says what it runs on") {
  const auto device = make_device("cpu", {.threads = 1});
  CHECK(device->name() == "cpu");
  CHECK(device->threads() == 1);
  CHECK(device->describe().find("1 thread, ") != std::string::npos);
  CHECK(device->describe().find("oneDNN ") != std::string::npos);
  CHECK(device->memory_available() > 0);
  CHECK(make_device("cpu")->threads() >= 1);
}

// The layouts that a convolution of these extents chooses, and back.
TEST_CASE("cpu device: a copy into the layout that a program chose and back gives the same numbers") {
  const auto device = make_device("cpu", {.threads = 2});
  for (const std::int64_t C : {1, 3, 16, 17, 40})
    for (const std::int64_t K : {2, 16, 33}) {
      Graph graph;
      const ValueId x = graph.input("x", {2, 9, 7, C}), weight = graph.parameter("weight", {K, 3, 3, C});
      graph.mark_output(ops::conv2d(graph, "conv", x, weight, {}, {.padding = {1, 1}}), "y");
      const Program program = device->compile(graph, {});
      for (const ValueId id : {x, weight}) {
        const Shape& shape = graph.value(id).shape;
        const ValueStorage& storage = program.storage[static_cast<std::size_t>(id.index)];
        CAPTURE(to_string(shape));
        const Tensor dense = random_leaves(graph).at(graph.value(id).name);
        Tensor back(shape);
        const Buffer own = device->allocate(storage.bytes);
        std::memset(own.data(), 0xff, own.bytes);
        device->reorder(shape, DType::f32, dense.data(), nullptr, own.data(), storage.layout);
        device->reorder(shape, DType::f32, own.data(), storage.layout, back.data(), nullptr);
        CHECK(std::ranges::equal(dense.values<float>(), back.values<float>()));
        // Padding is zero, so that an SGD step over it leaves it so.
        double sum = 0, dense_sum = 0;
        for (std::size_t i = 0; i < storage.bytes / sizeof(float); ++i)
          sum += std::fabs(static_cast<float*>(own.data())[i]);
        for (const float v : dense.values<float>()) dense_sum += std::fabs(v);
        CHECK(sum == doctest::Approx(dense_sum));
      }
    }
}

TEST_CASE("cpu device: the SGD step is torch's") {
  const auto device = make_device("cpu", {.threads = 2});
  for (const std::int64_t n : {1, 17, 4099})
    for (const double momentum : {0.0, 0.9})
      for (const double decay : {0.0, 0.01})
        for (const bool nesterov : {false, true}) {
          if (nesterov && momentum == 0) continue;
          CAPTURE(n);
          CAPTURE(momentum);
          CAPTURE(decay);
          CAPTURE(nesterov);
          Philox random(1, 2);
          const auto size = static_cast<std::size_t>(n);
          std::vector<float> weight(size), gradient(size), velocity(size, 0.0f);
          for (float& w : weight) w = random.normal();
          std::vector<double> w(weight.begin(), weight.end()), v(size, 0.0);
          for (int step = 0; step < 3; ++step) {
            const double lr = 0.1 / (1 + step);
            for (float& g : gradient) g = random.normal();
            device->sgd_step({weight.data(), gradient.data(), velocity.data(), {{n, lr, decay}}, momentum, nesterov});
            for (std::size_t i = 0; i < size; ++i) {
              const double g = gradient[i] + decay * w[i];
              v[i] = momentum * v[i] + g;
              w[i] -= lr * (nesterov ? g + momentum * v[i] : v[i]);
            }
          }
          for (std::size_t i = 0; i < size; ++i) {
            CHECK(std::fabs(weight[i] - w[i]) <= 1e-6 * (1 + std::fabs(w[i])));
            CHECK(std::fabs(velocity[i] - v[i]) <= 2e-6 * (1 + std::fabs(v[i])));
          }
        }
  // Without velocities: plain descent.
  std::vector<float> weight = {1, 2}, gradient = {1, -1};
  device->sgd_step({weight.data(), gradient.data(), nullptr, {{2, 0.5, 0}}, 0, false});
  CHECK(weight[0] == doctest::Approx(0.5));
  CHECK(weight[1] == doctest::Approx(2.5));
}

std::vector<float> train(int threads, int steps) {
  const Graph graph = with_gradients(small_net({.batch = 6, .dropout = 0.2}), "loss");
  Executor executor(make_device("cpu", {.threads = threads}), graph, {.poison = true});
  feed(executor, random_leaves(graph, 4, 3));
  std::vector<float> losses;
  ParameterStore& store = *executor.store();
  for (int step = 0; step < steps; ++step) {
    executor.run(static_cast<std::uint64_t>(step));
    losses.push_back(executor.output("loss").values<float>()[0]);
    const auto range = store.range(0);
    executor.device().sgd_step({store.weights() + range.offset,
                                store.gradients() + range.offset,
                                store.velocities() + range.offset,
                                {{static_cast<std::int64_t>(range.floats), 0.05, 0}},
                                0.9,
                                false});
    store.touch_trained();
  }
  return losses;
}

TEST_CASE("cpu device: two trainings with one seed have the same bits") {
  for (const int threads : {1, 2}) {
    const std::vector<float> once = train(threads, 8), again = train(threads, 8);
    CHECK(std::memcmp(once.data(), again.data(), once.size() * sizeof(float)) == 0);
    CHECK(once.back() < once.front());
  }
}

TEST_CASE("cpu device: a user's op between blocked values works on dense NHWC") {
  const auto definition = std::make_shared<OpDefinition>();
  definition->name = "first_channel";  // y (N, H, W, C): x's first channel everywhere, plus the position of n
  definition->infer = [](const Node&, std::span<const Value> inputs) {
    return std::vector<Value>{{"", inputs[0].shape}};
  };
  definition->run_on_host = [](const Node&, std::span<const HostOperand> in, std::span<HostOperand> out) {
    const Shape& s = in[0].shape;
    const auto* x = static_cast<const float*>(in[0].data);
    auto* y = static_cast<float*>(out[0].data);
    for (std::int64_t i = 0; i < s.elements(); ++i)
      y[i] = x[i / s[3] * s[3]] + static_cast<float>(i / (s[1] * s[2] * s[3]));
  };
  Graph graph;
  ValueId x = graph.input("input", {3, 6, 6, 16});
  x = ops::conv2d(graph, "conv1", x, graph.parameter("conv1.weight", {32, 3, 3, 16}), {}, {.padding = {1, 1}});
  x = graph.apply("user", definition, {x});
  x = ops::conv2d(graph, "conv2", x, graph.parameter("conv2.weight", {16, 1, 1, 32}), {}, {});
  graph.mark_output(x, "y");
  Executor executor(make_device("cpu"), graph, {.poison = true});
  const StateDict leaves = random_leaves(graph);
  feed(executor, leaves);
  executor.run();
  const auto exact = reference_run(graph, to_doubles(leaves));
  CHECK(difference("y", executor.output("y"), exact[static_cast<std::size_t>(x.index)], 1e-5) == "");
}

}  // namespace
}  // namespace weft::test

#endif
