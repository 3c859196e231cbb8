// SGD's step over a store's groups, against the formula in double precision.

#include "optim/sgd.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/executor.h"
#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "kernels/philox.h"

using namespace weft;

namespace {

/// loss = cross-entropy of relu(x a^T + bias) b^T: its gradients are not zero.
Graph two_layers() {
  Graph graph;
  const ValueId x = graph.input("x", {5, 7});
  const ValueId labels = graph.input("labels", {5}, DType::i32);
  const ValueId a = graph.parameter("a", {11, 7}), bias = graph.parameter("bias", {11});
  const ValueId b = graph.parameter("b", {3, 11});
  const ValueId hidden = ops::relu(graph, "relu", ops::gemm(graph, "one", x, a, bias, false, true));
  const ValueId logits = ops::gemm(graph, "two", hidden, b, {}, false, true);
  graph.mark_output(ops::cross_entropy(graph, "loss", logits, labels), "loss");
  return with_gradients(graph, "loss");
}

Tensor random_tensor(Shape shape, std::uint64_t seed) {
  Tensor tensor(std::move(shape));
  Philox random(seed, 0);
  for (float& value : tensor.values<float>()) value = random.normal();
  return tensor;
}

struct Setting {
  double momentum;
  bool nesterov;
};

}  // namespace

TEST_CASE("three steps in two groups are torch.optim.SGD's") {
  constexpr double kRate = 0.1, kFactor[] = {1, 0.25}, kDecay[] = {1e-2, 0};
  for (const Setting& setting : {Setting{0, false}, Setting{0.9, false}, Setting{0.9, true}}) {
    CAPTURE(setting.momentum);
    CAPTURE(setting.nesterov);
    const auto group_of = [](const std::string& name) { return name == "b" ? 1 : 0; };
    Executor executor(make_device("simt"), two_layers(), {}, nullptr, group_of);
    ParameterStore& store = *executor.store();
    REQUIRE(store.groups() == 2);
    const Sgd sgd({.momentum = setting.momentum,
                   .nesterov = setting.nesterov,
                   .groups = {{kFactor[0], kDecay[0]}, {kFactor[1], kDecay[1]}}});
    std::vector<std::string> names = {"a", "bias", "b"};
    std::map<std::string, std::vector<double>> weights, velocities;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const Tensor first = random_tensor(store.entry(names[i]).shape, i);
      store.set(names[i], first);
      weights[names[i]].assign(first.values<float>().begin(), first.values<float>().end());
      velocities[names[i]].assign(weights[names[i]].size(), 0);
    }
    executor.set_input("x", random_tensor({5, 7}, 9));
    const std::vector<std::int32_t> labels = {0, 1, 2, 1, 0};
    executor.set_input("labels", Tensor::from<std::int32_t>({5}, labels));
    for (int step = 0; step < 3; ++step) {
      executor.run();
      for (const std::string& name : names) {
        const auto group = static_cast<std::size_t>(group_of(name));
        const Tensor gradient = store.gradient(name);
        double norm = 0;
        for (std::size_t i = 0; i < weights[name].size(); ++i) {
          double& w = weights[name][i];
          double& v = velocities[name][i];
          const double g = gradient.values<float>()[i] + kDecay[group] * w;
          v = setting.momentum * v + g;
          w -= kRate * kFactor[group] * (setting.nesterov ? g + setting.momentum * v : v);
          norm += g * g;
        }
        CHECK(norm > 0);
      }
      sgd.step(store, kRate);
      for (const std::string& name : names) {
        const Tensor got = store.get(name);
        for (std::size_t i = 0; i < weights[name].size(); ++i) {
          const double error = std::abs(got.values<float>()[i] - weights[name][i]);
          CHECK(error <= 1e-6 * (1 + std::abs(weights[name][i])));
        }
      }
    }
  }
}

#if WEFT_WITH_CPU
constexpr const char* kDevices[] = {"simt", "cpu"};
#else
constexpr const char* kDevices[] = {"simt"};
#endif

