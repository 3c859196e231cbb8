#include "tests/parity/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/executor.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "optim/sgd.h"

namespace weft::parity {
namespace {

/// sum(dy * y): a loss whose gradient with respect to y is dy, whatever dy is. That is how a module's own upstream
/// gradient enters a graph that starts from a loss.
std::shared_ptr<const OpDefinition> weighted_sum() {
  auto op = std::make_shared<OpDefinition>();
  op->name = "weighted_sum";
  op->infer = [](const Node&, std::span<const Value>) -> std::vector<Value> { return {{"", {1}}}; };
  op->differentiate = [](Graph& graph, NodeId id, std::span<const ValueId>, std::span<const bool>) {
    return std::vector<ValueId>{graph.node(id).inputs[1], {}};  // times the gradient of the loss itself: 1
  };
  op->run_on_host = [](const Node&, std::span<const HostOperand> inputs, std::span<HostOperand> outputs) {
    const auto* y = static_cast<const float*>(inputs[0].data);
    const auto* dy = static_cast<const float*>(inputs[1].data);
    double sum = 0;
    for (std::int64_t i = 0; i < inputs[0].shape.elements(); ++i) sum += static_cast<double>(y[i]) * dy[i];
    *static_cast<float*>(outputs[0].data) = static_cast<float>(sum);
  };
  return op;
}

/// True for a forward node that stands for a module of which the file tells.
bool is_module(const Node& node) {
  const std::string& op = node.definition->name;
  return node.pass == Pass::forward && (op == "conv2d" || op == "gemm" || op == "batch_norm_train" || op == "max_pool");
}

const Node& node_of(const Graph& graph, const std::string& module) {
  for (const Node& node : graph.nodes())
    if (node.name == module && is_module(node)) return node;
  fail(
      fmt::format("the file has the module {}, and the model has no convolution, linear layer, batch norm or max pool "
                  "of this name",
                  module));
}

/// The file's numbers for a value of the net: what the module gave that makes it, or what one was given that reads it.
const Tensor& recorded(const Truth& truth, const Graph& whole, ValueId id) {
  if (const NodeId producer = whole.producer(id); producer && is_module(whole.node(producer)))
    return truth.at("out." + whole.node(producer).name);
  for (const NodeId reader : whole.readers(id))
    if (is_module(whole.node(reader)) && whole.node(reader).inputs[0] == id)
      return truth.at("in." + whole.node(reader).name);
  fail(fmt::format("the file tells nothing of {}", whole.value(id).name));
}

/// What a module gave. torchvision's ResNets add a block's shortcut in place (`out += identity`, then the ReLU) to the
/// output of its last batch norm, whose out.M, read at the end of the step, is therefore the sum: the shortcut is taken
/// off again. MobileNet's sum, behind which there is no ReLU, is a tensor of its own.
Tensor output_of(const Truth& truth, const Graph& whole, const Node& module) {
  const Tensor& y = truth.at("out." + module.name);
  for (const NodeId reader : whole.readers(module.outputs[0])) {
    const Node& add = whole.node(reader);
    if (add.definition->name != "add" || add.pass != Pass::forward || add.inputs[0] != module.outputs[0]) continue;
    if (std::ranges::none_of(whole.readers(add.outputs[0]),
                             [&](NodeId id) { return whole.node(id).definition->name == "relu"; }))
      continue;
    Tensor before = y.clone();
    const Tensor& shortcut = recorded(truth, whole, add.inputs[1]);
    std::ranges::transform(y.values<float>(), shortcut.values<float>(), before.values<float>().begin(), std::minus<>());
    return before;
  }
  return y;
}

/// What a batch norm's sums over the pictures are made of: by channel, sum |dy|, sum |dy xhat| and mean |x|. Behind a
/// batch norm the gradients of a channel cancel all but for rounding, and so do the means of what a 1x1 convolution
/// makes of normalised channels: next to their terms these sums are 0, and the file's own float32 does not know them.
struct Terms {
  Tensor dbias, dweight, running_mean;
};

Terms terms_of(const Tensor& x, const Tensor& dy) {
  const std::int64_t channels = x.shape()[-1], rows = x.elements() / channels;
  Terms terms{Tensor::zeros({channels}), Tensor::zeros({channels}), Tensor::zeros({channels})};
  const std::span<const float> xs = x.values<float>(), dys = dy.values<float>();
  for (std::int64_t c = 0; c < channels; ++c) {
    const auto at = [&](std::int64_t row) { return static_cast<std::size_t>(row * channels + c); };
    double sum = 0, squares = 0, size = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      sum += xs[at(row)];
      size += std::abs(xs[at(row)]);
    }
    const double mean = sum / static_cast<double>(rows);
    for (std::int64_t row = 0; row < rows; ++row) squares += std::pow(xs[at(row)] - mean, 2);
    const double deviation = std::sqrt(squares / static_cast<double>(rows) + 1e-5);
    double dbias = 0, dweight = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      dbias += std::abs(dys[at(row)]);
      dweight += std::abs(dys[at(row)] * (xs[at(row)] - mean) / deviation);
    }
    const auto channel = static_cast<std::size_t>(c);
    terms.dbias.values<float>()[channel] = static_cast<float>(dbias);
    terms.dweight.values<float>()[channel] = static_cast<float>(dweight);
    terms.running_mean.values<float>()[channel] = static_cast<float>(size / static_cast<double>(rows));
  }
  return terms;
}

