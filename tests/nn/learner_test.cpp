// The loop: it learns, repeats itself bit for bit, goes on where it was stopped, keeps frozen features, and says what
// broke.

#include "nn/learner.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "core/executor.h"
#include "kernels/error.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::StopAfter;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

LearnerOptions options_for(const std::string& device) {
  LearnerOptions options = tests::small_options(device);
  options.policy = "one-cycle";
  return options;
}

/// 29 pictures: three full batches of 8 and one of 5.
Learner learner(const LearnerOptions& options, bool augmented = true) {
  return Learner(tests::small_model(options.seed), std::make_shared<Stripes>(29, 1, augmented),
                 std::make_shared<Stripes>(13, 2), options);
}

/// The final numbers of a run that is stopped `stops` times and resumed as often.
StateDict broken_run(LearnerOptions options, const std::vector<std::pair<StopAfter::When, int>>& stops,
                     bool augmented) {
  for (const auto& [when, calls] : stops) {
    Learner learn = learner(options, augmented);
    learn.add(std::make_shared<StopAfter>(when, calls));
    learn.fit(0.05, 3);
    Learner::stop_requested() = false;
    REQUIRE(learn.interrupted());
    REQUIRE(std::filesystem::exists(options.run / kCheckpointFile));
    options.resume = true;
  }
  Learner learn = learner(options, augmented);
  const auto rows = learn.fit(0.05, 3);
  CHECK(rows.size() == 3);
  CHECK_FALSE(learn.interrupted());
  CHECK_FALSE(std::filesystem::exists(options.run / kCheckpointFile));
  return learn.model().state();
}

}  // namespace

TEST_CASE("it learns, on every device") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    Learner learn = learner(options_for(device));
    const auto rows = learn.fit(0.05, 6);
    REQUIRE(rows.size() == 6);
    CHECK(rows.back().train_loss < 0.5 * rows.front().train_loss);
    CHECK(rows.back().accuracy > 0.9);
    CHECK(rows.back().images_per_second > 0);
    const Evaluation evaluation = learn.validate();
    CHECK(evaluation.accuracy == doctest::Approx(rows.back().accuracy));
    CHECK(evaluation.loss == doctest::Approx(rows.back().valid_loss));
    CHECK(evaluation.predictions.size() == 13);
    CHECK(evaluation.predictions[4].path == "stripes/4");
    std::int64_t counted = 0;
    for (const auto& row : evaluation.confusion)
      for (std::int64_t count : row) counted += count;
    CHECK(counted == 13);
    const auto predictions = learn.predict(Stripes(3, 9));
    CHECK(predictions.size() == 3);
    CHECK(predictions[0].label == -1);
    CHECK(predictions[0].probabilities[0] + predictions[0].probabilities[1] == doctest::Approx(1));
  }
}

TEST_CASE("the first losses on simt and cpu agree") {
  class Losses : public Callback {
   public:
    void on_step(const StepResult& step) override { values.push_back(step.loss); }
    std::vector<double> values;
  };
  std::vector<std::vector<double>> losses;
  for (const std::string& device : tests::devices()) {
    Learner learn = learner(options_for(device));
    const auto callback = std::make_shared<Losses>();
    learn.add(callback).fit(0.01, 2);
    losses.push_back(callback->values);
  }
  for (std::size_t i = 1; i < losses.size(); ++i) {
    REQUIRE(losses[i].size() == losses[0].size());
    for (std::size_t step = 0; step < losses[0].size(); ++step) {
      CAPTURE(step);
      CHECK(losses[i][step] == doctest::Approx(losses[0][step]).epsilon(1e-4));
    }
  }
}

TEST_CASE("one seed gives the same bits, whatever decodes; another gives others") {
  for (const std::string& device : tests::devices()) {
    for (const bool freeze : {false, true}) {
      CAPTURE(device);
      CAPTURE(freeze);
      LearnerOptions options = options_for(device);
      options.freeze = freeze;
      std::vector<StateDict> results;
      for (const int threads : {1, 4, 1}) {
        options.loader_threads = threads;
        Learner learn = learner(options, !freeze);
        learn.fit(0.05, 2);
        results.push_back(learn.model().state());
      }
      CHECK(tests::same_bits(results[0], results[1]));
      CHECK(tests::same_bits(results[0], results[2]));
      options.seed = 6;
      Learner learn = learner(options, !freeze);
      learn.fit(0.05, 2);
      CHECK_FALSE(tests::same_bits(results[0], learn.model().state()));
    }
  }
}

