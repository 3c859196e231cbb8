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
  std::int64_t place = 0;
};

struct Layer {
  LayerPatches result;
  std::string output;       // its mark in the graph
  std::vector<Peak> peaks;  // (pictures, channels)
};

bool ends_a_layer(const std::string& op) {
  return op == "relu" || op == "concat" || op == "add";
}

/// The last layer of each size, in the order of the network; marked in the graph.
std::vector<Layer> layers_to_watch(Graph& graph) {
  const auto fields = receptive_fields(graph, graph.find("input"));
  std::map<std::pair<std::int64_t, std::int64_t>, ValueId> last;
  for (const Node& node : graph.nodes()) {
    const Shape& shape = graph.value(node.outputs[0]).shape;
    if (ends_a_layer(node.definition->name) && shape.rank() == 4 &&
        fields[static_cast<std::size_t>(node.outputs[0].index)])
      last[{shape[1], shape[2]}] = node.outputs[0];
  }
  std::vector<ValueId> values;
  for (const auto& [size, value] : last) values.push_back(value);
  std::ranges::sort(values);
  std::vector<Layer> layers;
  for (const ValueId value : values) {
    const Shape shape = graph.value(value).shape;
    Layer layer{{graph.node(graph.producer(value)).name,
                 shape[1],
                 shape[2],
                 shape[3],
                 *fields[static_cast<std::size_t>(value.index)],
                 {}},
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
      if (at[c] > peaks[c].activation) peaks[c] = {at[c], place};
  }
  layer.peaks.insert(layer.peaks.end(), peaks.begin(), peaks.end());
}

void choose(Layer& layer, std::int64_t pictures, ItemShape picture, const ExcitingPatchesOptions& options) {
  LayerPatches& result = layer.result;
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
          {items[i],
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

std::vector<LayerPatches> exciting_patches(const Model& model, std::shared_ptr<Device> device, const Dataset& data,
                                           const ExcitingPatchesOptions& options) {
  const ItemShape shape = data.shape();
  const std::int64_t pictures = std::min(options.pictures, data.size());
  Graph graph = model.graph({.batch = options.batch, .height = shape.height, .width = shape.width});
  std::vector<Layer> layers = layers_to_watch(graph);
  if (layers.empty() || pictures == 0) return {};
  Executor executor(std::move(device), std::move(graph));
  executor.store()->load(model.state());
  for (std::int64_t first = 0; first < pictures; first += options.batch) {
    const std::int64_t count = std::min(options.batch, pictures - first);
    // The last batch is filled up with its first picture.
    std::vector<std::int64_t> items(static_cast<std::size_t>(options.batch), first);
    std::iota(items.begin(), items.begin() + count, first);
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
    choose(layer, pictures, shape, options);
    if (!layer.result.chosen.empty()) results.push_back(std::move(layer.result));
  }
  return results;
}

}  // namespace weft