/// The part of its terms that a sum must reach to be judged by its own size. With a bound of 1e-4 a smaller one may be
/// off by 1e-7 of them, which is 1.7 roundoffs of float32.
constexpr double kCancelled = 1e-3;

/// `node` alone, from "x" and "dy" to "y", "grad.x" and the gradients of its parameters.
Graph alone(const Graph& whole, const Node& node, const Shape& x, bool wants_dx) {
  Graph graph;
  std::vector<ValueId> inputs;
  for (const ValueId input : node.inputs) {
    if (!input) {
      inputs.push_back({});
      continue;
    }
    const Value& value = whole.value(input);
    if (inputs.empty())
      inputs.push_back(graph.input("x", x));
    else if (value.kind == ValueKind::state)
      inputs.push_back(graph.state(value.name, value.shape));
    else
      inputs.push_back(graph.parameter(value.name, value.shape));
  }
  const ValueId y = graph.apply(node.name, node.definition, inputs, node.attributes);
  graph.mark_output(y, "y");
  const ValueId dy = graph.input("dy", graph.value(y).shape);
  graph.mark_output(graph.apply("loss", weighted_sum(), {y, dy}), "loss");
  return with_gradients(graph, "loss", wants_dx ? std::vector<std::string>{"x"} : std::vector<std::string>{});
}

/// "weight" of "layer1.0.conv1.weight".
std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

void check_module(const Truth& truth, const Graph& whole, const std::string& module, const Setting& setting,
                  std::vector<Check>& checks) {
  const Tensor& x = truth.at("in." + module);
  const bool wants_dx = truth.contains("gin." + module);
  const Node& node = node_of(whole, module);
  Executor executor(setting.device, alone(whole, node, x.shape(), wants_dx), {.compile = setting.compile});
  ParameterStore& store = *executor.store();
  for (const ParameterStore::Entry& entry : store.entries()) store.set(entry.name, truth.at("param." + entry.name));
  executor.set_input("x", x);
  executor.set_input("dy", truth.at("gout." + module));
  executor.run();

  const auto check = [&](const std::string& what, const Tensor& got, const Tensor& exact) {
    checks.push_back({module, what, relative_error(got, exact), setting.bounds.node});
  };
  const auto check_sum = [&](const std::string& what, const Tensor& got, const Tensor& exact, const Tensor& terms) {
    const double least = kCancelled * norm_of(terms);
    check(what, got, exact);
    if (checks.back().passed() || !(norm_of(exact) < least)) return;
    checks.back() = {module, what + " (cancels)", relative_error(got, exact, least), setting.bounds.node};
  };
  check("y", executor.output("y"), output_of(truth, whole, node));
  if (wants_dx) check("dx", executor.output("grad.x"), truth.at("gin." + module));
  const bool normalises = node.definition->name == "batch_norm_train";
  const Terms terms = normalises ? terms_of(x, truth.at("gout." + module)) : Terms();
  for (const ParameterStore::Entry& entry : store.entries()) {
    const std::string part = last_part(entry.name);
    if (!entry.trained && part == "running_mean")
      check_sum(part, store.get(entry.name), truth.at("after." + entry.name), terms.running_mean);
    else if (!entry.trained)
      check(part, store.get(entry.name), truth.at("after." + entry.name));
    else if (normalises)
      check_sum(fmt::format("d{}", part), store.gradient(entry.name), truth.at("grad." + entry.name),
                part == "bias" ? terms.dbias : terms.dweight);
    else
      check(fmt::format("d{}", part), store.gradient(entry.name), truth.at("grad." + entry.name));
  }
}

