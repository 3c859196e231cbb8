// Which rungs a device of kernels takes for a graph's nodes, tried for devices that are not here.

#include "core/kernel_device.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <span>

#include "core/executor.h"
#include "core/ops.h"
#include "kernels/error.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

using Extents = std::vector<std::int64_t>;

/// A 3x3 layer deep enough for Winograd, with the gradients of both its operands.
Graph deep_layer() {
  Graph graph;
  const ValueId x = graph.input("x", {1, 5, 6, 128}), weight = graph.input("weight", {128, 3, 3, 128});
  const ValueId y = ops::conv2d(graph, "layer", x, weight, {}, {.padding = {1, 1}});
  const NodeId node = graph.producer(y);
  const ValueId dys[] = {graph.input("dy", graph.value(y).shape)};
  const bool wanted[] = {true, true};
  const std::vector<ValueId> gradients = graph.node(node).definition->differentiate(graph, node, dys, wanted);
  graph.mark_output(y, "y");
  graph.mark_output(gradients[0], "dx");
  graph.mark_output(gradients[1], "dweight");
  return graph;
}

TEST_CASE("kernel device: strict math keeps Winograd out of a plan, fast math lets it in") {
  const auto device = std::make_shared<KernelDevice>(simt::target(), 0, DeviceOptions{}, 80);
  const Graph graph = deep_layer();
  const StateDict leaves = random_leaves(graph);
  std::map<std::string, Tensor> results[2];
  for (const Math math : {Math::fast, Math::strict}) {
    Executor executor(device, graph, {.compile = {.math = math}, .poison = true});
    const std::string& plan = executor.program().plan;
    const bool fast = math == Math::fast;
    CHECK((plan.find("layer/conv2d winograd") != std::string::npos) == fast);
    CHECK((plan.find("layer/conv2d_backward_data winograd") != std::string::npos) == fast);
    CHECK(plan.find("layer/conv2d_backward_filter split-k") != std::string::npos);
    // What a fast run planned is not taken again by a strict one.
    CHECK(device->compile(graph, {.math = Math::strict, .plan = plan}).plan.find("winograd") == std::string::npos);
    feed(executor, leaves);
    executor.run();
    for (const char* name : {"y", "dx", "dweight"})
      results[static_cast<int>(math)].emplace(name, executor.output(name).clone());
  }
  for (const char* name : {"y", "dx", "dweight"}) {
    const auto fast = results[0].at(name).values<float>(), strict = results[1].at(name).values<float>();
    double difference = 0, size = 0;
    bool same = true;
    for (std::size_t i = 0; i < fast.size(); ++i) {
      difference = std::fmax(difference, std::fabs(static_cast<double>(fast[i]) - strict[i]));
      size = std::fmax(size, std::fabs(static_cast<double>(strict[i])));
      same = same && fast[i] == strict[i];
    }
    CAPTURE(name);
    CHECK(size > 1);
    CHECK(difference <= 1e-5 * size);
    CHECK(same == (std::string_view(name) == "dweight"));
  }
}

TEST_CASE("kernel device: a convolution's epilogue as a node has it, in groups") {
  Graph graph;
  const ValueId x = graph.input("x", {2, 5, 4, 6}), weight = graph.input("weight", {4, 3, 3, 3}),
                scale = graph.input("scale", {4}), bias = graph.input("bias", {4}),
                residual = graph.input("residual", {2, 5, 4, 4});
  const Attributes attributes = {
      {"stride", Extents{1, 1}}, {"padding", Extents{1, 1}}, {"dilation", Extents{1, 1}}, {"groups", std::int64_t{2}}};
  Attributes folded = attributes;
  folded.set("relu", std::int64_t{1});
  const auto op = ops::definition("conv2d");
  graph.mark_output(graph.apply("plain", op, {x, weight}, attributes), "plain");
  graph.mark_output(graph.apply("folded", op, {x, weight, scale, bias, residual}, folded), "folded");
  Executor executor(std::make_shared<KernelDevice>(simt::target(), 0), graph, {.poison = true});
  const StateDict leaves = random_leaves(graph);
  feed(executor, leaves);
  executor.run();
  const Tensor plain = executor.output("plain"), got = executor.output("folded");
  const auto factor = leaves.at("scale").values<float>(), shift = leaves.at("bias").values<float>(),
             other = leaves.at("residual").values<float>();
  int positive = 0;
  for (std::size_t i = 0; i < plain.values<float>().size(); ++i) {
    const float sum = plain.values<float>()[i] * factor[i % 4] + shift[i % 4] + other[i];
    CHECK(std::fabs(got.values<float>()[i] - std::fmax(sum, 0.0F)) <= 1e-5F);
    positive += sum > 0;
  }
  CHECK(positive > 0);
  CHECK(positive < 160);
  // Of what is folded there is no gradient: it is folded in when the gradients are there.
  const ValueId y = graph.find("folded");
  const ValueId dys[] = {residual};
  const bool wanted[] = {true, true, true, true, true};
  CHECK_THROWS_WITH_AS(op->differentiate(graph, graph.producer(y), dys, wanted),
                       doctest::Contains("has an epilogue folded into it"), Error);
}

