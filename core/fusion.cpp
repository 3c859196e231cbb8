#include "core/fusion.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/op_definitions.h"
#include "core/ops.h"
#include "core/readers.h"
#include "core/rewriter.h"

namespace weft {
namespace {

std::size_t at(NodeId id) {
  return static_cast<std::size_t>(id.index);
}

/// Operands by position (kernels/ops.h): of conv2d, its backward data, gemm, batch norm, batch norm's backward, and
/// cross entropy's.
enum { kScale = 2, kConvBias = 3, kConvResidual = 4, kConvInputs = 5 };
enum { kOtherDx = 2, kDataInputs = 3 };
enum { kGemmResidual = 3, kGemmInputs = 4 };
enum { kNormResidual = 3, kNormMean, kNormVar, kNormInputs };
enum { kMaskedY = 2 };
enum { kDloss, kLogits, kLabels, kLse };

/// A node that stands for several, its operands being values of the old graph (below 0: a result that is new).
struct Group {
  std::vector<NodeId> nodes;
  Node node;
  NodeId folded;     ///< a batch_norm_eval of which conv2d's scale and bias are made
  int position = 0;  ///< index of the node in whose place it stands
};

/// "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu" -> "layer1.0.conv1 + bn1 + relu": what the names' paths have in
/// common is said once.
std::string joined_name(const Graph& graph, const std::vector<NodeId>& nodes) {
  const std::string& first = graph.node(nodes.front()).name;
  std::string name = first;
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    const std::string& other = graph.node(nodes[i]).name;
    if (other == first) continue;  // the two passes of one layer
    std::size_t common = 0;        // ends behind a dot
    for (std::size_t c = 0; c < std::min(first.size(), other.size()) && first[c] == other[c]; ++c)
      if (first[c] == '.') common = c + 1;
    name += " + " + other.substr(common);
  }
  return name;
}

class Fuser {
 public:
  Fuser(const Graph& graph, const RungOf& rung_of)
      : graph_(graph), rung_of_(rung_of), readers_(graph), owner_(static_cast<std::size_t>(graph.node_count()), -1) {}

  Graph run() {
    for (int i = 0; i < graph_.node_count(); ++i)
      if (owner_[static_cast<std::size_t>(i)] < 0) match(NodeId{i});
    while (dissolve_what_comes_too_late()) {
    }
    return rewrite();
  }

 private:
  const std::string& op(NodeId id) const { return graph_.node(id).definition->name; }

  void match(NodeId id) {
    const std::string& name = op(id);
    // What has been fused already is left as it is.
    if (ops::has_relu(graph_.node(id))) return;
    if (name == "conv2d")
      match_forward(id, {.inputs = kConvInputs, .residual = kConvResidual, .folds = true, .ceiling = true});
    else if (name == "gemm")
      match_forward(id, {.inputs = kGemmInputs, .residual = kGemmResidual});
    else if (name == "batch_norm_train" || name == "batch_norm_eval")
      match_forward(id, {.inputs = kNormInputs, .residual = kNormResidual, .ceiling = true});
    else if (name == "batch_norm_train_backward" || name == "batch_norm_eval_backward")
      match_norm_backward(id);
    else if (name == "conv2d_backward_data")
      match_sum_of_gradients(id);
    else if (name == "bias_backward")
      match_bias_backward(id);
    else if (name == "cross_entropy_backward")
      match_loss(id);
  }

  /// What an op can take in.
  struct Epilogue {
    std::size_t inputs, residual;  ///< how many operands there are, and which is the residual
    bool folds = false;            ///< batch_norm_eval
    bool ceiling = false;          ///< a ReLU that has one
  };

  /// `main` with the longest tail that the device has a kernel for.
  void match_forward(NodeId main, const Epilogue& epilogue) {
    const std::vector<ValueId>& operands = graph_.node(main).inputs;
    if (operands.size() > epilogue.residual && operands[epilogue.residual]) return;
    const bool folds = epilogue.folds, ceiling = epilogue.ceiling;
    for (const Links& links :
         {Links{folds, true, true, ceiling}, Links{folds, true, false}, Links{folds, false, false}}) {
      const Tail tail = tail_of(main, links);
      if (!tail.batch_norm && !tail.add && !tail.relu) return;
      if (take(forward_group(main, tail, epilogue))) return;
    }
  }

  Tail tail_of(NodeId main, const Links& links) const {
    return tail_behind(graph_, readers_, graph_.node(main).outputs[0], links,
                       [this](NodeId node) { return owner_[at(node)] < 0; });
  }

