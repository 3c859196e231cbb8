// Statistics gathered by convolutions (core/gathering.h): the same numbers, and only where it saves bytes.

#include "core/gathering.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "core/fusion.h"
#include "core/kernel_device.h"
#include "core/ops.h"
#include "core/passes.h"
#include "core/problem.h"
#include "kernels/rung_table.h"
#include "tests/core/harness_nets.h"

namespace weft::test {
namespace {

std::string_view same_for_all(const Node&, std::span<const Value>, std::span<const Value>) {
  return "any";
}

/// As if every convolution's rung gathered, and no batch norm kept its input.
Graph gathered_everywhere(const Graph& graph) {
  return gathered(fused(graph, same_for_all), same_for_all);
}

/// A simt device that chooses as a GPU of this capability would.
std::shared_ptr<Device> device_like(int capability) {
  return std::make_shared<KernelDevice>(simt::target(), 0, DeviceOptions{}, capability);
}

/// A convolution of R x R and a batch norm in bfloat16 (or float32), their parameters in float32.
Graph layer(Shape x, std::int64_t K, std::int64_t R, DType dtype = DType::bf16, bool bias = false) {
  Graph graph;
  const auto typed = [&](const std::string& name, ValueId value) {
    return dtype == DType::f32 ? value : ops::cast(graph, name, value, dtype);
  };
  const ValueId input = typed("input", graph.input("input", x));
  const ValueId weight = typed("conv", graph.parameter("conv.weight", {K, R, R, x[-1]}));
  const ValueId shift = bias ? typed("conv", graph.parameter("conv.bias", {K})) : ValueId{};
  const ValueId y = ops::conv2d(graph, "conv", input, weight, shift, {.padding = {R / 2, R / 2}});
  const ValueId z = ops::relu(graph, "relu", norm(graph, "bn", y));
  graph.mark_output(dtype == DType::f32 ? z : ops::cast(graph, "output", z, DType::f32), "y");
  return graph;
}

TEST_CASE("gathering: a training step of residual blocks, its gradients and its running statistics") {
  const Graph graph = with_gradients(residual_net(8), "loss"), whole = gathered_everywhere(graph);
  CHECK(count_of(whole, "batch_norm_train") == 0);
  CHECK(count_of(whole, "batch_norm_train_gathered") == 6);
  CHECK(count_of(whole, "conv2d_statistics") == 6);
  CHECK(count_of(whole, "batch_norm_train_backward") == 6);
  CHECK(has_node(whole, "layer1.bn2 + add + relu2: batch_norm_train_gathered"));
  CHECK(to_text(whole).find("conv2d_statistics") != std::string::npos);
  CHECK(to_dot(whole).find("label=\"conv2: conv2d_statistics\"") != std::string::npos);

  const StateDict leaves = scaled_leaves(graph);
  for (const bool reuse : {true, false}) {
    Executor executor(make_device("simt"), whole, {.compile = {.fuse = false}, .reuse_memory = reuse, .poison = true});
    feed(executor, leaves);
    executor.run();
    CHECK(differences(executor, graph, reference_run(graph, to_doubles(leaves)), 5e-4) == "");
    CHECK(std::ranges::any_of(executor.profile(), [](const StepProfile& p) { return p.op == "conv2d_statistics"; }));
  }
}

TEST_CASE("gathering: a block of depthwise convolutions and ceilings") {
  const Graph graph = with_gradients(inverted_residual_net(8, 1.5), "loss"), whole = gathered_everywhere(graph);
  CHECK(count_of(whole, "batch_norm_train_gathered") == 4);
  Executor executor(make_device("simt"), whole, {.compile = {.fuse = false}, .poison = true});
  const StateDict leaves = scaled_leaves(graph);
  feed(executor, leaves);
  executor.run();
  CHECK(differences(executor, graph, reference_run(graph, to_doubles(leaves)), 5e-4) == "");
}

TEST_CASE("gathering: prediction, biases and what has a ReLU before its batch norm stay as they are") {
  const Graph predicting = for_inference(residual_net(8), {"logits"});
  CHECK(nodes_of(gathered(predicting, same_for_all)) == nodes_of(predicting));
  const Graph biased = layer({2, 6, 6, 8}, 8, 3, DType::f32, true);
  CHECK(nodes_of(gathered(biased, same_for_all)) == nodes_of(biased));
  Graph graph;
  const ValueId x = ops::relu(graph, "relu", conv(graph, "conv", graph.input("input", {2, 6, 6, 4}), 4, 3));
  graph.mark_output(norm(graph, "bn", x), "y");
  CHECK(count_of(gathered_everywhere(graph), "conv2d_statistics") == 0);
}

TEST_CASE("gathering: where the device's rungs make it worth its bytes") {
  const auto gathers = [](int capability, const Graph& graph, const CompileOptions& options = {}) {
    return count_of(device_like(capability)->prepare(graph, options), "batch_norm_train_gathered") == 1;
  };
  // Layers of a ResNet-50 with 128 pictures: what a Hopper's clusters cannot keep, and what they can.
  const Graph stem = layer({128, 112, 112, 64}, 64, 3), layer1 = layer({128, 56, 56, 64}, 64, 3),
              layer2 = layer({128, 28, 28, 128}, 128, 3), layer3 = layer({128, 14, 14, 1024}, 256, 1),
              layer4 = layer({128, 7, 7, 512}, 2048, 1);
  for (const Graph& graph : {stem, layer1}) CHECK(gathers(90, graph));
  for (const Graph& graph : {layer2, layer3, layer4}) CHECK_FALSE(gathers(90, graph));
  for (const Graph& graph : {stem, layer1, layer2, layer3, layer4}) CHECK(gathers(80, graph));
  // Half as many pictures of 7 x 7 a block keeps.
  CHECK_FALSE(gathers(80, layer({64, 7, 7, 512}, 2048, 1)));
  // In float32 what goes to implicit-gemm; no rung makes way: Winograd's, gemm's, the stem's.
  CHECK(gathers(90, layer({128, 56, 56, 64}, 64, 3, DType::f32)));
  CHECK_FALSE(gathers(90, layer({128, 56, 56, 128}, 128, 3, DType::f32)));
  CHECK(gathers(90, layer({128, 56, 56, 128}, 128, 3, DType::f32), {.math = Math::strict}));
  CHECK_FALSE(gathers(90, layer({128, 56, 56, 64}, 256, 1, DType::f32)));
  CHECK_FALSE(gathers(90, layer({128, 112, 112, 3}, 64, 3, DType::f32)));
  CHECK_FALSE(gathers(0, layer1));
  CHECK_FALSE(gathers(90, layer1, {.fuse = false}));
}

TEST_CASE(
    "gathering: where a table of what was measured names another rung that gathers, and not where it names none") {
  const Graph graph = layer({128, 56, 56, 64}, 64, 3);
  const auto catalogue = simt::target().catalogue();
  const auto gathers = [&](const RungTable& table) {
    const RungOf rung_of = [&](const Node& node, std::span<const Value> inputs, std::span<const Value> outputs) {
      const Op* op = find_op(catalogue, node.definition->name);
      if (op == nullptr) return std::string_view();
      const Problem problem = problem_of(node, inputs, outputs);
      const int rung = pick_rung(*op, problem, 90, table.device(), std::span(&table, 1));
      return rung < 0 ? std::string_view() : std::string_view(op->rungs[static_cast<std::size_t>(rung)].name);
    };
    return count_of(gathered(fused(graph, rung_of), rung_of), "batch_norm_train_gathered") == 1;
  };
  Problem call{{128, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1}};
  call.dtype = DType::bf16;
  const auto measured = [&](const char* conv2d, const char* statistics) {
    RungTable table("made-up", 90);
    if (conv2d != nullptr) table.add(*find_op(catalogue, "conv2d"), call, conv2d);
    if (statistics != nullptr) table.add(*find_op(catalogue, "conv2d_statistics"), call, statistics);
    return gathers(table);
  };
  CHECK(measured(nullptr, nullptr));
  CHECK(measured("implicit-wgmma", nullptr));
  CHECK(measured("implicit-mma", "implicit-wgmma"));
  CHECK(measured(nullptr, "implicit-mma"));
  CHECK_FALSE(measured("im2col-gemm", nullptr));
  CHECK_FALSE(measured("implicit-wgmma", "gathered-after"));
}

TEST_CASE("gathering: every implicit rung of conv2d is one that gathers, and no other is") {
  const auto catalogue = simt::target().catalogue();
  const auto names = [&](const char* op) {
    std::vector<std::string_view> found;
    for (const Rung& rung : find_op(catalogue, op)->rungs)
      if (std::string_view(rung.name).starts_with("implicit-")) found.push_back(rung.name);
    return found;
  };
  CHECK(names("conv2d") == names("conv2d_statistics"));
  CHECK(names("conv2d").size() + 1 == find_op(catalogue, "conv2d_statistics")->rungs.size());
}

/// y and the running statistics where the convolution gathers, in `rung`, and where the batch norm reads twice.
void check_gathered(DType dtype, const std::string& rung) {
  const Graph graph = layer({2, 17, 19, 8}, 16, 3, dtype);
  const StateDict leaves = scaled_leaves(graph);
  std::map<std::string, Tensor> results[2];
  for (const bool fuse : {false, true}) {
    Executor executor(device_like(80), graph, {.compile = {.fuse = fuse}, .poison = true});
    CHECK(count_of(executor.graph(), "conv2d_statistics") == fuse);
    CHECK((executor.program().plan.find("conv/conv2d_statistics " + rung) != std::string::npos) == fuse);
    feed(executor, leaves);
    executor.run();
    results[fuse].emplace("y", executor.output("y").clone());
    for (const char* state : {"bn.running_mean", "bn.running_var"})
      results[fuse].emplace(state, executor.store()->get(state).clone());
  }
  for (const auto& [name, apart] : results[0]) {
    CAPTURE(name);
    // In bfloat16 y may fall on the other side of a rounding; the statistics are float32.
    const float tolerance = name == "y" && dtype == DType::bf16 ? 0x1p-7F : 1e-5F;
    float largest = 0;
    for (std::size_t i = 0; i < apart.values<float>().size(); ++i) {
      const float a = apart.values<float>()[i], b = results[1].at(name).values<float>()[i];
      CHECK(std::fabs(a - b) <= tolerance * std::fmax(std::fabs(a), 1.0F));
      largest = std::fmax(largest, std::fabs(a));
    }
    CHECK(largest > 0.05F);
  }
}

TEST_CASE("gathering: the numbers are those of the batch norm that reads twice, in both types") {
  check_gathered(DType::bf16, "implicit-mma");
  check_gathered(DType::f32, "implicit-gemm");
}

}  // namespace
}  // namespace weft::test