TEST_CASE("stopped anywhere and resumed, it comes to the same bits") {
  using When = StopAfter::When;
  for (const std::string& device : tests::devices()) {
    LearnerOptions options = options_for(device);
    Learner whole = learner(options);
    const auto rows = whole.fit(0.05, 3);
    const StateDict wanted = whole.model().state();
    // In the middle of an epoch, at its last step (so that validation comes first after it), between two epochs.
    const std::vector<std::vector<std::pair<When, int>>> cases = {
        {{When::step, 2}}, {{When::step, 4}}, {{When::epoch, 1}}, {{When::step, 1}, {When::step, 4}, {When::step, 3}}};
    for (const auto& stops : cases) {
      const TemporaryFolder folder;
      options.run = folder / "run";
      CAPTURE(device);
      CAPTURE(stops.size());
      CHECK(tests::same_bits(broken_run(options, stops, true), wanted));
      const auto log = load_log(options.run);
      REQUIRE(log.size() == 3);
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(log[i].train_loss == doctest::Approx(rows[i].train_loss).epsilon(1e-5));
        CHECK(log[i].valid_loss == doctest::Approx(rows[i].valid_loss).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("with a frozen trunk, too: during features, in memory and on disk") {
  using When = StopAfter::When;
  for (const std::string& device : tests::devices()) {
    LearnerOptions options = options_for(device);
    options.freeze = true;
    Learner whole = learner(options, false);
    whole.fit(0.05, 3);
    const StateDict wanted = whole.model().state();
    for (const std::size_t memory : {std::size_t{1} << 30, std::size_t{100}}) {
      for (const auto& stops : std::vector<std::vector<std::pair<When, int>>>{
               {{When::features, 1}}, {{When::features, 2}, {When::step, 5}}, {{When::step, 4}, {When::epoch, 1}}}) {
        const TemporaryFolder folder;
        options.run = folder / "run";
        options.feature_memory = memory;
        CAPTURE(device);
        CAPTURE(memory);
        CHECK(tests::same_bits(broken_run(options, stops, false), wanted));
        for (const auto& entry : std::filesystem::directory_iterator(options.run))
          CHECK(entry.path().filename().string().find("features") == std::string::npos);
      }
    }
  }
}

TEST_CASE("features are what the unfrozen trunk gives, and only the head moves") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    LearnerOptions options = options_for(device);
    options.freeze = true;
    Learner learn = learner(options, false);
    const StateDict before = learn.model().state();
    learn.fit(0.05, 2);
    const StateDict after = learn.model().state();
    for (const auto& [name, tensor] : before) {
      const bool head = learn.model().in_head(name);
      CHECK_MESSAGE((tests::largest_difference(tensor, after.at(name)) > 0) == head, name);
    }
    // The whole net on pictures gives what the head gave on kept features.
    const Evaluation whole = learn.validate();
    const auto rows = learn.fit(0.001, 1);
    CHECK(rows[0].valid_loss == doctest::Approx(learn.validate().loss).epsilon(1e-4));
    CHECK(whole.loss != doctest::Approx(rows[0].valid_loss).epsilon(1e-9));
  }
}

TEST_CASE("two calls of fit, resumed in the second") {
  LearnerOptions options = options_for("simt");
  Learner whole = learner(options);
  whole.fit(0.05, 1);
  whole.fit(0.01, 2);
  const StateDict wanted = whole.model().state();

  const TemporaryFolder folder;
  options.run = folder / "run";
  {
    Learner learn = learner(options);
    learn.add(std::make_shared<StopAfter>(StopAfter::When::step, 7));
    CHECK(learn.fit(0.05, 1).size() == 1);
    CHECK(learn.fit(0.01, 2).empty());
    CHECK(learn.interrupted());
    Learner::stop_requested() = false;
  }
  options.resume = true;
  for (int again = 0; again < 2; ++again) {
    Learner learn = learner(options);
    CHECK(learn.fit(0.05, 1).size() == 1);
    const auto rows = learn.fit(0.01, 2);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].epoch == 1);
    CHECK(tests::same_bits(learn.model().state(), wanted));
  }
}

TEST_CASE("resume is refused where the bits could not be the same, or nothing is there") {
  const TemporaryFolder folder;
  LearnerOptions options = options_for("simt");
  options.run = folder / "run";
  options.resume = true;
  CHECK_THROWS_WITH_AS(learner(options), doctest::Contains("resume"), Error);
  options.resume = false;
  {
    Learner learn = learner(options);
    learn.add(std::make_shared<StopAfter>(StopAfter::When::step, 2));
    learn.fit(0.05, 3);
    Learner::stop_requested() = false;
  }
  options.resume = true;
  CHECK_THROWS_WITH_AS(learner(options).fit(0.04, 3), doctest::Contains("learning rate"), Error);
  options.batch = 4;
  CHECK_THROWS_WITH_AS(learner(options).fit(0.05, 3), doctest::Contains("batch"), Error);
}