  /// `relu` is the ReLU or its backward.
  static void take_relu(const Node& relu, Node& into) {
    into.attributes.set("relu", std::int64_t{1});
    if (relu.attributes.has("ceiling")) into.attributes.set("ceiling", relu.attributes.real("ceiling"));
  }

  Group forward_group(NodeId main, const Tail& tail, const Epilogue& epilogue) const {
    Group group;
    group.node = graph_.node(main);
    group.node.name.clear();
    group.folded = tail.batch_norm;
    group.nodes = {main};
    for (const NodeId link : {tail.batch_norm, tail.add, tail.relu})
      if (link) group.nodes.push_back(link);
    group.position = group.nodes.back().index;
    group.node.inputs.resize(epilogue.inputs);
    group.node.outputs[0] = tail.result;
    if (tail.add) group.node.inputs[epilogue.residual] = tail.other;
    if (tail.relu) take_relu(graph_.node(tail.relu), group.node);
    return group;
  }

  /// relu_backward(dy, y) -> g, whose reader is this node: it masks dy by y itself. It stands where relu_backward
  /// stood, since others may want g, which it then makes as dresidual, before it ran.
  void match_norm_backward(NodeId id) {
    Group group;
    group.node = graph_.node(id);
    group.node.name.clear();
    const ValueId masked = group.node.inputs[0];
    const NodeId relu = graph_.producer(masked);
    if (!relu || op(relu) != "relu_backward" || owner_[at(relu)] >= 0) return;
    if (group.node.inputs[kMaskedY]) return;
    group.nodes = {id, relu};
    group.position = relu.index;
    group.node.inputs[0] = graph_.node(relu).inputs[0];
    group.node.inputs[kMaskedY] = graph_.node(relu).inputs[1];
    take_relu(graph_.node(relu), group.node);
    const bool elsewhere = readers_.is_marked(masked) || readers_.of(masked).size() > 1;
    group.node.attributes.set("has_residual", std::int64_t{elsewhere});
    if (elsewhere) group.node.outputs.push_back(masked);
    take(std::move(group));
  }

  /// A convolution's dx, added to what comes by another branch. Of two convolutions the later one adds: it stands next
  /// to the sum, and none moves to where its dy would have to be kept for.
  void match_sum_of_gradients(NodeId id) {
    const std::vector<ValueId>& operands = graph_.node(id).inputs;
    if (operands.size() > kOtherDx && operands[kOtherDx]) return;
    const Tail tail = tail_of(id, {.add = true, .relu = false});
    if (!tail.add) return;
    const NodeId other = graph_.producer(tail.other);
    if (other && id < other && op(other) == "conv2d_backward_data") return;
    Group group = forward_group(id, tail, {.inputs = kDataInputs, .residual = kOtherDx});
    // The sum bears the name of what it is the gradient of: another layer.
    group.node.name = graph_.node(id).name + " + add";
    take(std::move(group));
  }

  /// relu_backward(dy, y) -> g, whose channels this node sums: where relu_backward stood, for others want g.
  void match_bias_backward(NodeId id) {
    const ValueId masked = graph_.node(id).inputs[0];
    const NodeId relu = graph_.producer(masked);
    if (!relu || op(relu) != "relu_backward" || owner_[at(relu)] >= 0) return;
    Group group;
    group.node = graph_.node(relu);
    group.node.name.clear();
    group.node.definition = ops::definition("relu_bias_backward");
    group.node.outputs = {masked, graph_.node(id).outputs[0]};
    group.nodes = {id, relu};
    group.position = relu.index;
    take(std::move(group));
  }

  /// The loss and its gradient: both need the same sum over a row of logits.
  void match_loss(NodeId id) {
    const Node& backward = graph_.node(id);
    const ValueId lse = backward.inputs[kLse];
    const NodeId forward = graph_.producer(lse);
    if (!forward || op(forward) != "cross_entropy" || owner_[at(forward)] >= 0) return;
    if (readers_.is_marked(lse) || readers_.of(lse).size() > 1) return;
    Group group;
    group.node = backward;
    group.node.name.clear();
    group.node.definition = ops::definition("cross_entropy_forward_backward");
    group.node.inputs = {backward.inputs[kDloss], backward.inputs[kLogits], backward.inputs[kLabels]};
    group.node.outputs = {graph_.node(forward).outputs[0], backward.outputs[0]};
    group.nodes = {forward, id};
    group.position = id.index;
    take(std::move(group));
  }

