// Reverse-mode differentiation as a pass over the graph: walk the nodes from the loss back, ask each op for the nodes
// that compute its inputs' gradients, and sum where a value is read more than once.

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"

namespace weft {
namespace {

std::size_t at(ValueId id) {
  return static_cast<std::size_t>(id.index);
}

/// Which values' gradients are of use: trained parameters, the inputs asked for, and all that is computed from them.
std::vector<bool> values_in_need(const Graph& graph, const std::vector<std::string>& also) {
  std::vector<bool> needed(static_cast<std::size_t>(graph.value_count()));
  for (int i = 0; i < graph.value_count(); ++i) needed[at({i})] = graph.value(ValueId{i}).requires_grad;
  for (const std::string& name : also) {
    const ValueId id = graph.find(name);
    if (graph.value(id).dtype == DType::i32 || graph.value(id).dtype == DType::u8)
      fail(fmt::format("{} holds integers: there is no gradient for it", name));
    needed[at(id)] = true;
  }
  for (const Node& node : graph.nodes()) {
    const bool any =
        std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) { return input && needed[at(input)]; });
    for (const ValueId output : node.outputs) needed[at(output)] = needed[at(output)] || any;
  }
  return needed;
}

class Backward {
 public:
  Backward(const Graph& forward, const std::vector<std::string>& also)
      : forward_(forward), graph_(forward), needed_(values_in_need(forward, also)) {
    gradients_.resize(static_cast<std::size_t>(forward.value_count()));
    graph_.set_pass(Pass::backward);
  }

  void walk_back_from(ValueId loss) {
    gradients_[at(loss)] = ops::fill(graph_, "loss", {1}, 1);
    for (int i = forward_.node_count() - 1; i >= 0; --i) visit(NodeId{i});
  }

  /// Marks "grad.<name>" where the value was reached.
  void mark(ValueId id, const std::string& name) {
    ValueId gradient = gradients_[at(id)];
    if (!gradient) return;
    // A parameter's gradient is written where its ParameterStore wants it, so the value must be nothing else as well:
    // not the gradient of another, and no view of another value.
    const bool shared = std::find(marked_.begin(), marked_.end(), gradient) != marked_.end();
    const NodeId producer = graph_.producer(gradient);
    if (shared || graph_.node(producer).definition->name == "reshape") gradient = ops::scale(graph_, name, gradient, 1);
    marked_.push_back(gradient);
    graph_.mark_output(gradient, "grad." + name);
  }

  Graph finish() {
    graph_.set_pass(Pass::forward);
    return std::move(graph_);
  }

 private:
  void visit(NodeId id) {
    const Node& node = forward_.node(id);
    std::vector<ValueId> output_gradients;
    bool reached = false;
    for (const ValueId output : node.outputs) {
      output_gradients.push_back(gradients_[at(output)]);
      reached = reached || output_gradients.back();
    }
    // std::vector<bool> is no span of bool.
    const auto wanted = std::make_unique<bool[]>(node.inputs.size());
    bool any = false;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      wanted[i] = node.inputs[i] && needed_[at(node.inputs[i])];
      any = any || wanted[i];
    }
    if (!reached || !any) return;
    if (!node.definition->differentiate)
      fail(
          fmt::format("{}: {} has no gradient, and the loss is computed through it", node.name, node.definition->name));
    if (!output_gradients.front() && node.definition->run_on_host == nullptr)
      fail(fmt::format("{}: {} has a gradient for its first output alone, and the loss is computed through another",
                       node.name, node.definition->name));
    const std::vector<ValueId> gradients =
        node.definition->differentiate(graph_, id, output_gradients, {wanted.get(), node.inputs.size()});
    if (gradients.size() != node.inputs.size())
      fail(fmt::format("{}: {} gives {} gradients for {} inputs", node.name, node.definition->name, gradients.size(),
                       node.inputs.size()));
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (wanted[i] && gradients[i]) accumulate(node, node.inputs[i], gradients[i]);
  }

  void accumulate(const Node& reader, ValueId id, ValueId gradient) {
    if (graph_.value(gradient).shape != forward_.value(id).shape)
      fail(fmt::format("{}: the gradient that {} gives for {} is {}, the value itself {}", reader.name,
                       reader.definition->name, forward_.value(id).name, to_string(graph_.value(gradient).shape),
                       to_string(forward_.value(id).shape)));
    ValueId& sum = gradients_[at(id)];
    sum = sum ? ops::add(graph_, forward_.value(id).name, sum, gradient) : gradient;
  }

  const Graph& forward_;
  Graph graph_;
  std::vector<bool> needed_;
  std::vector<ValueId> gradients_;  // by forward value
  std::vector<ValueId> marked_;
};

}  // namespace

Graph with_gradients(const Graph& graph, std::string_view loss, const std::vector<std::string>& also) {
  const ValueId root = graph.find(loss);
  if (graph.value(root).shape != Shape{1})
    fail(fmt::format("the loss \"{}\" has shape {}, and must be one number, (1)", loss,
                     to_string(graph.value(root).shape)));
  Backward backward(graph, also);
  backward.walk_back_from(root);
  for (int i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (value.kind == ValueKind::parameter && value.requires_grad) backward.mark(ValueId{i}, value.name);
  }
  for (const std::string& name : also) backward.mark(graph.find(name), name);
  return backward.finish();
}

}  // namespace weft
