#pragma once
// What passes from graph to graph share.

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/graph.h"

namespace weft {

/// Copies a graph value by value into a new one, in the old order; a pass says what becomes of each node.
class Rewriter {
 public:
  explicit Rewriter(const Graph& from) : from_(from), mapped_(static_cast<std::size_t>(from.value_count())) {}

  /// The new value that stands for an old one; below 0 where there is none (yet).
  ValueId operator[](ValueId old) const { return old ? mapped_[index(old)] : ValueId{}; }
  const Shape& shape(ValueId old) const { return to_.value((*this)[old]).shape; }
  void map(ValueId old, ValueId now) { mapped_[index(old)] = now; }

  void copy_leaf(ValueId old, Shape shape) {
    const Value& value = from_.value(old);
    switch (value.kind) {
      case ValueKind::input:
        map(old, to_.input(value.name, std::move(shape), value.dtype));
        break;
      case ValueKind::parameter:
        map(old, to_.parameter(value.name, std::move(shape), value.requires_grad));
        break;
      case ValueKind::state:
        map(old, to_.state(value.name, std::move(shape)));
        break;
      case ValueKind::activation:
        break;
    }
  }

  /// The node again, on the new values; `definition` and `attributes` may be others than the old node's, and `more` are
  /// operands behind its own, of the new graph.
  void copy_node(const Node& node, std::shared_ptr<const OpDefinition> definition, Attributes attributes,
                 std::span<const ValueId> more = {}) {
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back((*this)[input]);
    inputs.insert(inputs.end(), more.begin(), more.end());
    to_.set_pass(node.pass);
    const NodeId id = to_.add(node.name, std::move(definition), std::move(inputs), std::move(attributes));
    const std::vector<ValueId>& outputs = to_.node(id).outputs;
    for (std::size_t i = 0; i < std::min(outputs.size(), node.outputs.size()); ++i) map(node.outputs[i], outputs[i]);
  }
  void copy_node(const Node& node) { copy_node(node, node.definition, node.attributes); }

  /// The graph that is being made, for nodes that stand for no old one.
  Graph& graph() { return to_; }

  /// Marks the old graph's outputs where their values are there.
  Graph finish(const std::map<std::string, ValueId, std::less<>>& outputs) {
    for (const auto& [name, value] : outputs)
      if ((*this)[value]) to_.mark_output((*this)[value], name);
    to_.set_pass(Pass::forward);
    return std::move(to_);
  }

  /// Calls leaf(value) and node(node) in the old graph's order of values.
  template <class Leaf, class Each>
  void walk(Leaf leaf, Each each) const {
    for (int i = 0; i < from_.value_count(); ++i) {
      const ValueId id{i};
      const NodeId producer = from_.producer(id);
      if (!producer)
        leaf(id);
      else if (from_.node(producer).outputs.front() == id)
        each(producer);
    }
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id.index); }

  const Graph& from_;
  Graph to_;
  std::vector<ValueId> mapped_;
};

}  // namespace weft