  /// Keeps the group if the device can run its node. One without a name is called after its nodes.
  bool take(Group group) {
    if (group.node.name.empty()) group.node.name = joined_name(graph_, group.nodes);
    Node probe = group.node;
    std::vector<Value> inputs;
    for (const ValueId input : probe.inputs) inputs.push_back(input ? graph_.value(input) : Value{});
    if (group.folded) {
      for (const std::size_t operand : {std::size_t{kScale}, std::size_t{kConvBias}}) {
        // Any value's number will do: it says that the operand is there.
        probe.inputs[operand] = probe.inputs[1];
        inputs[operand] = graph_.value(graph_.node(group.folded).inputs[1]);
      }
    }
    if (rung_of_(probe, inputs, probe.definition->infer(probe, inputs)).empty()) return false;
    for (const NodeId node : group.nodes) owner_[at(node)] = static_cast<int>(groups_.size());
    groups_.push_back(std::move(group));
    return true;
  }

  /// Index of the node in whose place a node's value is made.
  int place_of(ValueId value) const {
    const NodeId producer = graph_.producer(value);
    const int owner = owner_[at(producer)];
    return owner < 0 ? producer.index : groups_[static_cast<std::size_t>(owner)].position;
  }

  bool is_made_before(ValueId value, int position) const {
    if (graph_.producer(value)) return place_of(value) < position;
    return value < graph_.node(NodeId{position}).outputs[0];
  }

  /// A group moves its nodes to one place: all that it reads must be made before, all that it makes be read behind.
  /// True where one had to be given up, which may be another's trouble.
  bool dissolve_what_comes_too_late() {
    bool any = false;
    for (Group& group : groups_) {
      if (group.nodes.empty()) continue;
      bool late = false;
      for (const NodeId id : group.nodes)
        for (const ValueId input : graph_.node(id).inputs)
          if (input && owner_of(input) != &group) late = late || !is_made_before(input, group.position);
      for (const ValueId output : group.node.outputs)
        for (const NodeId reader : readers_.of(output))
          if (owner_[at(reader)] < 0 && reader.index < group.position) late = true;
      if (!late) continue;
      for (const NodeId id : group.nodes) owner_[at(id)] = -1;
      group.nodes.clear();
      any = true;
    }
    return any;
  }

  const Group* owner_of(ValueId value) const {
    const NodeId producer = graph_.producer(value);
    const int owner = producer ? owner_[at(producer)] : -1;
    return owner < 0 ? nullptr : &groups_[static_cast<std::size_t>(owner)];
  }

  Graph rewrite() const {
    Rewriter rewriter(graph_);
    rewriter.walk([&](ValueId leaf) { rewriter.copy_leaf(leaf, graph_.value(leaf).shape); },
                  [&](NodeId id) {
                    const int owner = owner_[at(id)];
                    if (owner < 0)
                      rewriter.copy_node(graph_.node(id));
                    else if (const Group& group = groups_[static_cast<std::size_t>(owner)]; group.position == id.index)
                      emit(group, rewriter);
                  });
    return rewriter.finish(graph_.outputs());
  }

  void emit(const Group& group, Rewriter& rewriter) const {
    if (!group.folded) {
      rewriter.copy_node(group.node);
      return;
    }
    const Node& norm = graph_.node(group.folded);
    Graph& to = rewriter.graph();
    to.set_pass(norm.pass);
    // Folding is float32's, whatever the convolution's type.
    ValueId bias = rewriter[group.node.inputs[kConvBias]];
    if (bias && to.value(bias).dtype != DType::f32) bias = ops::cast(to, norm.name, bias, DType::f32);
    const NodeId fold = to.add(norm.name, ops::definition("batch_norm_fold"),
                               {rewriter[norm.inputs[1]], rewriter[norm.inputs[2]], bias,
                                rewriter[norm.inputs[kNormMean]], rewriter[norm.inputs[kNormVar]]},
                               {{"eps", norm.attributes.real("eps")}});
    std::vector<ValueId> inputs;
    for (const ValueId input : group.node.inputs) inputs.push_back(rewriter[input]);
    inputs[kScale] = to.node(fold).outputs[0];
    inputs[kConvBias] = to.node(fold).outputs[1];
    rewriter.map(group.node.outputs[0],
                 to.apply(group.node.name, group.node.definition, std::move(inputs), group.node.attributes));
  }

  const Graph& graph_;
  const RungOf& rung_of_;
  Readers readers_;
  std::vector<int> owner_;  // by node: its group, -1 where it has none
  std::vector<Group> groups_;
};

}  // namespace

Graph fused(const Graph& graph, const RungOf& rung_of) {
  return Fuser(graph, rung_of).run();
}

}  // namespace weft
