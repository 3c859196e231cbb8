#include "tests/core/harness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops.h"
#include "core/problem.h"
#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/philox.h"
#include "kernels/targets.h"

namespace weft::test {
namespace {

std::size_t at(ValueId id) {
  return static_cast<std::size_t>(id.index);
}

bool wants_positive(const std::string& name) {
  return name.find("var") != std::string::npos || name.find("scale") != std::string::npos ||
         (name.find("bn") != std::string::npos && name.ends_with("weight"));
}

/// A user's op works on float32.
void run_user_op(const Graph& graph, const Node& node, std::vector<Doubles>& values) {
  std::vector<Tensor> tensors;
  std::vector<HostOperand> inputs, outputs;
  for (const ValueId id : node.inputs) {
    Tensor tensor(graph.value(id).shape);
    std::copy(values[at(id)].begin(), values[at(id)].end(), tensor.values<float>().begin());
    inputs.push_back({tensor.data(), tensor.shape(), DType::f32});
    tensors.push_back(tensor);
  }
  for (const ValueId id : node.outputs) {
    tensors.emplace_back(graph.value(id).shape);
    outputs.push_back({tensors.back().data(), tensors.back().shape(), DType::f32});
  }
  node.definition->run_on_host(node, inputs, outputs);
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const Tensor& tensor = tensors[node.inputs.size() + i];
    values[at(node.outputs[i])].assign(tensor.values<float>().begin(), tensor.values<float>().end());
  }
}

void run_node(const Graph& graph, const Node& node, std::uint64_t step, std::vector<Doubles>& values) {
  for (const ValueId id : node.outputs)
    values[at(id)].assign(static_cast<std::size_t>(graph.value(id).shape.elements()),
                          std::numeric_limits<double>::quiet_NaN());
  const std::string& name = node.definition->name;
  if (name == "reshape") {
    values[at(node.outputs[0])] = values[at(node.inputs[0])];
    return;
  }
  if (node.definition->run_on_host) {
    run_user_op(graph, node, values);
    return;
  }
  const Op* op = find_op(simt::target().catalogue(), name);
  if (op == nullptr) fail("the catalogue has no " + name);
  Problem problem = problem_of(graph, node);
  if (name.starts_with("dropout")) problem.extents[extents::Dropout::step] = static_cast<std::int64_t>(step);
  std::vector<double*> operands, magnitudes;
  std::vector<Doubles> scratch;
  const std::vector<ValueId> ids = operands_of(node, *op, problem);
  scratch.reserve(ids.size());
  const Signature signature = op->signature(problem);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    operands.push_back(ids[i] ? values[at(ids[i])].data() : nullptr);
    magnitudes.push_back(nullptr);
    if (!ids[i] || signature.operands[i].role == Role::input) continue;
    scratch.emplace_back(values[at(ids[i])].size(), std::numeric_limits<double>::quiet_NaN());
    magnitudes.back() = scratch.back().data();
  }
  op->reference(problem, operands.data(), magnitudes.data());
}

}  // namespace

StateDict random_leaves(const Graph& graph, std::uint64_t seed, std::int64_t classes) {
  StateDict leaves;
  for (const Value& value : graph.values()) {
    if (value.kind == ValueKind::activation) continue;
    Tensor tensor(value.shape, value.dtype);
    Philox random(seed, subsequence_of(value.name.c_str()));
    if (value.dtype == DType::i32) {
      for (std::int32_t& label : tensor.values<std::int32_t>())
        label = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(classes)));
    } else {
      for (float& number : tensor.values<float>())
        number = wants_positive(value.name) ? 0.5f + random.uniform() : random.normal();
    }
    leaves.emplace(value.name, tensor);
  }
  return leaves;
}

