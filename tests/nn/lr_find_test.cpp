// The learning-rate finder leaves a learner as it was, to the byte, however it ends.

#include "nn/lr_find.h"

#include <doctest/doctest.h>

#include "kernels/error.h"
#include "tests/nn/harness.h"

using namespace weft;
using namespace weft::tests;

namespace {

LearnerOptions options(bool freeze) {
  LearnerOptions result;
  result.device = "simt";
  result.batch = 8;
  result.freeze = freeze;
  return result;
}

Learner learner(bool freeze) {
  return {small_model(3), std::make_shared<Stripes>(24, 1), std::make_shared<Stripes>(8, 2), options(freeze)};
}

const LrFindOptions kShort = {.sweep = {.lowest = 1e-4, .highest = 1, .steps = 20}};

}  // namespace

TEST_CASE("lr_find: training after it comes to the bytes of training without it") {
  for (const bool freeze : {false, true}) {
    CAPTURE(freeze);
    Learner plain = learner(freeze), searched = learner(freeze);
    plain.fit(0.05, 1);
    searched.fit(0.05, 1);
    const StateDict before = searched.model().state();
    const LrFindResult result = searched.lr_find(kShort);
    CHECK((result.points.size() == 20 || result.diverged));
    CHECK(result.points.front().lr == doctest::Approx(1e-4));
    CHECK(same_bits(searched.model().state(), before));
    plain.fit(0.05, 1);
    searched.fit(0.05, 1);
    CHECK(same_bits(searched.model().state(), plain.model().state()));
    CHECK_FALSE(same_bits(searched.model().state(), before));
  }
}

TEST_CASE("lr_find: stopped, or ended by an exception, it has changed nothing") {
  Learner searched = learner(false);
  searched.fit(0.05, 1);
  const StateDict before = searched.model().state();

  LrFindOptions stopping = kShort;
  stopping.watch = [](int done, const LrPoint&) { Learner::stop_requested() = done == 3; };
  const LrFindResult stopped = searched.lr_find(stopping);
  Learner::stop_requested() = false;
  CHECK(stopped.interrupted);
  CHECK(stopped.points.size() == 3);
  CHECK_FALSE(stopped.suggestions.valley);
  CHECK(same_bits(searched.model().state(), before));

  LrFindOptions throwing = kShort;
  throwing.watch = [](int done, const LrPoint&) {
    if (done == 2) fail("enough");
  };
  CHECK_THROWS_WITH_AS(searched.lr_find(throwing), "enough", Error);
  CHECK(same_bits(searched.model().state(), before));
}

TEST_CASE("lr_find: what is written of it") {
  const TemporaryFolder folder;
  LrFindResult result;
  for (int step = 0; step < 30; ++step) result.points.push_back({0.001 * (step + 1), 2 - 0.05 * step, 2 - 0.05 * step});
  result.suggestions = suggest(result.points);
  const auto files = save_lr_find(folder / "run", result);
  REQUIRE_FALSE(files.empty());
  CHECK(files.front() == folder / "run/lr_find.csv");
  for (const auto& file : files) CHECK(std::filesystem::file_size(file) > 100);
}
