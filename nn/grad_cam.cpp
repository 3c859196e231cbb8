#include "nn/grad_cam.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/passes.h"
#include "kernels/error.h"
#include "nn/interpretation.h"

namespace weft {
namespace {

using Definition = std::shared_ptr<const OpDefinition>;

/// dscore (1), logits (N, C), target (N) -> dlogits: dscore at the target, else 0.
Definition make_pick_backward() {
  auto op = std::make_shared<OpDefinition>();
  op->name = "pick_backward";
  op->infer = [](const Node&, std::span<const Value> inputs) {
    return std::vector<Value>{{.name = "", .shape = inputs[1].shape}};
  };
  op->run_on_host = [](const Node&, std::span<const HostOperand> in, std::span<HostOperand> out) {
    const float dscore = *static_cast<const float*>(in[0].data);
    const auto* target = static_cast<const std::int32_t*>(in[2].data);
    const std::int64_t rows = in[1].shape[0], classes = in[1].shape[1];
    auto* dlogits = static_cast<float*>(out[0].data);
    std::fill_n(dlogits, rows * classes, 0.0f);
    for (std::int64_t n = 0; n < rows; ++n) dlogits[n * classes + target[n]] = dscore;
  };
  return op;
}

/// logits (N, C), target (N) int32 -> score (1) = sum_n logits[n, target[n]]. The pictures of a batch do not touch each
/// other, so the sum's gradient holds each one's own.
Definition make_pick() {
  auto op = std::make_shared<OpDefinition>();
  op->name = "pick";
  op->infer = [](const Node&, std::span<const Value>) { return std::vector<Value>{{.name = "", .shape = {1}}}; };
  op->run_on_host = [](const Node&, std::span<const HostOperand> in, std::span<HostOperand> out) {
    const auto* logits = static_cast<const float*>(in[0].data);
    const auto* target = static_cast<const std::int32_t*>(in[1].data);
    double sum = 0;
    for (std::int64_t n = 0; n < in[0].shape[0]; ++n) sum += logits[n * in[0].shape[1] + target[n]];
    *static_cast<float*>(out[0].data) = static_cast<float>(sum);
  };
  op->differentiate = [backward = make_pick_backward()](Graph& graph, NodeId id, std::span<const ValueId> gradients,
                                                        std::span<const bool>) {
    const std::vector<ValueId> inputs = graph.node(id).inputs;
    const std::string name = graph.node(id).name;
    return std::vector<ValueId>{graph.apply(name, backward, {gradients[0], inputs[0], inputs[1]}), ValueId{}};
  };
  return op;
}

bool has_many_places(const Shape& shape) {
  return shape.rank() == 4 && (shape[1] > 1 || shape[2] > 1);
}

/// The last activation before `value` that has more places than one; none where only the picture itself has.
ValueId last_with_places(const Graph& graph, ValueId value) {
  while (value && !has_many_places(graph.value(value).shape)) {
    const NodeId producer = graph.producer(value);
    value = producer ? graph.node(producer).inputs[0] : ValueId{};
  }
  return value && graph.producer(value) ? value : ValueId{};
}

/// activations and gradients are (h, w, K) of one picture.
HeatMap map_of(const float* activations, const float* gradients, std::int64_t height, std::int64_t width,
               std::int64_t channels) {
  const std::int64_t places = height * width;
  std::vector<double> alpha(static_cast<std::size_t>(channels));
  for (std::int64_t i = 0; i < places * channels; ++i) alpha[static_cast<std::size_t>(i % channels)] += gradients[i];
  HeatMap map{static_cast<int>(height), static_cast<int>(width), {}};
  for (std::int64_t place = 0; place < places; ++place) {
    double sum = 0;
    for (std::int64_t k = 0; k < channels; ++k)
      sum += alpha[static_cast<std::size_t>(k)] / static_cast<double>(places) * activations[place * channels + k];
    map.values.push_back(static_cast<float>(std::max(sum, 0.0)));
  }
  const float largest = *std::max_element(map.values.begin(), map.values.end());
  if (largest > 0)
    for (float& value : map.values) value /= largest;
  return map;
}

/// The map's value at a pixel, linearly between the centres of its cells.
float value_at(const HeatMap& map, float row, float column) {
  const auto cell = [](float position, int count) {
    const float clamped = std::clamp(position, 0.0f, static_cast<float>(count - 1));
    const int low = std::min(static_cast<int>(clamped), std::max(count - 2, 0));
    return std::pair{low, clamped - static_cast<float>(low)};
  };
  const auto [y, dy] = cell(row, map.height);
  const auto [x, dx] = cell(column, map.width);
  const auto at = [&](int r, int c) {
    return map.values[static_cast<std::size_t>(std::min(r, map.height - 1) * map.width + std::min(c, map.width - 1))];
  };
  return (1 - dy) * ((1 - dx) * at(y, x) + dx * at(y, x + 1)) + dy * ((1 - dx) * at(y + 1, x) + dx * at(y + 1, x + 1));
}

}  // namespace

double HeatMap::share_in(double left, double top, double right, double bottom) const {
  double inside = 0, sum = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double value = values[static_cast<std::size_t>(y * width + x)];
      const double row = (y + 0.5) / height, column = (x + 0.5) / width;
      sum += value;
      if (row >= top && row < bottom && column >= left && column < right) inside += value;
    }
  }
  return sum > 0 ? inside / sum : 0;
}

