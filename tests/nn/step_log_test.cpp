// steps.csv: a row for each step, whatever breaks in between.

#include "nn/callbacks/step_log.h"

#include <doctest/doctest.h>

#include <memory>

#include "core/files.h"
#include "tests/nn/harness.h"

namespace weft::tests {
namespace {

LearnerOptions options_for(const std::filesystem::path& run) {
  LearnerOptions options;
  options.device = "simt";
  options.batch = 8;
  options.run = run;
  options.policy = "one-cycle";
  return options;
}

Learner learner(const LearnerOptions& options) {
  Learner learn(small_model(), std::make_shared<Stripes>(24, 1), std::make_shared<Stripes>(8, 2), options);
  learn.add(std::make_shared<StepLog>());
  return learn;
}

}  // namespace

TEST_CASE("step log: the schedule's rates, through two fits") {
  const TemporaryFolder folder;
  Learner learn = learner(options_for(folder / "run"));
  learn.fit(0.1, 2);
  learn.fit(0.01, 1);
  const auto rows = load_steps(folder / "run");
  REQUIRE(rows.size() == 9);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].step == static_cast<float>(i));
    CHECK(rows[i].epoch == static_cast<float>(i / 3));
    CHECK(rows[i].loss > 0);
  }
  CHECK(rows[0].lr == doctest::Approx(0.1 / 25).epsilon(1e-5));
  for (std::size_t i = 6; i < 9; ++i) CHECK(rows[i].lr < 0.0101f);
  CHECK(rows[2].lr > rows[5].lr);
  CHECK(load_steps(folder / "nothing").empty());
}

TEST_CASE("step log: a run broken off and resumed leaves the file of an unbroken one") {
  const TemporaryFolder folder;
  Learner whole = learner(options_for(folder / "whole"));
  whole.fit(0.1, 2);
  whole.fit(0.02, 1);
  for (const int at : {1, 3, 5, 7, 8}) {
    CAPTURE(at);
    LearnerOptions broken = options_for(folder / "broken" / std::to_string(at));
    const auto fit_both = [](Learner& learn) {
      learn.fit(0.1, 2);
      if (!learn.interrupted()) learn.fit(0.02, 1);
    };
    {
      Learner learn = learner(broken);
      learn.add(std::make_shared<StopAfter>(StopAfter::When::step, at));
      fit_both(learn);
      Learner::stop_requested() = false;
      REQUIRE(learn.interrupted());
    }
    broken.resume = true;
    Learner learn = learner(broken);
    fit_both(learn);
    CHECK(read_file(broken.run / "steps.csv") == read_file(folder / "whole" / "steps.csv"));
  }
}

}  // namespace weft::tests
