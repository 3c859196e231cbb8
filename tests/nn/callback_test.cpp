// What is built on callbacks does what it says, on every device, and goes on after a break with the same bits.

#include "nn/callback.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "nn/callbacks/accumulate.h"
#include "nn/callbacks/best.h"
#include "nn/callbacks/clip.h"
#include "nn/callbacks/early_stop.h"
#include "nn/callbacks/ema.h"
#include "nn/callbacks/monitor.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::StopAfter;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

LearnerOptions options_for(const std::string& device, std::int64_t batch = 8) {
  LearnerOptions options = tests::small_options(device, 1);
  options.batch = batch;
  return options;
}

/// Without batch normalisation and dropout, so that a gradient is a mean over pictures.
Model plain_model() {
  return Model("plain",
               sequential({{"conv", make<Conv2d>(4, 3)},
                           {"relu", make<ReLU>()},
                           {"gap", make<GlobalAveragePool>()},
                           {"fc", make<Linear>(2)}}),
               {"upright", "lying"}, "fc", 3, 1, 8);
}

Learner learner(Model model, const LearnerOptions& options, std::int64_t pictures = 24) {
  return Learner(std::move(model), std::make_shared<Stripes>(pictures, 1), std::make_shared<Stripes>(10, 2), options);
}

double largest_difference(const StateDict& a, const StateDict& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (const auto& [name, tensor] : a) {
    const double difference = tests::largest_difference(tensor, b.at(name));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/// What the optimiser is given, and the weights it leaves.
class Probe : public Callback {
 public:
  bool on_gradients(Training& training) override {
    const ParameterStore& store = training.store();
    double squares = 0;
    for (const ParameterStore::Entry& entry : store.entries()) {
      if (!entry.trained) continue;
      const Tensor gradient = store.gradient(entry.name);
      for (const float g : gradient.values<float>()) squares += static_cast<double>(g) * g;
    }
    norms.push_back(std::sqrt(squares));
    return true;
  }
  void on_update(Training& training) override { weights.push_back(training.store().save()); }
  std::vector<double> norms;
  std::vector<StateDict> weights;
};

std::vector<std::shared_ptr<Callback>> everything() {
  return {std::make_shared<AccumulateGradients>(3), std::make_shared<ClipGradients>(0.5),
          std::make_shared<AverageWeights>(0.8), std::make_shared<KeepBest>(), std::make_shared<EarlyStop>(5)};
}

}  // namespace

TEST_CASE("gathered gradients are those of a larger batch, at a ragged end too") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    for (const std::int64_t pictures : {24, 20}) {
      CAPTURE(pictures);
      Learner large = learner(plain_model(), options_for(device, 8), pictures);
      large.fit(0.1, 2);
      Learner small = learner(plain_model(), options_for(device, 4), pictures);
      const auto probe = std::make_shared<Probe>();
      small.add(std::make_shared<AccumulateGradients>(2)).add(probe).fit(0.1, 2);
      CHECK(probe->weights.size() == 6);
      CHECK(largest_difference(small.model().state(), large.model().state()) < 1e-6);
      CHECK(largest_difference(small.model().state(), plain_model().state()) > 1e-3);
    }
  }
  CHECK_THROWS_AS(AccumulateGradients(0), Error);
}

TEST_CASE("clipping bounds the norm over all parameters and leaves small gradients alone") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    const auto run = [&](double largest) {
      const auto probe = std::make_shared<Probe>();
      Learner learn = learner(plain_model(), options_for(device));
      if (largest > 0) learn.add(std::make_shared<ClipGradients>(largest));
      learn.add(probe).fit(0.1, 1);
      return probe;
    };
    const auto free = run(0), loose = run(1e6), tight = run(0.01);
    REQUIRE(free->norms.size() == 3);
    CHECK(free->norms[0] > 0.02);
    CHECK(tests::same_bits(free->weights.back(), loose->weights.back()));
    for (const double norm : tight->norms) CHECK(norm == doctest::Approx(0.01).epsilon(1e-5));
    // The first step goes the same way, shorter: every weight's move has the same ratio.
    const StateDict start = plain_model().state();
    const double ratio = 0.01 / free->norms[0];
    for (const auto& [name, tensor] : start) {
      const auto from = tensor.values<float>(), far = std::as_const(free->weights[0].at(name)).values<float>(),
                 near = std::as_const(tight->weights[0].at(name)).values<float>();
      for (std::size_t i = 0; i < from.size(); ++i)
        CHECK(near[i] - from[i] == doctest::Approx((far[i] - from[i]) * ratio).epsilon(1e-2).scale(1e-4));
    }
  }
  CHECK_THROWS_AS(ClipGradients(0), Error);
  CHECK_THROWS_AS(ClipGradients(std::nan("")), Error);
}

