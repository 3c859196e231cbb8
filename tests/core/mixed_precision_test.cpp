// A model in bfloat16 with float32 weights (core/passes.h: in_bfloat16).

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>

#include "core/kernel_device.h"
#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "tests/core/harness_nets.h"

namespace weft::test {
namespace {

std::shared_ptr<Device> device_like(int capability) {
  return std::make_shared<KernelDevice>(simt::target(), 0, DeviceOptions{}, capability);
}

TEST_CASE("mixed precision: what is bfloat16 and what is not") {
  const Graph net = residual_net(8), graph = with_gradients(in_bfloat16(net), "loss");
  for (const Node& node : graph.nodes()) {
    const std::string& op = node.definition->name;
    const auto type = [&](std::size_t input) { return graph.value(node.inputs[input]).dtype; };
    CAPTURE(node.name);
    CAPTURE(op);
    if (op.starts_with("conv2d") || op == "gemm" || op == "add" || op == "relu") {
      CHECK(type(0) == DType::bf16);
      if (op != "relu") CHECK(type(1) == DType::bf16);
      CHECK(graph.value(node.outputs[0]).dtype == DType::bf16);
    }
    if (op == "batch_norm_train") {
      CHECK(type(0) == DType::bf16);
      for (const std::size_t vector : {1, 2, 4, 5}) CHECK(type(vector) == DType::f32);
    }
    if (op == "cross_entropy") CHECK(type(0) == DType::f32);
  }
  for (const Value& value : graph.values())
    if (value.kind != ValueKind::activation && value.dtype != DType::i32) CHECK(value.dtype == DType::f32);
  for (const auto& [name, value] : graph.outputs()) CHECK(graph.value(value).dtype == DType::f32);
  // The pictures, six filters, a matrix and its bias, each once for both passes, and the logits; and their gradients,
  // but not the pictures'.
  CHECK(count_of(graph, "cast") == 10 + 9);
  CHECK(graph.outputs().size() == with_gradients(net, "loss").outputs().size());
}

/// Without ReLU and maximum: at a kink a gradient may be another altogether for a rounding.
Graph smooth_net() {
  Graph graph;
  const ValueId x = norm(graph, "bn1", conv(graph, "conv1", graph.input("input", {4, 12, 12, 3}), 8, 3));
  const ValueId y = norm(graph, "bn2", conv(graph, "conv2", x, 8, 3));
  const ValueId z = conv(graph, "conv3", ops::add(graph, "add", x, y), 16, 3, 2, true);
  const ValueId pooled = ops::global_avg_pool(graph, "avgpool", z);
  const ValueId logits = ops::gemm(graph, "fc", pooled, graph.parameter("fc.weight", {3, 16}),
                                   graph.parameter("fc.bias", {3}), false, true);
  graph.mark_output(logits, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", logits, graph.input("labels", {4}, DType::i32)), "loss");
  return graph;
}

TEST_CASE("mixed precision: logits, loss, gradients and running statistics are near those of float32") {
  const Graph net = smooth_net(), truth = with_gradients(net, "loss");
  const StateDict leaves = scaled_leaves(truth);
  const std::vector<Doubles> exact = reference_run(truth, to_doubles(leaves));
  for (const int capability : {0, 80})
    for (const bool fuse : {true, false}) {
      CAPTURE(capability);
      CAPTURE(fuse);
      Executor executor(device_like(capability), with_gradients(in_bfloat16(net), "loss"),
                        {.compile = {.fuse = fuse}, .poison = true});
      feed(executor, leaves);
      executor.run();
      CHECK(differences(executor, truth, exact, 0.03) == "");
      CHECK(differences(executor, truth, exact, 1e-4) != "");  // it is rounded
    }
}

TEST_CASE("mixed precision: prediction, with batch norm by its running statistics") {
  const Graph net = inverted_residual_net(8, 1.5), truth = for_inference(net, {"logits"});
  const StateDict leaves = scaled_leaves(truth);
  const std::vector<Doubles> exact = reference_run(truth, to_doubles(leaves));
  for (const int capability : {0, 80}) {
    Executor executor(device_like(capability), for_inference(in_bfloat16(net), {"logits"}), {.poison = true});
    // Folded into the convolutions as in float32, of which their scale and shift are.
    CHECK(has_node(executor.graph(), "block.expand + expand_bn + expand_relu: conv2d"));
    CHECK(count_of(executor.graph(), "batch_norm_eval") == 0);
    CHECK(count_of(executor.graph(), "batch_norm_fold") == 4);
    for (const Node& node : executor.graph().nodes())
      if (node.definition->name == "conv2d")
        for (const std::size_t vector : {2, 3}) CHECK(executor.graph().value(node.inputs[vector]).dtype == DType::f32);
    feed(executor, leaves);
    executor.run();
    CHECK(differences(executor, truth, exact, 0.03) == "");
  }
}

TEST_CASE("mixed precision: a convolution with a bias of its own takes the batch norm behind it") {
  Graph net;
  const ValueId y = conv(net, "conv", net.input("input", {2, 7, 6, 3}), 8, 3, 1, true);
  net.mark_output(ops::relu(net, "relu", norm(net, "bn", y)), "y");
  const Graph truth = for_inference(net, {"y"});
  const StateDict leaves = scaled_leaves(truth);
  Executor executor(device_like(80), for_inference(in_bfloat16(net), {"y"}), {.poison = true});
  CHECK(has_node(executor.graph(), "conv + bn + relu: conv2d"));
  feed(executor, leaves);
  executor.run();
  CHECK(differences(executor, truth, reference_run(truth, to_doubles(leaves)), 0.02) == "");
}

TEST_CASE("mixed precision: operands of two types are refused, and said to be") {
  Graph graph;
  const ValueId x = ops::cast(graph, "input", graph.input("input", {1, 5, 5, 3}), DType::bf16);
  graph.mark_output(conv(graph, "conv", x, 4, 3), "y");
  CHECK_THROWS_WITH_AS(Executor(device_like(0), graph),
                       doctest::Contains("conv: conv2d wants weight in bf16 and is given f32: cast it"), Error);
}

}  // namespace
}  // namespace weft::test
