#include "tests/core/harness_nets.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/ops.h"

namespace weft::test {

ValueId conv(Graph& graph, const std::string& name, ValueId x, std::int64_t K, std::int64_t R, std::int64_t stride,
             bool bias) {
  const ValueId weight = graph.parameter(name + ".weight", {K, R, R, graph.value(x).shape[-1]});
  return ops::conv2d(graph, name, x, weight, bias ? graph.parameter(name + ".bias", {K}) : ValueId{},
                     {.stride = {stride, stride}, .padding = {R / 2, R / 2}});
}

ValueId norm(Graph& graph, const std::string& name, ValueId x) {
  const Shape channels = {graph.value(x).shape[-1]};
  return ops::batch_norm(graph, name, x, graph.parameter(name + ".scale", channels),
                         graph.parameter(name + ".bias", channels), graph.state(name + ".running_mean", channels),
                         graph.state(name + ".running_var", channels));
}

Graph residual_net(std::int64_t C) {
  Graph graph;
  ValueId x = graph.input("input", {4, 16, 16, 3});
  x = ops::relu(graph, "relu", norm(graph, "bn", conv(graph, "conv", x, C, 7, 2)));
  x = ops::max_pool(graph, "maxpool", x, {.window = {3, 3}, .stride = {1, 1}, .padding = {1, 1}});
  for (const std::int64_t stride : {1, 2}) {
    const std::string name = fmt::format("layer{}.", stride);
    const std::int64_t K = stride * C;
    const ValueId y =
        ops::relu(graph, name + "relu1", norm(graph, name + "bn1", conv(graph, name + "conv1", x, K, 3, stride)),
                  stride == 1 ? 0 : 1.5);
    const ValueId z = norm(graph, name + "bn2", conv(graph, name + "conv2", y, K, 3));
    const ValueId shortcut =
        stride == 1 ? x : norm(graph, name + "down.1", conv(graph, name + "down.0", x, K, 1, stride));
    x = ops::relu(graph, name + "relu2", ops::add(graph, name + "add", z, shortcut));
  }
  x = ops::global_avg_pool(graph, "avgpool", x);
  x = ops::gemm(graph, "fc", x, graph.parameter("fc.weight", {3, 2 * C}), graph.parameter("fc.bias", {3}), false, true);
  graph.mark_output(x, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", x, graph.input("labels", {4}, DType::i32)), "loss");
  return graph;
}

Graph inverted_residual_net(std::int64_t C, double ceiling) {
  Graph graph;
  const ValueId input = graph.input("input", {3, 9, 7, 3});
  const ValueId x = ops::relu(graph, "relu", norm(graph, "bn", conv(graph, "conv", input, C, 3, 2)));
  const auto capped = [&](const std::string& layer, ValueId y) {
    return ops::relu(graph, layer + "_relu", norm(graph, layer + "_bn", y), ceiling);
  };
  ValueId y = capped("block.expand", conv(graph, "block.expand", x, 3 * C, 1));
  y = ops::conv2d(graph, "block.depthwise", y, graph.parameter("block.depthwise.weight", {3 * C, 3, 3, 1}), {},
                  {.padding = {1, 1}, .groups = 3 * C});
  y = conv(graph, "block.project", capped("block.depthwise", y), C, 1);
  y = ops::add(graph, "block.add", norm(graph, "block.project_bn", y), x);
  y = ops::global_avg_pool(graph, "avgpool", y);
  y = ops::gemm(graph, "fc", y, graph.parameter("fc.weight", {3, C}), graph.parameter("fc.bias", {3}), false, true);
  graph.mark_output(y, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", y, graph.input("labels", {3}, DType::i32)), "loss");
  return graph;
}

std::vector<std::string> nodes_of(const Graph& graph) {
  std::vector<std::string> all;
  for (const Node& node : graph.nodes()) all.push_back(node.name + ": " + node.definition->name);
  return all;
}

bool has_node(const Graph& graph, const std::string& node) {
  const std::vector<std::string> all = nodes_of(graph);
  return std::ranges::find(all, node) != all.end();
}

int count_of(const Graph& graph, std::string_view op) {
  return static_cast<int>(
      std::ranges::count_if(graph.nodes(), [op](const Node& node) { return node.definition->name == op; }));
}

Graph fire_net(std::int64_t squeeze, std::int64_t expand) {
  Graph graph;
  ValueId x = graph.input("input", {3, 11, 9, 3});
  x = ops::relu(graph, "relu", conv(graph, "conv", x, 16, 3, 2, true));
  x = ops::relu(graph, "squeeze.relu", conv(graph, "squeeze", x, squeeze, 1, 1, true));
  const ValueId a = ops::relu(graph, "expand1.relu", conv(graph, "expand1", x, expand, 1, 1, true)),
                b = ops::relu(graph, "expand3.relu", conv(graph, "expand3", x, expand, 3, 1, true), 0.5);
  x = ops::concat(graph, "cat", {a, b});
  x = ops::avg_pool(graph, "pool", x, {.window = {2, 2}, .stride = {2, 2}, .ceil_mode = true});
  x = ops::dropout(graph, "dropout", x, 0.25, 3);
  const std::int64_t features = graph.value(x).shape.elements() / 3;
  x = ops::reshape(graph, "flatten", x, {3, features});
  x = ops::gemm(graph, "fc1", x, graph.parameter("fc1.weight", {20, features}), graph.parameter("fc1.bias", {20}),
                false, true);
  x = ops::relu(graph, "fc1.relu", x, 1);
  x = ops::gemm(graph, "fc2", x, graph.parameter("fc2.weight", {4, 20}), graph.parameter("fc2.bias", {4}), false, true);
  graph.mark_output(x, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", x, graph.input("labels", {3}, DType::i32)), "loss");
  return graph;
}

StateDict scaled_leaves(const Graph& graph) {
  StateDict leaves = random_leaves(graph, 5, 3);
  for (auto& [name, tensor] : leaves)
    if (name.ends_with(".weight"))
      for (float& w : tensor.values<float>())
        w *= static_cast<float>(
            std::sqrt(2.0 * static_cast<double>(tensor.shape()[0]) / static_cast<double>(tensor.elements())));
  return leaves;
}

std::string differences(const Executor& executor, const Graph& graph, const std::vector<Doubles>& exact,
                        double tolerance) {
  std::string all;
  const auto add = [&](const std::string& name, const Tensor& got, ValueId truth) {
    const std::string line = difference(name, got, exact[static_cast<std::size_t>(truth.index)], tolerance);
    if (!line.empty()) all += line + "\n";
  };
  for (const auto& [name, id] : graph.outputs()) {
    const bool stored = name.starts_with("grad.") && executor.store()->contains(name.substr(5));
    add(name, stored ? executor.store()->gradient(name.substr(5)) : executor.output(name), id);
  }
  for (int i = 0; i < graph.value_count(); ++i)
    if (const Value& v = graph.value(ValueId{i}); v.kind == ValueKind::state)
      add(v.name, executor.store()->get(v.name), ValueId{i});
  return all;
}

void check_run(const std::shared_ptr<Device>& device, const Graph& graph, const CompileOptions& compile,
               double tolerance) {
  constexpr std::uint64_t kStep = 3;
  const StateDict leaves = scaled_leaves(graph);
  const std::vector<Doubles> exact = reference_run(graph, to_doubles(leaves), kStep);
  for (const bool reuse : {true, false}) {
    Executor executor(device, graph, {.compile = compile, .reuse_memory = reuse, .poison = true});
    feed(executor, leaves);
    executor.run(kStep);
    CHECK(differences(executor, graph, exact, tolerance) == "");
  }
}

}  // namespace weft::test
