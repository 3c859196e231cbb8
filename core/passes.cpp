#include "core/passes.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/ops.h"
#include "core/rewriter.h"
#include "kernels/error.h"

namespace weft {
namespace {

std::size_t at(ValueId id) {
  return static_cast<std::size_t>(id.index);
}

struct Needed {
  std::vector<bool> values, nodes;
};

/// What the values in `roots` are computed from. Where `states` is set, nodes that update a state count as roots.
Needed needed_for(const Graph& graph, const std::vector<ValueId>& roots, bool states) {
  Needed needed{std::vector<bool>(static_cast<std::size_t>(graph.value_count())),
                std::vector<bool>(static_cast<std::size_t>(graph.node_count()))};
  for (const ValueId root : roots) needed.values[at(root)] = true;
  for (int i = graph.node_count() - 1; i >= 0; --i) {
    const Node& node = graph.node(NodeId{i});
    const bool used = std::any_of(node.outputs.begin(), node.outputs.end(),
                                  [&](ValueId output) { return needed.values[at(output)]; });
    if (!used && !(states && !node.definition->updates.empty())) continue;
    needed.nodes[static_cast<std::size_t>(i)] = true;
    for (const ValueId input : node.inputs)
      if (input) needed.values[at(input)] = true;
  }
  return needed;
}

/// The graph without what `needed` leaves out.
Graph keep(const Graph& graph, const Needed& needed, const std::map<std::string, ValueId, std::less<>>& outputs) {
  Rewriter rewriter(graph);
  rewriter.walk(
      [&](ValueId leaf) {
        if (needed.values[at(leaf)]) rewriter.copy_leaf(leaf, graph.value(leaf).shape);
      },
      [&](NodeId id) {
        if (needed.nodes[static_cast<std::size_t>(id.index)]) rewriter.copy_node(graph.node(id));
      });
  return rewriter.finish(outputs);
}

/// `shape` with its first extent scaled as the batch was: from `before` elements to `after`.
std::vector<std::int64_t> scaled(const Node& node, std::vector<std::int64_t> shape, std::int64_t after,
                                 std::int64_t before) {
  if (shape.empty()) return shape;
  if (shape[0] * after % before != 0)
    fail(fmt::format("{}: {} to {} has no batch as its first extent, so its batch cannot be changed", node.name,
                     node.definition->name, to_string(Shape(shape))));
  shape[0] = shape[0] * after / before;
  return shape;
}

/// Of batch_norm_train what batch_norm_eval has as well.
Attributes evaluated(const Attributes& train) {
  Attributes attributes;
  for (const auto& [name, value] : train.items())
    if (name != "momentum") attributes.set(name, value);
  return attributes;
}

}  // namespace

Graph without_dead_nodes(const Graph& graph) {
  std::vector<ValueId> roots;
  for (const auto& [name, value] : graph.outputs()) roots.push_back(value);
  return keep(graph, needed_for(graph, roots, true), graph.outputs());
}

Graph for_inference(const Graph& graph, const std::vector<std::string>& outputs) {
  Rewriter rewriter(graph);
  rewriter.walk([&](ValueId leaf) { rewriter.copy_leaf(leaf, graph.value(leaf).shape); },
                [&](NodeId id) {
                  const Node& node = graph.node(id);
                  if (node.pass == Pass::backward) return;
                  const std::string& op = node.definition->name;
                  if (op == "dropout")
                    rewriter.map(node.outputs[0], rewriter[node.inputs[0]]);
                  else if (op == "batch_norm_train")
                    rewriter.copy_node(node, ops::definition("batch_norm_eval"), evaluated(node.attributes));
                  else
                    rewriter.copy_node(node);
                });
  std::map<std::string, ValueId, std::less<>> kept;
  for (const std::string& name : outputs) {
    const ValueId value = graph.find(name);
    if (!rewriter[value]) fail(fmt::format("\"{}\" belongs to the backward pass and has no place in inference", name));
    kept.emplace(name, value);
  }
  return without_dead_nodes(rewriter.finish(kept));
}

std::int64_t batch_of(const Graph& graph) {
  for (const Value& value : graph.values())
    if (value.kind == ValueKind::input && value.shape.rank() > 0) return value.shape[0];
  return 0;
}

Graph with_batch(const Graph& graph, std::int64_t batch) {
  if (batch < 1) fail(fmt::format("a batch of {} makes no sense: it is at least 1", batch));
  const std::int64_t former = batch_of(graph);
  if (former == 0) fail("the graph has no input, and so no batch");
  Rewriter rewriter(graph);
  rewriter.walk(
      [&](ValueId leaf) {
        const Value& value = graph.value(leaf);
        Shape shape = value.shape;
        if (value.kind == ValueKind::input && shape.rank() > 0 && shape[0] == former) shape.set(0, batch);
        rewriter.copy_leaf(leaf, shape);
      },
      [&](NodeId id) {
        const Node& node = graph.node(id);
        Attributes attributes = node.attributes;
        if (node.definition->name == "reshape") {
          attributes.set("shape", scaled(node, attributes.integers("shape"), rewriter.shape(node.inputs[0]).elements(),
                                         graph.value(node.inputs[0]).shape.elements()));
        } else if (node.definition->name == "fill" && attributes.integer("follows_batch") != 0) {
          attributes.set("shape", scaled(node, attributes.integers("shape"), batch, former));
        }
        rewriter.copy_node(node, node.definition, std::move(attributes));
      });
  return rewriter.finish(graph.outputs());
}

}  // namespace weft
