#include "core/readers.h"

#include "core/op_definitions.h"

namespace weft {

Readers::Readers(const Graph& graph) : graph_(graph), readers_(static_cast<std::size_t>(graph.value_count())) {
  for (int i = 0; i < graph.node_count(); ++i)
    for (const ValueId value : graph.node(NodeId{i}).inputs)
      if (value) readers_[static_cast<std::size_t>(value.index)].push_back(NodeId{i});
  for (const auto& [name, value] : graph.outputs()) marked_.insert(value);
}

NodeId Readers::sole(ValueId value, std::string_view op) const {
  if (!value || is_marked(value)) return {};
  const std::span<const NodeId> readers = of(value);
  return readers.size() == 1 && graph_.node(readers[0]).definition->name == op ? readers[0] : NodeId{};
}

Tail tail_behind(const Graph& graph, const Readers& readers, ValueId y, const Links& links,
                 const std::function<bool(NodeId)>& is_free) {
  Tail tail;
  tail.result = y;
  const auto follow = [&](NodeId& link, std::string_view op) {
    const NodeId node = readers.sole(tail.result, op);
    if (!node || !is_free(node)) return;
    link = node;
    tail.result = graph.node(node).outputs[0];
  };
  if (links.batch_norm) {
    // Only its x is folded away, and only where it does nothing besides: no residual, no ReLU of its own.
    const NodeId node = readers.sole(y, "batch_norm_eval");
    if (node && graph.node(node).inputs[0] == y && !graph.node(node).inputs[3] && !ops::has_relu(graph.node(node)))
      follow(tail.batch_norm, "batch_norm_eval");
  }
  if (links.add) {
    const ValueId before = tail.result;
    follow(tail.add, "add");
    if (tail.add) {
      const std::vector<ValueId>& inputs = graph.node(tail.add).inputs;
      tail.other = inputs[0] == before ? inputs[1] : inputs[0];
    }
  }
  if (links.relu) {
    const NodeId relu = readers.sole(tail.result, "relu");
    if (relu && (links.ceiling || ceiling_of(graph.node(relu)) == 0)) follow(tail.relu, "relu");
  }
  return tail;
}

float ceiling_of(const Node& relu) {
  return relu.attributes.has("ceiling") ? static_cast<float>(relu.attributes.real("ceiling")) : 0.0f;
}

}  // namespace weft
