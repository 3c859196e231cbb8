// The hand-written kernels against an independent oracle, over a training run: MNIST's first steps on simt and on cpu.

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "nn/learner.h"
#include "nn/model.h"
#include "tests/nn/harness.h"

using namespace weft;

namespace {

constexpr int kSteps = 20;

class Losses : public Callback {
 public:
  void on_step(const StepResult& step) override { values.push_back(step.loss); }
  std::vector<double> values;
};

/// The losses of the first steps of `train mnist --arch lenet --policy one-cycle --lr 0.05 --batch 64 --epochs 2`.
std::vector<double> first_losses(const std::string& device, const std::filesystem::path& digits) {
  const LabelledData data = open_dataset(digits.string());
  const ItemShape shape = data.shape();
  Model model = make_model("lenet", data.classes(), shape.channels, 0);
  model.set_size(shape.height, shape.width);
  LearnerOptions options;
  options.device = device;
  options.threads = 2;
  options.batch = 64;
  options.policy = "one-cycle";
  Learner learn(std::move(model), data, options);
  const auto losses = std::make_shared<Losses>();
  learn.add(losses).add(std::make_shared<tests::StopAfter>(tests::StopAfter::When::step, kSteps));
  learn.fit(0.05, 2);
  Learner::stop_requested() = false;
  return losses->values;
}

}  // namespace

TEST_CASE("the first losses on MNIST agree on simt and cpu within 1e-4") {
  const std::filesystem::path data = tests::data_folder();
  if (data.empty() || tests::devices().size() < 2) return;
  const auto simt = first_losses("simt", data / "mnist"), cpu = first_losses("cpu", data / "mnist");
  REQUIRE(simt.size() == kSteps);
  REQUIRE(cpu.size() == kSteps);
  double worst = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double difference = std::abs(simt[static_cast<std::size_t>(i)] - cpu[static_cast<std::size_t>(i)]);
    CAPTURE(i);
    CHECK(difference <= 1e-4);
    worst = std::max(worst, difference);
  }
  CHECK(simt.back() < simt.front() - 0.05);  // it does learn, so that there is something to agree on
  MESSAGE("losses from " << simt.front() << " to " << simt.back() << ", largest difference " << worst);
}