TEST_CASE("the average of the weights is what is validated, and what is left") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    Learner learn = learner(tests::small_model(), options_for(device));
    const StateDict start = learn.model().state();
    const auto probe = std::make_shared<Probe>();
    learn.add(std::make_shared<AverageWeights>(0.5)).add(probe);
    const auto rows = learn.fit(0.05, 2);
    REQUIRE(probe->weights.size() == 6);
    for (const auto& [name, tensor] : learn.model().state()) {
      CAPTURE(name);
      const auto got = tensor.values<float>(), first = start.at(name).values<float>();
      for (std::size_t i = 0; i < got.size(); ++i) {
        double average = first[i];
        for (std::size_t t = 1; t <= 6; ++t) {
          const double decay = std::min(0.5, (1.0 + double(t)) / (10.0 + double(t)));
          average = decay * average + (1 - decay) * std::as_const(probe->weights[t - 1].at(name)).values<float>()[i];
        }
        CHECK(got[i] == doctest::Approx(average).epsilon(1e-4).scale(0.1));
      }
    }
    CHECK(largest_difference(learn.model().state(), probe->weights.back()) > 1e-4);
    CHECK(learn.validate().loss == doctest::Approx(rows.back().valid_loss));
  }
  for (const double decay : {0.0, 1.0, -0.1, std::nan("")}) CHECK_THROWS_AS(AverageWeights{decay}, Error);
}

TEST_CASE("the best epoch's weights are left, though later ones are worse") {
  for (const bool freeze : {false, true}) {
    CAPTURE(freeze);
    LearnerOptions options = options_for("simt");
    options.freeze = freeze;
    // Learns for two epochs, then runs away.
    options.schedule = [](std::int64_t step, std::int64_t) { return Rates{.lr = step < 6 ? 0.05 : 5.0}; };
    Learner learn = learner(tests::small_model(), options);
    const auto best = std::make_shared<KeepBest>();
    const auto rows = learn.add(best).fit(0.05, 5);
    const auto least = std::min_element(rows.begin(), rows.end(),
                                        [](const auto& a, const auto& b) { return a.valid_loss < b.valid_loss; });
    REQUIRE(least != rows.end() - 1);
    CHECK(best->epoch() == least->epoch);
    CHECK(learn.validate().loss == doctest::Approx(least->valid_loss).epsilon(1e-4));
    CHECK(rows.back().valid_loss > 1.1 * least->valid_loss);
  }
  CHECK_THROWS_WITH_AS(KeepBest("f1"), doctest::Contains("accuracy, macro_f1"), UsageError);
}

namespace {

/// The head learns, then everything runs away, then the head again: no later stage is better than the first.
void three_stages(Learner& learn) {
  const auto runs_away = [](std::int64_t, std::int64_t) { return Rates{.lr = 2.0}; };
  learn.freeze().fit(0.1, 2);
  if (learn.interrupted()) return;
  learn.unfreeze().fit(2.0, 2, {.schedule = runs_away});
  if (learn.interrupted()) return;
  learn.freeze().fit(2.0, 1, {.schedule = runs_away});
}

}  // namespace

TEST_CASE("the best epoch of all stages is left, though the last stage's are worse; broken off anywhere too") {
  const LearnerOptions options = options_for("simt");
  const auto made = [](const LearnerOptions& of_run, KeepBest::Over over, std::shared_ptr<KeepBest>* best = nullptr) {
    Learner learn = learner(tests::small_model(), of_run);
    const auto keeps = std::make_shared<KeepBest>("valid_loss", over);
    if (best != nullptr) *best = keeps;
    learn.add(keeps);
    return learn;
  };
  std::shared_ptr<KeepBest> best, last;
  Learner first = made(options, KeepBest::Over::run), whole = made(options, KeepBest::Over::run, &best),
          by_stage = made(options, KeepBest::Over::fit, &last);
  first.freeze().fit(0.1, 2);
  three_stages(whole);
  three_stages(by_stage);
  CHECK(best->epoch() < 2);
  CHECK(last->epoch() == 4);
  // Trunk, head and running statistics are those of the first stage, though the second moved them all.
  CHECK(tests::same_bits(whole.model().state(), first.model().state()));
  CHECK_FALSE(tests::same_bits(by_stage.model().state(), first.model().state()));

  for (const int at : {3, 8, 11, 13}) {
    CAPTURE(at);
    const TemporaryFolder folder;
    LearnerOptions broken = options;
    broken.run = folder / "run";
    {
      Learner learn = made(broken, KeepBest::Over::run);
      learn.add(std::make_shared<StopAfter>(StopAfter::When::step, at));
      three_stages(learn);
      Learner::stop_requested() = false;
      REQUIRE(learn.interrupted());
    }
    broken.resume = true;
    Learner learn = made(broken, KeepBest::Over::run);
    three_stages(learn);
    CHECK(tests::same_bits(learn.model().state(), whole.model().state()));
  }

  // Killed between two stages, where there is no checkpoint, only the first one's model.
  const TemporaryFolder folder;
  LearnerOptions killed = options;
  killed.run = folder / "run";
  made(killed, KeepBest::Over::run).freeze().fit(0.1, 2);
  killed.resume = true;
  Learner learn = made(killed, KeepBest::Over::run, &best);
  three_stages(learn);
  CHECK(best->epoch() < 2);
  CHECK(tests::same_bits(learn.model().state(), whole.model().state()));
}

