// Do heat maps point at the animal? A net is trained on drawn pictures in which it sits in one known quadrant, and the
// map's mass must lie there.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "data/animals.h"
#include "data/parallel.h"
#include "nn/grad_cam.h"
#include "nn/metrics.h"
#include "tests/nn/harness.h"

namespace weft::tests {
namespace {

constexpr int kSide = 64;

/// Drawn cats and dogs, whole, each inside one quadrant of a scene. Training looks at them anew mirrored.
class Quadrants : public Dataset {
 public:
  Quadrants(std::int64_t count, std::uint64_t seed, bool augmented) : augmented_(augmented) {
    items_.resize(static_cast<std::size_t>(count));
    const Normalization normalization = imagenet_normalization();
    for_each_in_parallel(count, [&](std::int64_t i) {
      std::vector<float>& item = items_[static_cast<std::size_t>(i)];
      item.resize(static_cast<std::size_t>(shape().size()));
      to_floats(draw(i, seed), normalization, item.data());
    });
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(items_.size()); }
  ItemShape shape() const override { return {kSide, kSide, 3}; }
  int label(std::int64_t index) const override { return static_cast<int>(index % 2); }
  std::string name(std::int64_t index) const override { return "quadrant/" + std::to_string(index); }
  bool augmented() const override { return augmented_; }
  void load(std::int64_t index, Philox& random, float* item) const override {
    const std::vector<float>& from = items_[static_cast<std::size_t>(index)];
    if (!augmented_ || random.uniform() < 0.5f) {
      std::ranges::copy(from, item);
      return;
    }
    for (int y = 0; y < kSide; ++y)
      for (int x = 0; x < kSide; ++x)
        std::copy_n(from.data() + (y * kSide + kSide - 1 - x) * 3, 3, item + (y * kSide + x) * 3);
  }
  /// 0 to 3: upper left, upper right, lower left, lower right.
  static int quadrant(std::int64_t index) { return static_cast<int>(index / 2 % 4); }

 private:
  static Image draw(std::int64_t index, std::uint64_t seed) {
    using namespace drawing;
    Dice dice(seed, static_cast<std::uint64_t>(index));
    Canvas canvas(kSide);
    draw_background(canvas, dice);
    const Coat coat = Coat::draw(dice);
    Frame frame;
    frame.scale = kSide * dice.between(0.11f, 0.13f);
    frame.origin = {kSide * (quadrant(index) % 2 * 0.5f + dice.between(0.2f, 0.3f)),
                    kSide * (quadrant(index) / 2 * 0.5f + dice.between(0.15f, 0.18f))};
    frame.scale_x = dice.chance(0.5f) ? 1.0f : -1.0f;
    draw_animal(canvas, frame, index % 2 == 0 ? Animal::cat : Animal::dog, coat, dice);
    return canvas.image();
  }

  std::vector<std::vector<float>> items_;
  bool augmented_;
};

/// Three halvings: 8 x 8 places are left to look at.
Model net() {
  std::vector<Sequential::Named> layers;
  for (const auto& [name, channels, stride] : {std::tuple{"1", 24, 2}, {"2", 48, 2}, {"3", 96, 2}, {"4", 96, 1}}) {
    const Conv2d::Options options{.stride = {stride, stride}, .padding = {1, 1}, .bias = false};
    layers.emplace_back(std::string("conv") + name, make<Conv2d>(channels, 3, options));
    layers.emplace_back(std::string("bn") + name, make<BatchNorm2d>());
    layers.emplace_back(std::string("relu") + name, make<ReLU>());
  }
  layers.emplace_back("gap", make<GlobalAveragePool>());
  layers.emplace_back("fc", make<Linear>(2));
  return Model("net", sequential(std::move(layers)), {"cats", "dogs"}, "fc", 3, 3, kSide);
}

}  // namespace

TEST_CASE("heat maps: the animal's quadrant holds most of the mass in 80% of drawn pictures") {
  try {
    make_device("cpu");
  } catch (const Error& error) {
    MESSAGE("skipped: training this net wants the cpu device: ", error.what());
    return;
  }
  const auto train = std::make_shared<Quadrants>(1200, 1, true), valid = std::make_shared<Quadrants>(160, 2, false);
  LearnerOptions options;
  options.device = "cpu";
  options.batch = 32;
  options.policy = "one-cycle";
  options.weight_decay = 1e-3;
  Learner learn(net(), train, valid, options);
  const auto rows = learn.fit(0.05, 10);
  MESSAGE("accuracy ", rows.back().accuracy);
  CHECK(rows.back().accuracy > 0.8);

  std::vector<std::int64_t> indices(static_cast<std::size_t>(valid->size()));
  std::iota(indices.begin(), indices.end(), 0);
  std::vector<int> predicted;
  for (const Prediction& prediction : learn.validate().predictions) predicted.push_back(most_probable(prediction));
  GradCam cam(learn.model(), make_device("cpu"), valid->shape());
  CHECK(cam.layer() == "relu4");
  int there = 0;
  double share = 0;
  const auto maps = cam.maps(*valid, indices, predicted);
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const int quadrant = Quadrants::quadrant(indices[i]);
    const double left = quadrant % 2 * 0.5, top = quadrant / 2 * 0.5;
    const double inside = maps[i].share_in(left, top, left + 0.5, top + 0.5);
    there += inside > 0.5;
    share += inside / static_cast<double>(maps.size());
  }
  MESSAGE("most of the mass in the quadrant: ", there, " of ", maps.size(), "; mean share ", share);
  CHECK(there >= 0.8 * static_cast<double>(maps.size()));
}

}  // namespace weft::tests