std::map<std::string, Doubles> to_doubles(const StateDict& tensors) {
  std::map<std::string, Doubles> result;
  for (const auto& [name, tensor] : tensors) {
    Doubles& values = result[name];
    if (tensor.dtype() == DType::i32) {
      const auto labels = tensor.values<std::int32_t>();
      values.assign(labels.begin(), labels.end());
    } else {
      const auto numbers = tensor.values<float>();
      values.assign(numbers.begin(), numbers.end());
    }
  }
  return result;
}

std::vector<Doubles> reference_run(const Graph& graph, const std::map<std::string, Doubles>& leaves,
                                   std::uint64_t step) {
  std::vector<Doubles> values(static_cast<std::size_t>(graph.value_count()));
  for (int i = 0; i < graph.value_count(); ++i)
    if (graph.value(ValueId{i}).kind != ValueKind::activation)
      values[static_cast<std::size_t>(i)] = leaves.at(graph.value(ValueId{i}).name);
  for (const Node& node : graph.nodes()) run_node(graph, node, step, values);
  return values;
}

void feed(Executor& executor, const StateDict& leaves) {
  for (const Value& value : executor.graph().values()) {
    if (value.kind == ValueKind::input) executor.set_input(value.name, leaves.at(value.name));
    if (value.kind == ValueKind::parameter || value.kind == ValueKind::state)
      executor.store()->set(value.name, leaves.at(value.name));
  }
}

std::string difference(const std::string& name, const Tensor& got, const Doubles& exact, double tolerance) {
  const std::span<const float> values = got.values<float>();
  if (values.size() != exact.size())
    return fmt::format("{}: {} elements, {} in truth", name, values.size(), exact.size());
  double largest = 0;
  for (const double value : exact) largest = std::max(largest, std::fabs(value));
  if (!(largest > 0)) return name + ": the truth is zero everywhere, which tests nothing";
  for (std::size_t i = 0; i < exact.size(); ++i)
    if (!(std::fabs(values[i] - exact[i]) <= tolerance * largest))
      return fmt::format("{}[{}] = {:.9g}, in truth {:.9g} (largest {:.3g})", name, i, values[i], exact[i], largest);
  return "";
}

Graph small_net(const SmallNet& options) {
  Graph graph;
  const bool train_trunk = !options.frozen_trunk;
  const ValueId input = graph.input("input", {options.batch, 8, 8, 3});
  const ValueId labels = graph.input("labels", {options.batch}, DType::i32);
  const auto batch_norm = [&](const std::string& name, ValueId x, bool trained) {
    const std::int64_t channels = graph.value(x).shape[-1];
    const ValueId weight = graph.parameter(name + ".weight", {channels}, trained);
    const ValueId bias = graph.parameter(name + ".bias", {channels}, trained);
    const ValueId mean = graph.state(name + ".running_mean", {channels});
    const ValueId var = graph.state(name + ".running_var", {channels});
    return trained ? ops::batch_norm(graph, name, x, weight, bias, mean, var)
                   : ops::batch_norm_eval(graph, name, x, weight, bias, mean, var);
  };
  ValueId x = ops::conv2d(graph, "conv1", input, graph.parameter("conv1.weight", {8, 3, 3, 3}, train_trunk), {},
                          {.padding = {1, 1}});
  x = ops::relu(graph, "relu1", batch_norm("bn1", x, train_trunk));
  const ValueId shortcut = x;
  x = ops::conv2d(graph, "block.conv", x, graph.parameter("block.conv.weight", {8, 3, 3, 8}), {}, {.padding = {1, 1}});
  x = batch_norm("block.bn", x, true);
  x = ops::relu(graph, "block.relu", ops::add(graph, "block.add", x, shortcut));
  x = ops::max_pool(graph, "pool", x, {});
  x = ops::global_avg_pool(graph, "global", x);
  if (options.dropout > 0) x = ops::dropout(graph, "dropout", x, options.dropout, 7);
  x = ops::gemm(graph, "fc", x, graph.parameter("fc.weight", {options.classes, 8}),
                graph.parameter("fc.bias", {options.classes}), false, true);
  graph.mark_output(x, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", x, labels), "loss");
  return graph;
}

}  // namespace weft::test