GradCam::GradCam(const Model& model, std::shared_ptr<Device> device, ItemShape shape, std::int64_t batch)
    : batch_(batch) {
  GraphOptions options{.batch = batch, .height = shape.height, .width = shape.width};
  options.frozen = [](const std::string&) { return true; };  // of the parameters no gradient is wanted
  Graph graph = model.graph(options);
  const ValueId logits = graph.find("logits");
  const ValueId places = last_with_places(graph, logits);
  if (!places) return;
  layer_ = graph.node(graph.producer(places)).name;
  const ValueId target = graph.input("target", {batch}, DType::i32);
  graph.mark_output(places, "places");
  graph.mark_output(graph.apply("score", make_pick(), {logits, target}), "score");
  executor_ = std::make_unique<Executor>(std::move(device), with_gradients(graph, "score", {"places"}));
  executor_->store()->load(model.state());
}

std::vector<HeatMap> GradCam::maps(const Dataset& data, std::span<const std::int64_t> indices,
                                   std::span<const int> classes) {
  if (!has_places()) fail("this network's first layer forgets where things are: there is nothing to map");
  const std::int64_t known = executor_->graph().value(executor_->graph().find("logits")).shape[1];
  for (const int wanted : classes)
    if (wanted < 0 || wanted >= known)
      fail(fmt::format("a map is wanted of class {}, and the network knows {} classes", wanted, known));
  std::vector<HeatMap> maps;
  for (std::size_t first = 0; first < indices.size(); first += static_cast<std::size_t>(batch_)) {
    const std::size_t count = std::min(indices.size() - first, static_cast<std::size_t>(batch_));
    // The last batch is filled up with its first picture.
    std::vector<std::int64_t> taken(static_cast<std::size_t>(batch_), indices[first]);
    Tensor target = Tensor::zeros({batch_}, DType::i32);
    for (std::size_t i = 0; i < count; ++i) {
      taken[i] = indices[first + i];
      target.values<std::int32_t>()[i] = classes[first + i];
    }
    executor_->set_input("input", load_items(data, taken));
    executor_->set_input("target", target);
    executor_->run();
    const Tensor activations = executor_->output("places"), gradients = executor_->output("grad.places");
    const Shape& shape = activations.shape();
    const std::int64_t picture = shape[1] * shape[2] * shape[3];
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t at = static_cast<std::int64_t>(i) * picture;
      maps.push_back(map_of(activations.values<float>().data() + at, gradients.values<float>().data() + at, shape[1],
                            shape[2], shape[3]));
    }
  }
  return maps;
}

Image with_heat(const Image& picture, const HeatMap& map) {
  constexpr std::array<std::array<float, 3>, 4> kColors = {
      {{60, 0, 60}, {190, 30, 40}, {245, 140, 20}, {255, 240, 90}}};
  constexpr float kCover = 0.75f;  // of the hottest place
  Image result = picture;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const auto to_cell = [](int pixel, int pixels, int cells) {
        return (static_cast<float>(pixel) + 0.5f) / static_cast<float>(pixels) * static_cast<float>(cells) - 0.5f;
      };
      const float heat = value_at(map, to_cell(y, picture.height, map.height), to_cell(x, picture.width, map.width));
      const float position = heat * static_cast<float>(kColors.size() - 1);
      const std::size_t low = std::min(static_cast<std::size_t>(position), kColors.size() - 2);
      const float share = position - static_cast<float>(low);
      for (int c = 0; c < 3; ++c) {
        const auto channel = static_cast<std::size_t>(c);
        const float color = (1 - share) * kColors[low][channel] + share * kColors[low + 1][channel];
        std::uint8_t& pixel = result.row(y)[3 * x + c];
        pixel = static_cast<std::uint8_t>(
            std::lround((1 - kCover * heat) * static_cast<float>(pixel) + kCover * heat * color));
      }
    }
  }
  return result;
}

}  // namespace weft