int launches = 0;  ///< of counting_target()'s SGD steps

/// simt, with no op but sgd_step, whose launches are counted.
const Target& counting_target() {
  static const Op& original = *find_op(simt::target().catalogue(), "sgd_step");
  static const Rung rung = [] {
    Rung counted = original.rungs.back();
    counted.launch = [](const Problem& problem, void* const* operands, void* workspace, Stream stream) {
      ++launches;
      original.rungs.back().launch(problem, operands, workspace, stream);
    };
    return counted;
  }();
  static const Op op = [] {
    Op counted = original;
    counted.rungs = std::span(&rung, 1);
    return counted;
  }();
  static const Op* const ops[] = {&op};
  static const Target target = [] {
    Target counted = simt::target();
    counted.catalogue = []() -> std::span<const Op* const> { return ops; };
    return counted;
  }();
  return target;
}

TEST_CASE("kernel device: eight parameter groups a launch, with the bits of one call a group") {
  for (const int groups : {1, 3, 8, 9, 16, 19}) {
    CAPTURE(groups);
    std::vector<SgdArguments::Group> all;
    std::int64_t end = 0;
    for (int i = 0; i < groups; ++i) {
      end += i % 5 == 2 ? 0 : 1 + i * 37 % 51;
      all.push_back({end, 0.01 * (1 + i), i % 3 == 0 ? 0 : 0.001 * i});
    }
    Graph graph;
    for (const char* name : {"w", "g", "v"}) graph.input(name, {end});
    const StateDict drawn = random_leaves(graph);
    const Tensor &w = drawn.at("w"), &g = drawn.at("g"), &v = drawn.at("v");
    Tensor weight = w.clone(), velocity = v.clone(), weight_alone = w.clone(), velocity_alone = v.clone();
    launches = 0;
    KernelDevice(counting_target(), 0)
        .sgd_step(
            {weight.values<float>().data(), g.values<float>().data(), velocity.values<float>().data(), all, 0.9, true});
    CHECK(launches == (groups + 7) / 8);
    std::int64_t begin = 0;
    const auto simt = make_device("simt");
    for (const SgdArguments::Group& group : all) {
      simt->sgd_step({weight_alone.values<float>().data() + begin,
                      g.values<float>().data() + begin,
                      velocity_alone.values<float>().data() + begin,
                      {{group.end - begin, group.lr, group.weight_decay}},
                      0.9,
                      true});
      begin = group.end;
    }
    CHECK(std::memcmp(weight.data(), weight_alone.data(), weight.bytes()) == 0);
    CHECK(std::memcmp(velocity.data(), velocity_alone.data(), velocity.bytes()) == 0);
    CHECK(std::memcmp(weight.data(), w.data(), weight.bytes()) != 0);
  }
  // Nothing to do is no launch.
  launches = 0;
  KernelDevice(counting_target(), 0).sgd_step({nullptr, nullptr, nullptr, {{0, 1, 0}, {0, 1, 0}}, 0.9});
  CHECK(launches == 0);
}

}  // namespace
}  // namespace weft::test
