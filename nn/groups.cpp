#include "nn/groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

bool below(const std::string& path, const std::string& layer) {
  return path == layer || path.starts_with(layer + ".");
}

/// The model's nodes by name, in the order in which they run.
std::vector<std::string> nodes_in_order(const Model& model) {
  const Graph graph = model.graph({.batch = 2, .height = model.height(), .width = model.width(), .training = true});
  std::vector<std::string> names;
  for (const Node& node : graph.nodes()) names.push_back(node.name);
  return names;
}

/// Where on the way a layer, a part of one ("fc.weight") or a container of some begins; the end where it is nowhere.
std::size_t place(const std::vector<std::string>& nodes, const std::string& path) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const std::string& node) {
    return below(node, path) || (!node.empty() && below(path, node));
  });
  return static_cast<std::size_t>(found - nodes.begin());
}

/// "there are layer1, layer2, fc": the outermost layers with parameters that something comes before; of a container
/// that nothing comes before, those inside.
std::string cuts_there_are(const Model& model, const std::vector<std::string>& nodes) {
  std::vector<std::string> cuts;
  for (const auto& [name, shape] : model.shapes()) {
    std::size_t end = name.find('.');
    while (end != std::string::npos && place(nodes, name.substr(0, end)) == 0) end = name.find('.', end + 1);
    const std::string path = name.substr(0, end);
    // What is left may be a parameter of the very first layer.
    if (end == std::string::npos || std::find(cuts.begin(), cuts.end(), path) != cuts.end()) continue;
    cuts.push_back(path);
  }
  std::sort(cuts.begin(), cuts.end(), [&nodes](const std::string& a, const std::string& b) {
    return std::pair(place(nodes, a), a) < std::pair(place(nodes, b), b);
  });
  return cuts.empty() ? "there is none that something comes before"
                      : fmt::format("there are {}", fmt::join(cuts, ", "));
}

struct Cut {
  const char* arch;
  const char* layer;
};
constexpr Cut kCuts[] = {
    {"resnet18", "layer3"},         {"resnet34", "layer3"}, {"resnet50", "layer3"}, {"squeezenet1_1", "features.6"},
    {"mobilenet_v2", "features.7"}, {"lenet", "conv2"},     {"mlp", "fc2"},
};

/// The first layer of the trunk's second half.
std::string middle_of_trunk(const Model& model) {
  for (const Cut& cut : kCuts)
    if (model.arch() == cut.arch) return cut.layer;
  std::vector<std::string> layers;
  const std::map<std::string, Shape> shapes = model.shapes();
  for (const std::string& node : nodes_in_order(model)) {
    const auto parameter = shapes.lower_bound(node + ".");
    const bool has_parameters = parameter != shapes.end() && parameter->first.starts_with(node + ".");
    if (has_parameters && !model.in_head(node) && std::find(layers.begin(), layers.end(), node) == layers.end())
      layers.push_back(node);
  }
  if (layers.size() < 2)
    fail(fmt::format("the trunk of {} has {} layer with parameters, and cannot be cut for three rates: give two",
                     model.arch(), layers.size()));
  return layers[layers.size() / 2];
}

}  // namespace

std::function<bool(const std::string&)> layers_before(const Model& model, const std::string& layer) {
  std::vector<std::string> nodes = nodes_in_order(model);
  const std::size_t cut = place(nodes, layer);
  if (cut == nodes.size()) {
    std::set<std::string> names;
    for (const std::string& node : nodes)
      for (std::size_t dot = 0; dot != std::string::npos;) {
        dot = node.find('.', dot + 1);
        names.insert(node.substr(0, dot));
      }
    const std::vector<std::string> near = nearest_names(layer, {names.begin(), names.end()}, 3);
    fail(fmt::format("{} has no layer '{}' to freeze up to; {}{}", model.arch(), layer, cuts_there_are(model, nodes),
                     near.empty() ? "" : fmt::format("; near names: {}", fmt::join(near, ", "))));
  }
  if (cut == 0)
    fail(fmt::format("nothing of {} comes before '{}', so there is nothing to freeze; {}", model.arch(), layer,
                     cuts_there_are(model, nodes)));
  return [nodes = std::move(nodes), cut](const std::string& path) { return place(nodes, path) < cut; };
}

std::vector<std::string> group_starts(const Model& model, int groups) {
  if (groups == 1) return {};
  if (groups == 2) return {model.head()};
  if (groups == 3) return {middle_of_trunk(model), model.head()};
  throw UsageError(fmt::format("rates are given for one, two or three parts of a model, not for {}", groups));
}

std::function<int(const std::string&)> layer_groups(const Model& model, int groups) {
  const std::vector<std::string> nodes = nodes_in_order(model);
  std::vector<std::size_t> starts;
  for (const std::string& layer : group_starts(model, groups)) starts.push_back(place(nodes, layer));
  return [nodes, starts](const std::string& name) {
    const std::size_t at = place(nodes, name);
    return static_cast<int>(
        std::count_if(starts.begin(), starts.end(), [at](std::size_t start) { return start <= at; }));
  };
}

}  // namespace weft
