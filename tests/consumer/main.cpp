// Three lines train a classifier; around them, a layer, a transform, a loss, a schedule and a callback of one's own.

#include <weft.h>

#include <cstdio>
#include <memory>
#include <string>

namespace {

/// x * factor, from an op that Weft already has.
class Scale : public weft::Module {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  weft::ValueId forward(weft::Builder& builder, weft::ValueId x) const override {
    return weft::ops::scale(builder.graph(), builder.path(), x, factor_);
  }

 private:
  double factor_;
};

class CountSteps : public weft::Callback {
 public:
  void on_step(const weft::StepResult&) override { ++steps; }
  int steps = 0;
};

/// Takes part: the weights move at every other step only. What it remembers goes with checkpoints.
class EveryOther : public weft::Callback {
 public:
  void begin_fit(weft::Training&) override { seen_ = 0; }
  bool on_gradients(weft::Training&) override { return ++seen_ % 2 == 0; }
  void on_update(weft::Training&) override { ++updates; }
  std::string name() const override { return "every other"; }
  weft::CallbackState save(weft::Training&) const override {
    weft::CallbackState state;
    state.numbers["seen"] = seen_;
    return state;
  }
  void load(weft::Training&, const weft::CallbackState& state) override { seen_ = int(state.number("seen")); }
  int updates = 0;

 private:
  int seen_ = 0;
};

/// A step on a picture: here its negative, half of the time.
class Negative : public weft::Transform {
 public:
  weft::Image apply(weft::Image image, weft::Philox& random) const override {
    if (random.below(2) == 0)
      for (auto& value : image.rgb) value = static_cast<std::uint8_t>(255 - value);
    return image;
  }
};

/// Twice the cross-entropy, of ops that Weft has. With label smoothing the labels are shares, (N, classes).
weft::ValueId doubled(weft::Graph& graph, weft::ValueId logits, weft::ValueId shares) {
  return weft::ops::scale(graph, "loss", weft::ops::cross_entropy_soft(graph, "shares", logits, shares), 2);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  weft::ImageFolderOptions pictures;
  pictures.size = 32;
  pictures.train_transform = weft::Augmentation{.set = "side-on"}.transform(32).then(Negative());
  auto data = weft::ImageFolder(argv[1], pictures);
  const auto layers = weft::sequential({{"scale", weft::make<Scale>(0.5)},
                                        {"flatten", weft::make<weft::Flatten>()},
                                        {"head", weft::make<weft::Linear>(2)}});
  weft::LearnerOptions options;
  options.device = "cpu";
  options.loss = doubled;
  options.targets.label_smoothing = 0.1;
  options.schedule = [](std::int64_t step, std::int64_t total) {
    return weft::Rates{.lr = 0.01 * (1.0 - static_cast<double>(step) / static_cast<double>(total))};
  };
  auto learn = weft::Learner(weft::Model("mine", layers, data.classes(), "head"), data, options);
  const auto counter = std::make_shared<CountSteps>();
  const auto every_other = std::make_shared<EveryOther>();
  learn.add(every_other).add(counter);
  const auto rows = learn.fit(0.01, 2);
  std::printf("%d steps, loss %.4f\n", counter->steps, rows.back().train_loss);
  return counter->steps > 0 && every_other->updates == counter->steps / 2 && rows.size() == 2 ? 0 : 1;
}