TEST_CASE("a step over all groups has the bits of a step over each, and an empty group or one without a rate stays") {
  for (const char* name : kDevices) {
    CAPTURE(std::string(name));
    // Of five groups the second and the third are empty; the last stands still.
    const auto group_of = [](const std::string& parameter) { return parameter == "a" ? 0 : parameter == "b" ? 4 : 3; };
    const auto device = make_device(name);
    Executor executor(device, two_layers(), {}, nullptr, group_of);
    ParameterStore& store = *executor.store();
    REQUIRE(store.groups() == 5);
    for (const char* parameter : {"a", "bias", "b"})
      store.set(parameter, random_tensor(store.entry(parameter).shape, 5));
    executor.set_input("x", random_tensor({5, 7}, 9));
    const std::vector<std::int32_t> labels = {0, 1, 2, 1, 0};
    executor.set_input("labels", Tensor::from<std::int32_t>({5}, labels));
    const std::vector<SgdGroup> groups = {{0.1, 1e-2}, {7, 7}, {8, 8}, {1, 0}, {0, 0}};
    const Sgd sgd({.momentum = 0.9, .nesterov = true, .groups = groups});
    const std::size_t floats = store.trained_floats();
    const auto fetch = [&](const float* arena) {
      std::vector<float> values(floats);
      device->copy_out(values.data(), arena, floats * sizeof(float));
      return values;
    };
    const std::vector<float> fixed = fetch(store.weights());
    for (int step = 0; step < 2; ++step) {
      executor.run();
      std::vector<float> weights = fetch(store.weights()), velocities = fetch(store.velocities());
      Buffer weight = device->allocate(floats * sizeof(float)), velocity = device->allocate(floats * sizeof(float));
      device->copy_in(weight.data(), weights.data(), weight.bytes);
      device->copy_in(velocity.data(), velocities.data(), velocity.bytes);
      std::size_t end = 0;
      for (int group = 0; group < 5; ++group) {
        const auto [offset, count] = store.range(group);
        CHECK(offset == end);
        CHECK((count == 0) == (group == 1 || group == 2));
        end = offset + count;
        if (count == 0) continue;
        const SgdGroup& settings = groups[static_cast<std::size_t>(group)];
        device->sgd_step({static_cast<float*>(weight.data()) + offset,
                          store.gradients() + offset,
                          static_cast<float*>(velocity.data()) + offset,
                          {{static_cast<std::int64_t>(count), 0.1 * settings.lr_factor, settings.weight_decay}},
                          0.9,
                          true});
      }
      CHECK(end == floats);
      sgd.step(store, 0.1);
      const std::vector<float> got = fetch(store.weights());
      CHECK(got == fetch(static_cast<float*>(weight.data())));
      CHECK(fetch(store.velocities()) == fetch(static_cast<float*>(velocity.data())));
      CHECK(got != weights);
      const std::size_t last = store.range(4).offset;
      CHECK(std::memcmp(&got[last], &fixed[last], (floats - last) * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("a momentum given with the step takes the place of the options'") {
  Executor executor(make_device("simt"), two_layers());
  ParameterStore& store = *executor.store();
  for (const char* name : {"a", "bias", "b"}) store.set(name, random_tensor(store.entry(name).shape, 3));
  executor.set_input("x", random_tensor({5, 7}, 9));
  const std::vector<std::int32_t> labels = {0, 1, 2, 1, 0};
  executor.set_input("labels", Tensor::from<std::int32_t>({5}, labels));
  const Sgd sgd({.momentum = 0.9});
  for (int step = 0; step < 2; ++step) {
    executor.run();
    sgd.step(store, 0.1, 0);
  }
  // With momentum 0 the velocity is the last gradient.
  const Tensor velocity = store.save_velocity().at("a"), gradient = store.gradient("a");
  for (std::int64_t i = 0; i < velocity.elements(); ++i)
    CHECK(velocity.values<float>()[static_cast<std::size_t>(i)] ==
          gradient.values<float>()[static_cast<std::size_t>(i)]);
}

TEST_CASE("settings that do not fit") {
  Executor executor(make_device("simt"), two_layers());
  CHECK_THROWS_WITH_AS(Sgd({.groups = {{}, {}}}).step(*executor.store(), 0.1), doctest::Contains("2 parameter groups"),
                       Error);
  CHECK_THROWS_AS(Sgd({.groups = {}}), Error);
  CHECK_THROWS_AS(Sgd({.momentum = 0, .nesterov = true}), Error);
}
