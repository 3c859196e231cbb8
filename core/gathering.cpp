#include "core/gathering.h"

#include <vector>

#include "core/op_definitions.h"
#include "core/ops.h"
#include "core/rewriter.h"

namespace weft {
namespace {

class Gatherer {
 public:
  Gatherer(const Graph& graph, const RungOf& rung_of)
      : graph_(graph), rung_of_(rung_of), gathers_(static_cast<std::size_t>(graph.node_count())) {}

  Graph run() {
    for (int i = 0; i < graph_.node_count(); ++i) match(NodeId{i});
    Rewriter rewriter(graph_);
    rewriter.walk([&](ValueId leaf) { rewriter.copy_leaf(leaf, graph_.value(leaf).shape); },
                  [&](NodeId id) { rewrite(graph_.node(id), gathers_[at(id)], rewriter); });
    return rewriter.finish(graph_.outputs());
  }

 private:
  static std::size_t at(NodeId id) { return static_cast<std::size_t>(id.index); }
  static bool is(const Node& node, std::string_view op) { return node.definition->name == op; }

  void match(NodeId id) {
    const Node& norm = graph_.node(id);
    if (!is(norm, "batch_norm_train")) return;
    const NodeId producer = graph_.producer(norm.inputs[0]);
    if (!producer || !is(graph_.node(producer), "conv2d")) return;
    const Node& conv = graph_.node(producer);
    if (!is_plain(conv) || !pays(conv, norm)) return;
    gathers_[at(producer)] = gathers_[at(id)] = true;
  }

  /// Its sums are its output: nothing is added to them or fused into it.
  static bool is_plain(const Node& conv) {
    for (std::size_t i = 2; i < conv.inputs.size(); ++i)
      if (conv.inputs[i]) return false;
    return !ops::has_relu(conv);
  }

  /// The table in gathering.h.
  bool pays(const Node& conv, const Node& norm) const {
    const std::string_view gathering = rung(with_statistics(conv)), alone = rung(conv);
    const bool gathers = !gathering.empty() && gathering != "gathered-after";
    // Not by the same name alone: of the two ops one may have been measured and the other not.
    const bool one_that_gathers = alone == gathering || alone.starts_with("implicit-");
    // gemm copies ahead in float32, and the rung that gathers does not.
    const bool as_good = alone == "pointwise-gemm" && !gathering.starts_with("implicit-gemm");
    return gathers && (one_that_gathers || as_good) && !rung(norm).starts_with("kept");
  }

  static Node with_statistics(const Node& conv) {
    Node node = conv;
    node.definition = ops::definition("conv2d_statistics");
    node.inputs.resize(2);
    return node;
  }

  std::string_view rung(const Node& node) const {
    std::vector<Value> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(input ? graph_.value(input) : Value{});
    return rung_of_(node, inputs, node.definition->infer(node, inputs));
  }

  static void rewrite(const Node& node, bool gathers, Rewriter& rewriter) {
    if (!gathers) {
      rewriter.copy_node(node);
    } else if (is(node, "conv2d")) {
      rewriter.copy_node(with_statistics(node));
    } else {
      const Graph& to = rewriter.graph();
      const std::vector<ValueId> made = to.node(to.producer(rewriter[node.inputs[0]])).outputs;  // y, mean, var
      rewriter.copy_node(node, ops::definition("batch_norm_train_gathered"), node.attributes,
                         std::span(made).subspan(1));
    }
  }

  const Graph& graph_;
  const RungOf& rung_of_;
  std::vector<bool> gathers_;  // by node
};

}  // namespace

Graph gathered(const Graph& graph, const RungOf& rung_of) {
  return Gatherer(graph, rung_of).run();
}

}  // namespace weft
