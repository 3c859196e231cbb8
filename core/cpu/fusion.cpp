#include "core/cpu/fusion.h"

#include <algorithm>
#include <string_view>

namespace weft::cpu {

namespace {

class Matcher {
 public:
  explicit Matcher(const Graph& graph)
      : graph_(graph), readers_(graph), taken_(static_cast<std::size_t>(graph.node_count()), -1) {}

  Fusion run(bool enabled) {
    for (int i = 0; i < graph_.node_count(); ++i) {
      if (taken_[static_cast<std::size_t>(i)] >= 0) continue;
      Group group;
      group.main = {i};
      group.position = i;
      if (enabled) extend(group);
      add_group(group);
    }
    return finish();
  }

 private:
  std::string_view op(NodeId n) const { return n ? std::string_view(graph_.node(n).definition->name) : ""; }
  bool is_free(NodeId n) const { return n && taken_[static_cast<std::size_t>(n.index)] < 0; }

  void take_tail(Group& group, const Links& links) const {
    const Tail tail = tail_behind(graph_, readers_, graph_.node(group.main).outputs[0], links,
                                  [this](NodeId n) { return is_free(n); });
    group.batch_norm = tail.batch_norm;
    group.add = tail.add;
    group.relu = tail.relu;
  }

  void extend(Group& group) {
    const Node& node = graph_.node(group.main);
    const std::string_view name = op(group.main);
    if (name == "conv2d") {
      take_tail(group, {.batch_norm = true, .add = true, .ceiling = true});
    } else if (name == "add" || name == "gemm") {
      take_tail(group, {.ceiling = true});
    } else if (name == "batch_norm_train" || name == "batch_norm_eval") {
      take_tail(group, {});  // the library's ends in a ReLU without a ceiling or in none
    } else if (name == "batch_norm_train_backward") {
      group.relu = relu_backward_before(node);
    } else if (name == "conv2d_backward_filter") {
      group.bias = sibling(input_of(node, 1), "bias_backward");
    } else if (name == "bias_backward") {
      // The convolution's node may come after its bias's.
      if (NodeId filter = sibling(input_of(node, 0), "conv2d_backward_filter")) {
        group.bias = group.main;
        group.main = filter;
      }
    }
    for (NodeId n : {group.batch_norm, group.add, group.relu})
      if (n) group.position = std::max(group.position, n.index);
  }

  // relu_backward(dy, y), if the batch norm that `node` belongs to made that y with its ReLU fused and nobody but
  // `node` reads the result. It came earlier and has a group of its own by now.
  NodeId relu_backward_before(const Node& node) const {
    const ValueId dy = input_of(node, 0);
    const NodeId relu = graph_.producer(dy);
    if (!readers_.sole(dy, "batch_norm_train_backward") || op(relu) != "relu_backward") return {};
    const NodeId forward_relu = graph_.producer(graph_.node(relu).inputs[1]);
    if (op(forward_relu) != "relu") return {};
    const Group& forward = groups_[static_cast<std::size_t>(taken_[static_cast<std::size_t>(forward_relu.index)])];
    const bool same = op(forward.main) == "batch_norm_train" && forward.relu == forward_relu &&
                      graph_.producer(input_of(node, 4)) == forward.main &&
                      graph_.node(forward.main).inputs[0] == input_of(node, 1);
    return same ? relu : NodeId{};
  }

  NodeId sibling(ValueId dy, std::string_view name) const {
    if (graph_.value(dy).shape.rank() != 4) return {};
    for (NodeId n : readers_.of(dy)) {
      const bool reads_as_gradient = input_of(graph_.node(n), name == "bias_backward" ? 0 : 1) == dy;
      if (op(n) == name && is_free(n) && reads_as_gradient) return n;
    }
    return {};
  }

  void add_group(const Group& group) {
    for (NodeId n : group.nodes()) {
      int& owner = taken_[static_cast<std::size_t>(n.index)];
      if (owner >= 0) groups_[static_cast<std::size_t>(owner)].main = {};  // a relu_backward that was alone until now
      owner = static_cast<int>(groups_.size());
    }
    groups_.push_back(group);
  }

  Fusion finish() {
    Fusion out;
    for (const Group& g : groups_)
      if (g.main) out.groups.push_back(g);
    std::ranges::stable_sort(out.groups, {}, &Group::position);
    out.group_of.assign(taken_.size(), -1);
    for (std::size_t i = 0; i < out.groups.size(); ++i)
      for (NodeId n : out.groups[i].nodes()) out.group_of[static_cast<std::size_t>(n.index)] = static_cast<int>(i);
    return out;
  }

  const Graph& graph_;
  Readers readers_;
  std::vector<int> taken_;  // by node: its group, -1 before it has one
  std::vector<Group> groups_;
};

}  // namespace

std::vector<NodeId> Group::nodes() const {
  std::vector<NodeId> all = {main};
  for (NodeId n : {batch_norm, add, relu, bias})
    if (n) all.push_back(n);
  return all;
}

Fusion fuse(const Graph& graph, bool enabled) {
  return Matcher(graph).run(enabled);
}

ValueId input_of(const Node& node, int i) {
  return i < static_cast<int>(node.inputs.size()) ? node.inputs[static_cast<std::size_t>(i)] : ValueId{};
}

ValueId output_of(const Node& node, int i) {
  return i < static_cast<int>(node.outputs.size()) ? node.outputs[static_cast<std::size_t>(i)] : ValueId{};
}

}  // namespace weft::cpu
