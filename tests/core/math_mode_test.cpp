// --math tf32: float32 products of a graph whose operands tensor cores round to TF32.

#include "core/math_mode.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/executor.h"
#include "core/kernel_device.h"
#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "tests/core/harness_nets.h"

namespace weft::test {
namespace {

/// A simt device that chooses as a GPU of this capability would.
std::shared_ptr<Device> device_like(int capability) {
  return std::make_shared<KernelDevice>(simt::target(), 0, DeviceOptions{}, capability);
}

/// `y` and the gradients of both operands of the node that made it.
Graph with_both_gradients(Graph graph, ValueId y) {
  const NodeId node = graph.producer(y);
  const ValueId dys[] = {graph.input("dy", graph.value(y).shape)};
  const bool wanted[] = {true, true};
  const std::vector<ValueId> gradients = graph.node(node).definition->differentiate(graph, node, dys, wanted);
  graph.mark_output(y, "y");
  graph.mark_output(gradients[0], "da");
  graph.mark_output(gradients[1], "db");
  return graph;
}

Graph convolution() {
  Graph graph;
  const ValueId a = graph.input("a", {2, 9, 7, 16}), b = graph.input("b", {24, 3, 3, 16});
  return with_both_gradients(graph, ops::conv2d(graph, "layer", a, b, {}, {.padding = {1, 1}}));
}

Graph product() {
  Graph graph;
  const ValueId a = graph.input("a", {33, 70}), b = graph.input("b", {45, 70});
  return with_both_gradients(graph, ops::gemm(graph, "layer", a, b, {}, false, true));
}

StateDict magnitudes(const StateDict& leaves) {
  StateDict result;
  for (const auto& [name, tensor] : leaves) {
    result.emplace(name, tensor.clone());
    for (float& value : result.at(name).values<float>()) value = std::fabs(value);
  }
  return result;
}

/// The largest |got - exact| / (|A| |B|), elementwise, over the graph's outputs.
double relative_error(const Graph& graph, const StateDict& leaves, const std::shared_ptr<Device>& device, Math math) {
  Executor executor(device, graph, {.compile = {.math = math}, .poison = true});
  feed(executor, leaves);
  executor.run();
  const std::vector<Doubles> exact = reference_run(graph, to_doubles(leaves)),
                             sizes = reference_run(graph, to_doubles(magnitudes(leaves)));
  double worst = 0;
  for (const auto& [name, id] : graph.outputs()) {
    const Tensor got = executor.output(name);
    const auto at = static_cast<std::size_t>(id.index);
    REQUIRE(exact[at].size() == got.values<float>().size());
    for (std::size_t i = 0; i < exact[at].size(); ++i) {
      const double error = std::fabs(got.values<float>()[i] - exact[at][i]) / sizes[at][i];
      worst = !(error <= worst) ? error : worst;  // a NaN stays
    }
  }
  return worst;
}

std::string plan_of(const Graph& graph, int capability, Math math) {
  return Executor(device_like(capability), graph, {.compile = {.math = math}}).program().plan;
}

bool says(const std::string& plan, const std::string& line) {
  return ('\n' + plan).find('\n' + line + '\n') != std::string::npos;
}

TEST_CASE("math tf32: products of a graph are rounded as TF32 rounds, no more, and strict ones are not") {
  // Both operands are off by 2^-11 of themselves at most; summing adds some units of float32.
  constexpr double kRounding = 2.01 * 0x1p-11, kFloat32 = 0x1p-19;
  for (const Graph& graph : {convolution(), product()}) {
    const StateDict leaves = random_leaves(graph);
    CAPTURE(to_text(graph));
    const double strict = relative_error(graph, leaves, device_like(80), Math::strict);
    const double tf32 = relative_error(graph, leaves, device_like(80), Math::tf32);
    CHECK(strict > 0);
    CHECK(strict <= kFloat32);
    CHECK(tf32 > 8 * kFloat32);
    CHECK(tf32 <= kRounding);
    // Where there are no tensor cores it is what fast math is.
    CHECK(plan_of(graph, 70, Math::tf32) == plan_of(graph, 70, Math::fast));
    CHECK(relative_error(graph, leaves, device_like(0), Math::tf32) <= kFloat32);
  }
}

TEST_CASE("math tf32: tensor cores take all three passes and the fused forms, and nothing by itself") {
  const std::string all = plan_of(convolution(), 80, Math::tf32);
  for (const char* pass : {"conv2d", "conv2d_backward_data", "conv2d_backward_filter"})
    CHECK_MESSAGE(says(all, std::string("layer/") + pass + " implicit-mma"), all);
  for (const Math math : {Math::fast, Math::strict})
    CHECK(plan_of(convolution(), 80, math).find("mma") == std::string::npos);
  const std::string gemms = plan_of(product(), 80, Math::tf32);
  std::size_t count = 0;
  for (std::size_t at = 0; (at = gemms.find(" mma-multistage\n", at)) != std::string::npos; ++at) ++count;
  CHECK_MESSAGE(count == 3, gemms);

  // With statistics for the batch norm behind it.
  Graph layer;
  layer.mark_output(norm(layer, "bn", conv(layer, "conv", layer.input("x", {2, 17, 19, 8}), 16, 3)), "y");
  CHECK(says(plan_of(layer, 80, Math::tf32), "conv/conv2d_statistics implicit-mma"));
  CHECK(plan_of(layer, 80, Math::fast).find("mma") == std::string::npos);

  // A step of residual blocks, the sum of two gradients among them.
  const Graph step = with_gradients(residual_net(16), "loss");
  const std::string plan = plan_of(step, 80, Math::tf32);
  for (const char* line : {"layer1.conv2/conv2d implicit-mma", "layer2.conv1 + add/conv2d_backward_data implicit-mma",
                           "layer2.down.0/conv2d_backward_filter implicit-mma", "fc/gemm mma-multistage"})
    CHECK_MESSAGE(says(plan, line), plan);
  CHECK(plan_of(step, 80, Math::fast).find("mma") == std::string::npos);
  const StateDict leaves = scaled_leaves(step);
  Executor executor(device_like(80), step, {.compile = {.math = Math::tf32}, .poison = true});
  feed(executor, leaves);
  executor.run();
  CHECK(differences(executor, step, reference_run(step, to_doubles(leaves)), 0.05) == "");
  // A run's plan, taken again by a run without TF32, does not bring it back.
  CHECK(device_like(80)->compile(step, {.plan = plan}).plan.find("mma") == std::string::npos);
}

#if WEFT_WITH_CPU
TEST_CASE("math tf32: the cpu device refuses it") {
  const auto cpu = make_device("cpu");
  CHECK_THROWS_WITH_AS(cpu->compile(product(), {.math = Math::tf32}),
                       "the cpu device multiplies float32 as it is and has no TF32: take fast or strict math, or the "
                       "device cuda",
                       Error);
  CHECK_NOTHROW(cpu->check({.math = Math::strict}));
}
#endif

TEST_CASE("math: a name that is none is refused") {
  CHECK_NOTHROW(make_device("simt")->check({.math = Math::tf32}));
  for (const std::string& name : math_names()) CHECK(name_of(math_named(name)) == name);
  CHECK(math_names().size() == 3);
  CHECK_THROWS_WITH_AS(math_named("TF32"), "there is no math \"TF32\": take fast, strict, tf32", UsageError);
}

}  // namespace
}  // namespace weft::test
