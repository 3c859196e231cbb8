// What a graph looks like: Graphviz, a line a node, and the table of layers.

#include <fmt/format.h>

#include <set>

#include "core/passes.h"
#include "core/problem.h"
#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

std::string shapes_text(const Graph& graph, const std::vector<ValueId>& ids) {
  std::string text;
  for (const ValueId id : ids) {
    if (!text.empty()) text += ", ";
    text += id ? to_string(graph.value(id).shape) : "-";
  }
  return text;
}

/// `text` inside a Graphviz string.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

/// Of a fused node's name, "layer1.0.conv1 + bn1 + relu", the part that says where it lies.
std::string_view path_of(std::string_view name) {
  return name.substr(0, name.find(" + "));
}

/// A layer's parts as a tree: "layer1.0.conv1" lies in cluster "layer1.0", which lies in "layer1".
struct Cluster {
  std::map<std::string, Cluster> children;
  std::vector<NodeId> nodes;
};

void write_cluster(const Graph& graph, const Cluster& cluster, const std::string& path, int depth, std::string& dot) {
  const std::string indent(static_cast<std::size_t>(2 * depth + 2), ' ');
  for (const NodeId id : cluster.nodes) {
    const Node& node = graph.node(id);
    const std::size_t dot_at = path_of(node.name).rfind('.');
    const std::string layer = dot_at == std::string::npos ? node.name : node.name.substr(dot_at + 1);
    const std::string label = node.definition->name == layer ? layer : layer + ": " + node.definition->name;
    dot += fmt::format("{}n{} [label={}, style=filled, fillcolor=\"{}\"];\n", indent, id.index, quoted(label),
                       node.pass == Pass::forward ? "#dbe9f6" : "#fbe3d4");
  }
  for (const auto& [name, child] : cluster.children) {
    const std::string child_path = path.empty() ? name : path + "." + name;
    dot += fmt::format("{}subgraph {} {{\n{}  label={};\n", indent, quoted("cluster_" + child_path), indent,
                       quoted(child_path));
    write_cluster(graph, child, child_path, depth + 1, dot);
    dot += indent + "}\n";
  }
}

}  // namespace

std::string to_dot(const Graph& graph) {
  Cluster root;
  for (int i = 0; i < graph.node_count(); ++i) {
    Cluster* cluster = &root;
    std::string_view rest = path_of(graph.node(NodeId{i}).name);
    for (std::size_t dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
      cluster = &cluster->children[std::string(rest.substr(0, dot))];
      rest.remove_prefix(dot + 1);
    }
    cluster->nodes.push_back(NodeId{i});
  }
  std::string dot = "digraph weft {\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontsize=9];\n";
  write_cluster(graph, root, "", 0, dot);
  for (int i = 0; i < graph.value_count(); ++i) {
    const ValueId id{i};
    const Value& value = graph.value(id);
    const std::string shape = quoted(to_string(value.shape));
    const std::vector<NodeId> readers = graph.readers(id);
    // Parameters and states would drown the picture: they stand in the layer table.
    if (value.kind == ValueKind::parameter || value.kind == ValueKind::state) continue;
    std::string from = fmt::format("n{}", graph.producer(id).index);
    if (value.kind == ValueKind::input) {
      from = fmt::format("v{}", i);
      dot += fmt::format("  {} [label={}, shape=ellipse];\n", from, quoted(value.name));
    }
    for (const NodeId reader : readers) dot += fmt::format("  {} -> n{} [label={}];\n", from, reader.index, shape);
    for (const auto& [name, output] : graph.outputs()) {
      if (output != id || name.starts_with("grad.")) continue;
      dot +=
          fmt::format("  o{} [label={}, shape=ellipse];\n  {} -> o{} [label={}];\n", i, quoted(name), from, i, shape);
    }
  }
  return dot + "}\n";
}

std::string to_text(const Graph& graph) {
  std::vector<std::vector<std::string>> rows;
  for (const Node& node : graph.nodes())
    rows.push_back({node.name, node.definition->name,
                    shapes_text(graph, node.inputs) + " -> " + shapes_text(graph, node.outputs)});
  return table_text(rows, {true, true, true});
}

std::string layer_table(const Graph& graph) {
  std::vector<std::vector<std::string>> rows = {{"layer", "op", "output", "parameters", "operations"}};
  std::set<ValueId> counted;  // a shared parameter counts once
  double trained = 0, frozen = 0, flops = 0;
  for (const Node& node : graph.nodes()) {
    if (node.pass == Pass::backward) continue;
    double parameters = 0;
    for (const ValueId input : node.inputs) {
      if (!input || graph.value(input).kind != ValueKind::parameter || !counted.insert(input).second) continue;
      const auto elements = static_cast<double>(graph.value(input).shape.elements());
      parameters += elements;
      (graph.value(input).requires_grad ? trained : frozen) += elements;
    }
    const double operations = flops_of(graph, node);
    flops += operations;
    rows.push_back({node.name, node.definition->name, to_string(graph.value(node.outputs[0]).shape),
                    parameters > 0 ? count_text(parameters) : "", operations > 0 ? count_text(operations) : ""});
  }
  rows.push_back({"total", "", "", count_text(trained + frozen), count_text(flops)});
  std::string text = table_text(rows, {true, true, true, false, false});
  if (frozen > 0)
    text += fmt::format("{} parameters are trained, {} are frozen\n", count_text(trained), count_text(frozen));
  return text;
}

}  // namespace weft