TEST_CASE("a better epoch is told by any number of its row, and a number that is none is never better") {
  const EpochResult row{.valid_loss = 0.25, .accuracy = 0.5, .macro_f1 = 0.75};
  CHECK(Monitor("valid_loss").value(row) == 0.25);
  CHECK(Monitor("accuracy").value(row) == 0.5);
  CHECK(Monitor("macro_f1").value(row) == 0.75);
  CHECK(Monitor("valid_loss").better(0.25, 0.5));
  CHECK(Monitor("macro_f1").better(0.5, 0.25));
  CHECK_FALSE(Monitor("macro_f1").better(0.25, 0.5));
  CHECK_FALSE(Monitor("macro_f1").better(std::numeric_limits<double>::quiet_NaN(), 0.5));
}

TEST_CASE("training that does not get better stops, says so, and is a finished run") {
  class Notes : public Callback {
   public:
    void on_note(const std::string& line) override { lines.push_back(line); }
    std::vector<std::string> lines;
  };
  const TemporaryFolder folder;
  LearnerOptions options = options_for("simt");
  options.run = folder / "run";
  const auto train = [&] {
    Learner learn = learner(tests::small_model(), options);
    const auto notes = std::make_shared<Notes>();
    learn.add(std::make_shared<EarlyStop>(2, "valid_loss", 0.1)).add(notes);
    CHECK(learn.fit(1e-9, 10).size() == 3);  // one that was the best, two that were not better
    if (!options.resume) {
      REQUIRE(notes->lines.size() == 1);
      CHECK(notes->lines[0].find("no better valid_loss for 2 epochs") != std::string::npos);
    }
    const auto more = learn.fit(0.05, 1);
    REQUIRE(more.size() == 1);
    CHECK(more[0].epoch == 3);
    CHECK_FALSE(std::filesystem::exists(options.run / kCheckpointFile));
    return learn.model().state();
  };
  const StateDict first = train();
  options.resume = true;
  CHECK(tests::same_bits(train(), first));
  CHECK_THROWS_AS(EarlyStop(0), Error);
}

TEST_CASE("with all of them at work, broken off anywhere, the bits of an unbroken run") {
  for (const std::string& device : tests::devices()) {
    for (const bool freeze : {false, true}) {
      CAPTURE(device);
      CAPTURE(freeze);
      LearnerOptions options = options_for(device, 4);
      options.freeze = freeze;
      options.policy = "one-cycle";
      const auto add_all = [](Learner& learn) {
        for (const auto& callback : everything()) learn.add(callback);
      };
      Learner whole = learner(tests::small_model(), options);
      add_all(whole);
      whole.fit(0.05, 2);
      for (const int at : {1, 3, 6, 8, 11}) {
        CAPTURE(at);
        const TemporaryFolder folder;
        LearnerOptions broken = options;
        broken.run = folder / "run";
        {
          Learner learn = learner(tests::small_model(), broken);
          add_all(learn);
          learn.add(std::make_shared<StopAfter>(StopAfter::When::step, at));
          learn.fit(0.05, 2);
          Learner::stop_requested() = false;
          REQUIRE(learn.interrupted());
        }
        broken.resume = true;
        Learner learn = learner(tests::small_model(), broken);
        add_all(learn);
        CHECK(learn.fit(0.05, 2).size() == 2);
        CHECK(tests::same_bits(learn.model().state(), whole.model().state()));
      }
    }
  }
}

TEST_CASE("a run does not go on with other callbacks than it had") {
  const TemporaryFolder folder;
  LearnerOptions options = options_for("simt");
  options.run = folder / "run";
  {
    Learner learn = learner(tests::small_model(), options);
    learn.add(std::make_shared<AverageWeights>(0.9)).add(std::make_shared<StopAfter>(StopAfter::When::step, 2));
    learn.fit(0.05, 2);
    Learner::stop_requested() = false;
  }
  options.resume = true;
  CHECK_THROWS_WITH_AS(learner(tests::small_model(), options).fit(0.05, 2), doctest::Contains("decay 0.9"), Error);
  Learner learn = learner(tests::small_model(), options);
  learn.add(std::make_shared<AverageWeights>(0.8));
  CHECK_THROWS_WITH_AS(learn.fit(0.05, 2), doctest::Contains("decay 0.8"), Error);
}
