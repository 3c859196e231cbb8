// Which rungs a device of kernels takes for a graph's nodes, tried for devices that are not here.

#include "core/kernel_device.h"

#include <doctest/doctest.h>

#include <cmath>

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

}  // namespace
}  // namespace weft::test
