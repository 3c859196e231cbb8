// What a model gets right and wrong, where it looked, and what excites its channels: against cases small enough to
// work out by hand.

#include "nn/interpretation.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "kernels/error.h"
#include "nn/exciting_patches.h"
#include "nn/grad_cam.h"
#include "nn/receptive_field.h"
#include "tests/nn/harness.h"

namespace weft::tests {
namespace {

Prediction said(int label, std::vector<float> probabilities) {
  return {"", label, std::move(probabilities)};
}

/// Pictures of 8 x 8 that are 0 but for one bright pixel: red for even items and green for odd ones, brighter with
/// every item.
class Dots : public Dataset {
 public:
  static constexpr int kSide = 8;
  std::int64_t size() const override { return 6; }
  ItemShape shape() const override { return {kSide, kSide, 3}; }
  int label(std::int64_t index) const override { return static_cast<int>(index % 2); }
  std::string name(std::int64_t index) const override { return "dot/" + std::to_string(index); }
  static int row(std::int64_t index) { return static_cast<int>(index); }
  static int column(std::int64_t index) { return static_cast<int>(7 - index); }
  void load(std::int64_t index, Philox&, float* item) const override {
    std::fill_n(item, shape().size(), 0.0f);
    item[(row(index) * kSide + column(index)) * 3 + index % 2] = 1 + static_cast<float>(index);
  }
};

/// Channel k of the first layer is colour k, and speaks for class k alone.
Model colors(const ModulePtr& last) {
  Model model("colors",
              sequential({{"conv", make<Conv2d>(2, 1, Conv2d::Options{.bias = false})},
                          {"relu", make<ReLU>()},
                          {"gap", make<GlobalAveragePool>()},
                          {"fc", last}}),
              {"red", "green"}, "fc", 3, 0, Dots::kSide);
  model.set_state({{"conv.weight", Tensor::from<float>({2, 1, 1, 3}, std::vector<float>{1, 0, 0, 0, 1, 0})},
                   {"fc.weight", Tensor::from<float>({2, 2}, std::vector<float>{2, -1, -1, 2})},
                   {"fc.bias", Tensor::zeros({2})}});
  return model;
}

}  // namespace

TEST_CASE("interpretation: the surest right, the surest wrong and the least sure pictures of a class") {
  const std::vector<Prediction> predictions = {said(0, {0.9f, 0.1f}),   said(0, {0.2f, 0.8f}),   said(1, {0.7f, 0.3f}),
                                               said(0, {0.55f, 0.45f}), said(0, {0.99f, 0.01f}), said(0, {0.4f, 0.6f})};
  using Indices = std::vector<std::size_t>;
  CHECK(notable_pictures(predictions, 0, Notable::most_correct, 2) == Indices{4, 0});
  CHECK(notable_pictures(predictions, 0, Notable::most_incorrect, 5) == Indices{1, 5});
  CHECK(notable_pictures(predictions, 0, Notable::most_uncertain, 3) == Indices{3, 5, 1});
  CHECK(notable_pictures(predictions, 1, Notable::most_correct, 3).empty());
  CHECK(notable_pictures(predictions, 1, Notable::most_incorrect, 3) == Indices{2});
}

TEST_CASE("interpretation: with several labels each is a question of its own") {
  const auto picture = [](std::vector<int> labels, std::vector<float> probabilities) {
    return Prediction{"", -1, std::move(probabilities), std::move(labels)};
  };
  const std::vector<Prediction> predictions = {picture({0}, {0.7f, 0.9f}), picture({0, 1}, {0.95f, 0.2f}),
                                               picture({}, {0.8f, 0.1f}), picture({0}, {0.1f, 0.45f}),
                                               picture({1}, {0.3f, 0.6f})};
  using Indices = std::vector<std::size_t>;
  CHECK(notable_for_label(predictions, 0, 0.5, Notable::most_correct, 5) == Indices{1, 0});
  CHECK(notable_for_label(predictions, 0, 0.5, Notable::most_incorrect, 5) == Indices{3, 2});  // 0.9 and 0.8 sure
  CHECK(notable_for_label(predictions, 0, 0.5, Notable::most_uncertain, 2) == Indices{0, 4});
  CHECK(notable_for_label(predictions, 1, 0.5, Notable::most_incorrect, 1) == Indices{0});
  CHECK(notable_for_label(predictions, 1, 0.4, Notable::most_correct, 5) == Indices{4});
  CHECK(has_label(predictions[1], 1));
  CHECK(!has_label(predictions[2], 0));
}

TEST_CASE("interpretation: pairs by how often they are confused") {
  const auto pairs = most_confused({{10, 2, 0}, {5, 7, 2}, {0, 0, 9}});
  REQUIRE(pairs.size() == 3);
  CHECK(pairs[0].truth == 1);
  CHECK(pairs[0].predicted == 0);
  CHECK(pairs[0].pictures == 5);
  CHECK(pairs[1].truth == 0);  // of equals the first
  CHECK(pairs[2].truth == 1);
}

TEST_CASE("interpretation: a picture comes back from what the network was given") {
  const Normalization normalization{{0.5f, 0.25f, 0}, {0.5f, 0.25f, 1}};
  // 0, 128 and 255 of each channel; the last pixel lies outside what a picture can hold.
  const std::vector<float> item = {-1, -1, 0, 0.00392157f, 1.00784314f, 0.50196078f, 1, 3, 1, -2, 9, 2};
  const Image image = picture_of(item, {2, 2, 3}, normalization);
  CHECK(image.rgb == std::vector<std::uint8_t>{0, 0, 0, 128, 128, 128, 255, 255, 255, 0, 255, 255});
  CHECK(picture_of(std::vector<float>{1}, {1, 1, 1}, {{0}, {1}}).rgb == std::vector<std::uint8_t>{255, 255, 255});
  CHECK_THROWS_WITH_AS(picture_of(item, {2, 3, 2}, normalization), doctest::Contains("1 or 3 channels"), Error);
}

TEST_CASE("receptive field: the sizes that are known of ResNet-18") {
  // Araujo, Norris and Sim, table 1, has 435 and 32 for the last layer.
  const Graph graph = resnet18({"a", "b"}).graph({.batch = 1});
  const auto fields = receptive_fields(graph, graph.find("input"));
  const auto after = [&](const std::string& layer) {
    std::optional<ReceptiveField> field;
    for (const Node& node : graph.nodes())
      if (node.name == layer) field = fields[static_cast<std::size_t>(node.outputs[0].index)];
    REQUIRE(field);
    CHECK(field->rows == field->columns);
    return field->rows;
  };
  using Axis = ReceptiveField::Axis;
  CHECK(after("conv1") == Axis{.size = 7, .step = 2, .start = -3});
  CHECK(after("maxpool") == Axis{.size = 11, .step = 4, .start = -5});
  CHECK(after("layer1.1.conv2") == Axis{.size = 43, .step = 4, .start = -21});
  CHECK(after("layer4.1.conv2") == Axis{.size = 435, .step = 32, .start = -217});
}

TEST_CASE("receptive field: a box ends with the picture") {
  const ReceptiveField field{{.size = 5, .step = 2, .start = -2}, {.size = 3, .step = 4, .start = 1}};
  CHECK(field.box(0, 0, 10, 8) == Box{1, 0, 3, 3});
  CHECK(field.box(1, 1, 10, 8) == Box{5, 0, 3, 5});
  CHECK(field.box(3, 2, 10, 8) == Box{9, 4, 1, 4});
}

TEST_CASE("Grad-CAM: the formula, on every device") {
  const Dots dots;
  for (const std::string& device : devices()) {
    CAPTURE(device);
    GradCam cam(colors(make<Linear>(2)), make_device(device), dots.shape(), 4);
    REQUIRE(cam.has_places());
    CHECK(cam.layer() == "relu");
    const std::vector<std::int64_t> items = {0, 1, 2, 3, 4};
    const auto maps = cam.maps(dots, items, std::vector<int>{0, 1, 1, 0, 0});
    REQUIRE(maps.size() == 5);
    for (std::size_t i : {0, 1, 4}) {  // asked for their own class: all of the map is on the dot
      const HeatMap& map = maps[i];
      CHECK(map.height == Dots::kSide);
      const auto at = static_cast<std::size_t>(Dots::row(items[i]) * Dots::kSide + Dots::column(items[i]));
      for (std::size_t place = 0; place < map.values.size(); ++place) CHECK(map.values[place] == (place == at ? 1 : 0));
    }
    for (std::size_t i : {2, 3})  // for the other one: the dot speaks against it
      for (const float value : maps[i].values) CHECK(value == 0);
    CHECK_THROWS_WITH_AS(cam.maps(dots, items, std::vector<int>{0, 1, 2, 0, 0}), doctest::Contains("class 2"), Error);
  }
}

TEST_CASE("Grad-CAM: a network without places has no maps") {
  GradCam cam(mlp({"a", "b"}, 3).set_size(Dots::kSide, Dots::kSide), make_device("simt"), Dots().shape());
  CHECK(!cam.has_places());
  CHECK_THROWS_AS(cam.maps(Dots(), std::vector<std::int64_t>{0}, std::vector<int>{0}), Error);
}

TEST_CASE("heat: the share of a part, and the colours over a picture") {
  const HeatMap map{2, 2, {1, 0, 0.5f, 0.5f}};
  CHECK(map.share_in(0, 0, 0.5, 0.5) == doctest::Approx(0.5));
  CHECK(map.share_in(0, 0, 1, 1) == doctest::Approx(1));
  CHECK(HeatMap{1, 1, {0}}.share_in(0, 0, 1, 1) == 0);
  Image picture(4, 4);
  std::ranges::fill(picture.rgb, std::uint8_t{100});
  CHECK(with_heat(picture, {2, 2, {0, 0, 0, 0}}).rgb == picture.rgb);
  const Image hot = with_heat(picture, {2, 2, {1, 0, 0, 0}});
  CHECK(int(hot.row(0)[0]) == 216);  // a quarter of 100 and three of the hottest colour, (255, 240, 90)
  CHECK(int(hot.row(0)[1]) == 205);
  CHECK(hot.row(3)[11] == 100);
  CHECK(hot.row(0)[0] > hot.row(0)[2]);
}

TEST_CASE("exciting patches: the brightest dots of a channel, and where they are") {
  const Dots dots;
  const auto layers = exciting_patches(colors(make<Linear>(2)), make_device("simt"), dots, {.patches = 2, .batch = 4});
  REQUIRE(layers.size() == 1);
  CHECK(layers[0].layer == "relu");
  CHECK(layers[0].channels == 2);
  CHECK(layers[0].field.rows.size == 1);
  REQUIRE(layers[0].chosen.size() == 2);
  for (const ChannelPatches& channel : layers[0].chosen) {
    REQUIRE(channel.patches.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
      const ExcitingPatch& patch = channel.patches[i];
      CHECK(patch.item == 4 + channel.channel - 2 * static_cast<std::int64_t>(i));
      CHECK(patch.activation == static_cast<float>(patch.item + 1));
      CHECK(patch.box == Box{Dots::column(patch.item), Dots::row(patch.item), 1, 1});
    }
  }
}

TEST_CASE("exciting patches: each convolution's layer, or the last of each size") {
  const std::vector<float> same = {1, 0, 0, 1}, four = {1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1};
  // The second convolution's ReLU follows an add; the third has none, and its places are 4 x 4.
  const auto conv = [](std::int64_t side) {
    return make<Conv2d>(2, side, Conv2d::Options{.stride = {side, side}, .bias = false});
  };
  Model model("three",
              sequential({{"conv1", conv(1)},
                          {"relu1", make<ReLU>()},
                          {"block", make<Residual>(sequential({{"conv2", conv(1)}}), nullptr, true)},
                          {"conv3", conv(2)},
                          {"gap", make<GlobalAveragePool>()},
                          {"fc", make<Linear>(2)}}),
              {"red", "green"}, "fc", 3, 0, Dots::kSide);
  model.set_state({{"conv1.weight", Tensor::from<float>({2, 1, 1, 3}, std::vector<float>{1, 0, 0, 0, 1, 0})},
                   {"block.conv2.weight", Tensor::from<float>({2, 1, 1, 2}, same)},
                   {"conv3.weight", Tensor::from<float>({2, 2, 2, 2}, four)},
                   {"fc.weight", Tensor::from<float>({2, 2}, same)},
                   {"fc.bias", Tensor::zeros({2})}});
  const auto shown = [&](bool every_layer) {
    std::vector<std::string> names;
    for (const auto& layer :
         exciting_patches(model, make_device("simt"), Dots(), {.batch = 4, .every_layer = every_layer}))
      names.push_back(layer.layer + (layer.last_of_size ? " (last)" : ""));
    return names;
  };
  CHECK(shown(true) == std::vector<std::string>{"relu1", "block.relu (last)", "conv3 (last)"});
  CHECK(shown(false) == std::vector<std::string>{"block.relu (last)", "conv3 (last)"});
}

namespace {

/// The dots as a class folder has them: one class behind the other, of these sizes.
class InOrder : public Dots {
 public:
  explicit InOrder(std::vector<std::int64_t> sizes) : sizes_(std::move(sizes)) {}
  std::int64_t size() const override { return std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{0}); }
  int label(std::int64_t index) const override {
    int label = 0;
    while (index >= sizes_[static_cast<std::size_t>(label)]) index -= sizes_[static_cast<std::size_t>(label++)];
    return label;
  }
  void load(std::int64_t index, Philox&, float* item) const override {
    std::fill_n(item, shape().size(), 0.0f);
    item[label(index)] = 1;
  }

 private:
  std::vector<std::int64_t> sizes_;
};

}  // namespace

TEST_CASE("exciting patches: the pictures looked at are spread over the classes, and over each of them") {
  using Items = std::vector<std::int64_t>;
  const InOrder data({10, 3, 100});
  CHECK(spread_over_classes(data, 12) == Items{0, 2, 4, 6, 8, 10, 11, 12, 13, 38, 63, 88});
  CHECK(spread_over_classes(data, 2) == Items{0, 10});
  CHECK(spread_over_classes(data, 0).empty());
  CHECK(spread_over_classes(data, 500).size() == 113);
  // Of 40 pictures that are red first and green then, four show both channels what they are for.
  const auto layers = exciting_patches(colors(make<Linear>(2)), make_device("simt"), InOrder({20, 20}),
                                       {.patches = 9, .pictures = 4, .batch = 3});
  REQUIRE(layers.size() == 1);
  REQUIRE(layers[0].chosen.size() == 2);
  for (const ChannelPatches& channel : layers[0].chosen) {
    Items items;
    for (const ExcitingPatch& patch : channel.patches) items.push_back(patch.item);
    CHECK(items == (channel.channel == 0 ? Items{0, 10} : Items{20, 30}));
  }
}

}  // namespace weft::tests
