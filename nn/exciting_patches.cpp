#include "nn/exciting_patches.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "core/executor.h"
#include "core/passes.h"
#include "nn/interpretation.h"

namespace weft {
namespace {

/// The largest activation of one channel in one picture, and where.
struct Peak {
  float activation = 0;
  std::int32_t place = 0;
};

struct Layer {
  LayerPatches result;
  std::string output;       // its mark in the graph
  std::vector<Peak> peaks;  // (pictures, channels)
};

bool goes_on_with(const std::string& op) {
  return op.starts_with("batch_norm") || op == "add" || op == "relu";
}

/// The values in which the layers of the convolutions end, in the order of the network, each once.
std::vector<ValueId> layer_ends(const Graph& graph) {
  std::vector<std::vector<const Node*>> readers(static_cast<std::size_t>(graph.value_count()));
  for (const Node& node : graph.nodes())
    for (const ValueId id : node.inputs)
      if (id) readers[static_cast<std::size_t>(id.index)].push_back(&node);
  std::vector<ValueId> ends;
  for (const Node& node : graph.nodes()) {
    if (node.definition->name != "conv2d") continue;
    const Node* last = &node;
    while (last->definition->name != "relu") {
      const auto& next = readers[static_cast<std::size_t>(last->outputs[0].index)];
      if (next.size() != 1 || !goes_on_with(next[0]->definition->name)) break;
      last = next[0];
    }
    ends.push_back(last->outputs[0]);
  }
  std::ranges::sort(ends);
  const auto repeated = std::ranges::unique(ends);
  ends.erase(repeated.begin(), repeated.end());
  return ends;
}

/// What is to be shown, marked in the graph.
std::vector<Layer> layers_to_watch(Graph& graph, bool every_layer) {
  const auto fields = receptive_fields(graph, graph.find("input"));
  const std::vector<ValueId> ends = layer_ends(graph);
  std::map<std::pair<std::int64_t, std::int64_t>, ValueId> last;
  for (const ValueId value : ends) {
    const Shape& shape = graph.value(value).shape;
    last[{shape[1], shape[2]}] = value;
  }
  std::vector<Layer> layers;
  for (const ValueId value : ends) {
    const Shape shape = graph.value(value).shape;
    const auto& field = fields[static_cast<std::size_t>(value.index)];
    const bool last_of_size = last.at({shape[1], shape[2]}) == value;
    if (!field || (!every_layer && !last_of_size)) continue;
    Layer layer{{.layer = graph.node(graph.producer(value)).name,
                 .last_of_size = last_of_size,
                 .height = shape[1],
                 .width = shape[2],
                 .channels = shape[3],
                 .field = *field,
                 .chosen = {}},
                fmt::format("watched.{}", value.index),
                {}};
    graph.mark_output(value, layer.output);
    layers.push_back(std::move(layer));
  }
  return layers;
}

/// activations is (h, w, channels) of one picture.
void add_peaks(Layer& layer, const float* activations) {
  const auto channels = static_cast<std::size_t>(layer.result.channels);
  std::vector<Peak> peaks(channels);
  for (std::size_t c = 0; c < channels; ++c) peaks[c].activation = activations[c];
  for (std::int64_t place = 1; place < layer.result.height * layer.result.width; ++place) {
    const float* at = activations + place * layer.result.channels;
    for (std::size_t c = 0; c < channels; ++c)
      if (at[c] > peaks[c].activation) peaks[c] = {at[c], static_cast<std::int32_t>(place)};
  }
  layer.peaks.insert(layer.peaks.end(), peaks.begin(), peaks.end());
}

/// looked_at: the pictures, by the rows of layer.peaks.
void choose(Layer& layer, const std::vector<std::int64_t>& looked_at, ItemShape picture,
            const ExcitingPatchesOptions& options) {
  LayerPatches& result = layer.result;
  const auto pictures = static_cast<std::int64_t>(looked_at.size());
  const auto peak = [&](std::int64_t item, std::int64_t channel) {
    return layer.peaks[static_cast<std::size_t>(item * result.channels + channel)];
  };
  const std::size_t shown = std::min(options.patches, static_cast<std::size_t>(pictures));
  std::vector<std::pair<double, ChannelPatches>> ranked;
  for (std::int64_t channel = 0; channel < result.channels; ++channel) {
    std::vector<std::int64_t> items(static_cast<std::size_t>(pictures));
    std::iota(items.begin(), items.end(), 0);
    std::ranges::stable_sort(items, [&](std::int64_t a, std::int64_t b) {
      return peak(a, channel).activation > peak(b, channel).activation;
    });
    double all = 0, strongest = 0;
    for (const std::int64_t item : items) all += peak(item, channel).activation;
    ChannelPatches patches{channel, {}};
    for (std::size_t i = 0; i < shown; ++i) {
      const Peak found = peak(items[i], channel);
      if (!(found.activation > 0)) break;
      strongest += found.activation;
      patches.patches.push_back(
          {looked_at[static_cast<std::size_t>(items[i])],
           result.field.box(found.place / result.width, found.place % result.width, picture.width, picture.height),
           found.activation});
    }
    if (patches.patches.empty()) continue;
    const double choosiness = strongest / static_cast<double>(shown) / (all / static_cast<double>(pictures));
    ranked.emplace_back(choosiness, std::move(patches));
  }
  std::ranges::stable_sort(ranked, [](const auto& a, const auto& b) { return a.first > b.first; });
  ranked.resize(std::min(ranked.size(), options.channels));
  for (auto& [choosiness, patches] : ranked) result.chosen.push_back(std::move(patches));
}

}  // namespace

std::vector<std::int64_t> spread_over_classes(const Dataset& data, std::int64_t count) {
  std::map<int, std::vector<std::int64_t>> classes;
  for (std::int64_t i = 0; i < data.size(); ++i) classes[data.label(i)].push_back(i);
  // One of each class in turn, while it has one.
  std::map<int, std::int64_t> shares;
  std::int64_t left = std::min(count, data.size());
  while (left > 0)
    for (const auto& [label, items] : classes)
      if (left > 0 && shares[label] < std::ssize(items)) {
        ++shares[label];
        --left;
      }
  std::vector<std::int64_t> chosen;
  for (const auto& [label, items] : classes)
    for (std::int64_t i = 0; i < shares[label]; ++i)
      chosen.push_back(items[static_cast<std::size_t>(i * std::ssize(items) / shares[label])]);
  std::ranges::sort(chosen);
  return chosen;
}

std::vector<LayerPatches> exciting_patches(const Model& model, std::shared_ptr<Device> device, const Dataset& data,
                                           const ExcitingPatchesOptions& options) {
  const ItemShape shape = data.shape();
  const std::vector<std::int64_t> looked_at = spread_over_classes(data, options.pictures);
  const auto pictures = std::ssize(looked_at);
  Graph graph = model.graph({.batch = options.batch, .height = shape.height, .width = shape.width});
  std::vector<Layer> layers = layers_to_watch(graph, options.every_layer);
  if (layers.empty() || pictures == 0) return {};
  Executor executor(std::move(device), std::move(graph));
  executor.store()->load(model.state());
  for (std::int64_t first = 0; first < pictures; first += options.batch) {
    const std::int64_t count = std::min<std::int64_t>(options.batch, pictures - first);
    // The last batch is filled up with its first picture.
    std::vector<std::int64_t> items(static_cast<std::size_t>(options.batch),
                                    looked_at[static_cast<std::size_t>(first)]);
    std::copy_n(looked_at.begin() + first, count, items.begin());
    executor.set_input("input", load_items(data, items));
    executor.run();
    for (Layer& layer : layers) {
      const Tensor activations = executor.output(layer.output);
      const float* at = activations.values<float>().data();
      const std::int64_t picture = activations.elements() / options.batch;
      for (std::int64_t i = 0; i < count; ++i) add_peaks(layer, at + i * picture);
    }
  }
  std::vector<LayerPatches> results;
  for (Layer& layer : layers) {
    choose(layer, looked_at, shape, options);
    if (!layer.result.chosen.empty()) results.push_back(std::move(layer.result));
  }
  return results;
}

}  // namespace weft
