#include "nn/model.h"

#include <fmt/format.h>

#include <utility>

#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "nn/losses.h"

namespace weft {

Loss cross_entropy_loss() {
  return [](Graph& graph, ValueId logits, ValueId labels) { return ops::cross_entropy(graph, "loss", logits, labels); };
}

Model::Model(std::string arch, ModulePtr root, Classes classes, std::string head, std::int64_t channels,
             std::uint64_t seed, std::int64_t size)
    : arch_(std::move(arch)),
      root_(std::move(root)),
      classes_(std::move(classes)),
      head_(std::move(head)),
      channels_(channels),
      seed_(seed),
      height_(size),
      width_(size) {
  if (classes_.size() < 2)
    fail(fmt::format("{} needs at least two classes to tell apart, not {}", arch_, classes_.size()));
}

/// The forward pass of a graph, and where the head begins.
struct Model::Forward {
  Graph graph;
  ValueId logits, head_input;
};

Model::Forward Model::forward(const GraphOptions& options, bool training, StateDict* initial) const {
  Forward result;
  Builder builder(result.graph, seed_, initial);
  builder.training = training;
  builder.frozen = options.frozen;
  builder.fixed_batch_norm = options.fixed_batch_norm;
  const ValueId x = result.graph.input("input", {options.batch, options.height, options.width, channels_});
  result.logits = root_->forward(builder, x);
  result.head_input = builder.input_of(head_);
  const Shape wanted = {options.batch, static_cast<std::int64_t>(classes_.size())};
  if (builder.shape(result.logits) != wanted)
    fail(fmt::format("{} gives {} for {} pictures of {} classes; logits are {}", arch_,
                     to_string(builder.shape(result.logits)), options.batch, classes_.size(), to_string(wanted)));
  return result;
}

namespace {

Graph in_type_of(const GraphOptions& options, Graph graph) {
  return options.bfloat16 ? in_bfloat16(graph) : std::move(graph);
}

}  // namespace

/// Marks the logits' loss and adds the gradients.
Graph Model::with_loss(Graph graph, const GraphOptions& options) const {
  const Shape shares = {options.batch, options.shares_per_class * static_cast<std::int64_t>(classes_.size())};
  const ValueId labels =
      options.soft_labels ? graph.input("labels", shares) : graph.input("labels", {options.batch}, DType::i32);
  const Loss loss = options.loss          ? options.loss
                    : options.soft_labels ? soft_cross_entropy_loss()
                                          : cross_entropy_loss();
  graph.mark_output(loss(graph, graph.find("logits"), labels), "loss");
  return with_gradients(in_type_of(options, std::move(graph)), "loss");
}

Graph Model::graph(const GraphOptions& options) const {
  Forward built = forward(options, options.training, nullptr);
  built.graph.mark_output(built.logits, "logits");
  return options.training ? with_loss(std::move(built.graph), options) : in_type_of(options, std::move(built.graph));
}

Graph Model::trunk_graph(const GraphOptions& options) const {
  Forward built = forward(options, false, nullptr);
  if (!built.head_input) fail(fmt::format("{} has no layer '{}', which should be its head", arch_, head_));
  built.graph.mark_output(built.head_input, "features");
  return in_type_of(options, without_dead_nodes(built.graph));
}

Graph Model::head_graph(const GraphOptions& options) const {
  const Forward built = forward(options, options.training, nullptr);
  if (!built.head_input) fail(fmt::format("{} has no layer '{}', which should be its head", arch_, head_));
  Graph head;
  // What of the whole graph has its counterpart in the head's: everything that depends on the features.
  std::map<ValueId, ValueId> counterpart;
  counterpart[built.head_input] = head.input("features", built.graph.value(built.head_input).shape);
  for (const Node& node : built.graph.nodes()) {
    bool depends = false;
    for (ValueId input : node.inputs) depends = depends || counterpart.contains(input);
    if (!depends) continue;
    std::vector<ValueId> inputs;
    for (ValueId input : node.inputs) {
      if (!input || counterpart.contains(input)) {
        inputs.push_back(input ? counterpart[input] : input);
        continue;
      }
      const Value& value = built.graph.value(input);
      if (value.kind == ValueKind::parameter)
        inputs.push_back(head.parameter(value.name, value.shape, value.requires_grad));
      else if (value.kind == ValueKind::state)
        inputs.push_back(head.state(value.name, value.shape));
      else
        fail(fmt::format("{} cannot be cut at '{}': {} also reads {} of the trunk", arch_, head_, node.name,
                         value.name));
    }
    const NodeId copy = head.add(node.name, node.definition, std::move(inputs), node.attributes);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) counterpart[node.outputs[i]] = head.node(copy).outputs[i];
  }
  if (!counterpart.contains(built.logits))
    fail(fmt::format("{} cannot be cut at '{}': its logits do not depend on it", arch_, head_));
  head.mark_output(counterpart[built.logits], "logits");
  return options.training ? with_loss(std::move(head), options) : in_type_of(options, std::move(head));
}

bool Model::in_head(const std::string& name) const {
  return name == head_ || name.starts_with(head_ + ".");
}

std::map<std::string, Shape> Model::shapes() const {
  const Forward built = forward({.height = height_, .width = width_}, false, nullptr);
  std::map<std::string, Shape> shapes;
  for (const Value& value : built.graph.values())
    if (value.kind == ValueKind::parameter || value.kind == ValueKind::state) shapes.emplace(value.name, value.shape);
  return shapes;
}

std::int64_t Model::parameter_count() const {
  const Forward built = forward({.height = height_, .width = width_}, false, nullptr);
  std::int64_t count = 0;
  for (const Value& value : built.graph.values())
    if (value.kind == ValueKind::parameter) count += value.shape.elements();
  return count;
}

Model& Model::set_size(std::int64_t height, std::int64_t width) {
  if (height == height_ && width == width_) return *this;
  const std::map<std::string, Shape> before = shapes();
  std::swap(height_, height);
  std::swap(width_, width);
  for (const auto& [name, shape] : shapes()) {
    if (shape == before.at(name)) continue;
    if (!state_.empty()) {
      fail(fmt::format("{} of {} is {} for pictures of {} x {}, and its weights are {}, for {} x {}", name, arch_,
                       to_string(shape), width_, height_, to_string(before.at(name)), width, height));
    }
  }
  return *this;
}

const StateDict& Model::state() const {
  if (!complete_) forward({.height = height_, .width = width_}, false, &state_);
  complete_ = true;
  return state_;
}

void Model::set_state(const StateDict& state) {
  const std::map<std::string, Shape> known = shapes();
  for (const auto& [name, tensor] : state) {
    const auto shape = known.find(name);
    if (shape == known.end()) fail(fmt::format("{} has no parameter '{}'", arch_, name));
    if (shape->second != tensor.shape())
      fail(fmt::format("{} of {} is {}, not {}", name, arch_, to_string(shape->second), to_string(tensor.shape())));
  }
  for (const auto& [name, tensor] : state) state_[name] = tensor;
}

}  // namespace weft