/// Puts dense gradients where the store has its own, in the layouts that its program chose.
void set_gradients(ParameterStore& store, const StateDict& gradients) {
  Device& device = store.device();
  for (const ParameterStore::Entry& entry : store.entries()) {
    if (!entry.trained) continue;
    const Tensor& dense = gradients.at(entry.name);
    const Buffer staging = device.allocate(dense.bytes());
    device.copy_in(staging.data(), dense.data(), dense.bytes());
    device.reorder(entry.shape, DType::f32, staging.data(), nullptr, store.gradient_data(entry), entry.layout);
    device.synchronize();
  }
}

}  // namespace

std::vector<Check> check_modules(const Truth& truth, const Model& model, const Setting& setting) {
  const Shape& input = truth.at("input").shape();
  const Graph whole = model.graph({.batch = input[0], .height = input[1], .width = input[2], .training = true});
  for (const Node& node : whole.nodes())
    if (is_module(node) && !truth.contains("in." + node.name))
      fail(fmt::format("the model has the layer {}, of which the file tells nothing", node.name));
  std::vector<Check> checks;
  for (const std::string& module : truth.modules()) check_module(truth, whole, module, setting, checks);
  return checks;
}

std::vector<Check> check_whole_net(const Truth& truth, const Model& model, const Setting& setting) {
  const Shape& input = truth.at("input").shape();
  Graph graph = model.graph({.batch = input[0], .height = input[1], .width = input[2], .training = true});
  for (int i = 0; i < graph.node_count(); ++i) {  // the file has no dropout: its mask could not be reproduced
    Node& node = graph.node(NodeId{i});
    if (node.definition->name.starts_with("dropout")) node.attributes.set("p", 0.0);
  }
  Executor executor(setting.device, std::move(graph), {.compile = setting.compile});
  ParameterStore& store = *executor.store();
  const StateDict parameters = truth.with_prefix("param."), gradients = truth.with_prefix("grad."),
                  after = truth.with_prefix("after.");
  store.load(parameters);
  executor.set_input("input", truth.at("input"));
  executor.set_input("labels", truth.labels());
  executor.run();

  const std::string net = "whole net";
  const Bounds& bounds = setting.bounds;
  std::vector<Check> checks = {
      {net, "logits", relative_error(executor.output("logits"), truth.at("logits")), bounds.forward},
      {net, "loss", relative_error(executor.output("loss"), truth.at("loss")), bounds.forward}};
  VectorError all_gradients, statistics;
  bool has_statistics = false;
  for (const ParameterStore::Entry& entry : store.entries()) {
    if (entry.trained) {
      all_gradients.add(store.gradient(entry.name), truth.at("grad." + entry.name));
    } else {
      statistics.add(store.get(entry.name), truth.at("after." + entry.name));
      has_statistics = true;
    }
  }
  checks.push_back({net, "all gradients", all_gradients.value(), bounds.all_gradients});
  if (has_statistics) checks.push_back({net, "running statistics", statistics.value(), bounds.forward});

  store.load(parameters);
  set_gradients(store, gradients);
  Sgd({.momentum = 0.9, .groups = {{.weight_decay = 1e-4}}}).step(store, 0.1);
  Check worst{"SGD step", "weights", -1, bounds.sgd};
  for (const ParameterStore::Entry& entry : store.entries()) {
    if (!entry.trained) continue;
    const double error = relative_error(store.get(entry.name), after.at(entry.name));
    if (!(error <= worst.error)) worst = {"SGD step", entry.name, error, bounds.sgd};
  }
  checks.push_back(worst);
  return checks;
}

std::string architecture_of(const Truth& truth) {
  const StateDict parameters = truth.with_prefix("param.");
  const auto classes = static_cast<std::size_t>(truth.at("logits").shape()[1]);
  for (const std::string& arch : model_names()) {
    const std::map<std::string, Shape> shapes = make_model(arch, Classes(classes, "class")).shapes();
    bool same = shapes.size() == parameters.size();
    for (const auto& [name, shape] : shapes) {
      const auto found = parameters.find(name);
      same = same && found != parameters.end() && found->second.shape() == shape;
    }
    if (same) return arch;
  }
  fail("the file's parameters are those of no architecture that Weft has");
}

}  // namespace weft::parity