TEST_CASE("a plan made elsewhere is said to be so") {
  class Notes : public Callback {
   public:
    void on_note(const std::string& line) override { lines.push_back(line); }
    std::vector<std::string> lines;
  };
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    LearnerOptions options = options_for(device);
    Learner first = learner(options);
    first.fit(0.05, 1);
    options.plan = first.plan();
    const auto notes = std::make_shared<Notes>();
    Learner(learner(options)).add(notes).fit(0.05, 1);
    CHECK(notes->lines.empty());
    if (options.plan.find("2 threads") == std::string::npos) continue;  // a device whose bits do not depend on them
    for (auto at = options.plan.find("2 threads"); at != std::string::npos; at = options.plan.find("2 threads"))
      options.plan[at] = '9';
    Learner(learner(options)).add(notes).fit(0.05, 1);
    REQUIRE(notes->lines.size() == 1);
    CHECK(notes->lines[0].find("9 threads") != std::string::npos);
  }
}

TEST_CASE("a loss that is not finite stops, naming tensor, layer and file") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    auto data = std::make_shared<Stripes>(16, 1);
    data->broken = 11;
    LearnerOptions options = options_for(device);
    Learner learn(tests::small_model(), data, std::make_shared<Stripes>(4, 2), options);
    try {
      learn.fit(0.05, 1);
      FAIL("no error");
    } catch (const Error& error) {
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find("nan") != std::string::npos);
      // oneDNN's ReLU makes 0 of a NaN, so that it comes out at the epoch's end and not in the loss.
      if (message.find("although") != std::string::npos) continue;
      CHECK(message.find("input") != std::string::npos);
      CHECK(message.find("from stripes/11") != std::string::npos);
    }
  }
}

TEST_CASE("a rate far too high stops on every device, naming tensor, layer and files") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    LearnerOptions options = options_for(device);
    options.batch = 4;
    Learner learn(make_model("mlp", {"a", "b"}), std::make_shared<Stripes>(16, 1), std::make_shared<Stripes>(4, 2),
                  options);
    try {
      learn.fit(1e18, 3);
      FAIL("no error");
    } catch (const Error& error) {
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find("the first broken tensor is ") != std::string::npos);
      CHECK(message.find(" of layer ") != std::string::npos);
      CHECK(message.find("stripes/") != std::string::npos);
      CHECK(message.find("a lower learning rate may help") != std::string::npos);
    }
  }
}

TEST_CASE("a last batch of one picture is left out of training and never of validation") {
  LearnerOptions options = options_for("simt");
  Learner learn(tests::small_model(), std::make_shared<Stripes>(17, 1), std::make_shared<Stripes>(9, 2), options);
  class Steps : public Callback {
   public:
    void on_step(const StepResult& step) override { per_epoch = step.steps_per_epoch; }
    std::int64_t per_epoch = 0;
  };
  const auto steps = std::make_shared<Steps>();
  learn.add(steps).fit(0.01, 1);
  CHECK(steps->per_epoch == 2);
  CHECK(learn.validate().predictions.size() == 9);
}

TEST_CASE("what cannot work is said at once") {
  const auto valid = std::make_shared<Stripes>(4, 2);
  LearnerOptions options = options_for("simt");
  options.freeze = true;
  CHECK_THROWS_WITH_AS(Learner(tests::small_model(), std::make_shared<Stripes>(8, 1, true), valid, options),
                       doctest::Contains("augmented"), Error);
  options.freeze = false;
  CHECK_THROWS_WITH_AS(Learner(tests::small_model(), std::make_shared<Stripes>(8, 1, false, 8, 1), valid, options),
                       doctest::Contains("channels"), Error);
  CHECK_THROWS_AS(Learner(tests::small_model(), nullptr, valid, options).fit(0.1, 1), Error);
  options.policy = "nonsense";
  CHECK_THROWS_WITH_AS(Learner(tests::small_model(), valid, valid, options).fit(0.1, 1), doctest::Contains("one-cycle"),
                       UsageError);
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "in the way";
  options.run = (folder / "file") / "run";
  CHECK_THROWS_WITH_AS(Learner(tests::small_model(), valid, valid, options), doctest::Contains("file"), Error);
  options.run = folder / "file";
  CHECK_THROWS_WITH_AS(Learner(tests::small_model(), valid, valid, options), doctest::Contains("file"), Error);
}
