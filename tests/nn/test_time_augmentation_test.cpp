// Test-time augmentation: the mean of what the model says of a picture and of its augmented versions.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/error.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::Stripes;

namespace {

Learner trained() {
  Learner learn(tests::small_model(5), std::make_shared<Stripes>(29, 1, true), std::make_shared<Stripes>(13, 2),
                tests::small_options());
  learn.fit(0.05, 2);
  return learn;
}

/// A version of augmented pictures by itself: those of one epoch, whatever epoch it is.
class Version : public Stripes {
 public:
  Version(std::int64_t size, std::uint64_t seed, std::uint64_t loader_seed, std::int64_t epoch)
      : Stripes(size, seed, true), loader_seed_(loader_seed), epoch_(epoch) {}
  void load(std::int64_t index, Philox&, float* item) const override {
    Philox random = item_random(loader_seed_, epoch_, index);
    Stripes::load(index, random, item);
  }

 private:
  std::uint64_t loader_seed_;
  std::int64_t epoch_;
};

}  // namespace

TEST_CASE("test-time augmentation of 4 and of 5 versions, by hand from the single versions' probabilities") {
  Learner learn = trained();
  const Stripes plain(13, 2), shifted(13, 2, true);
  const auto probability = [](const Evaluation& evaluation, std::size_t i) {
    return static_cast<double>(evaluation.predictions[i].probabilities[0]);
  };
  const Evaluation unmoved = learn.evaluate(plain);
  std::vector<Evaluation> versions;
  for (std::int64_t v = 0; v < 5; ++v)
    versions.push_back(learn.evaluate(Version(13, 2, tests::small_options().seed, v)));
  const Evaluation four = learn.evaluate(plain, shifted, 4), five = learn.evaluate(plain, shifted, 5);
  double most = 0;
  for (std::size_t i = 0; i < 13; ++i) {
    CAPTURE(i);
    double sum = 0;
    for (std::size_t v = 0; v < 4; ++v) sum += probability(versions[v], i);
    const double p = probability(unmoved, i), of_four = (p + sum) / 5,
                 of_five = (2 * p + sum + probability(versions[4], i)) / 7;
    CHECK(std::abs(probability(four, i) - of_four) < 1e-6);
    CHECK(std::abs(probability(five, i) - of_five) < 1e-6);
    // Far from what the plain picture would make of it once, so that a wrong weight is seen.
    most = std::max(most, std::abs(of_five - (p + sum + probability(versions[4], i)) / 6));
  }
  CHECK(most > 1e-4);
}

TEST_CASE(
    "test-time augmentation is the mean of probabilities, the plain picture counting once for every four versions") {
  Learner learn = trained();
  const Stripes plain(13, 2), shifted(13, 2, true);
  const Evaluation once = learn.evaluate(plain, shifted, 1), four = learn.evaluate(plain, shifted, 4);
  const Evaluation none = learn.evaluate(plain), again = learn.evaluate(plain, shifted, 4);
  CHECK(learn.evaluate(plain, shifted, 0).loss == none.loss);
  // Of one version the augmented half follows: 2 mean - plain.
  bool moved = false;
  for (std::size_t i = 0; i < 13; ++i) {
    const float p = none.predictions[i].probabilities[0], q = once.predictions[i].probabilities[0];
    CHECK(2 * q - p >= -1e-6f);
    CHECK(2 * q - p <= 1 + 1e-6f);
    moved |= std::abs(q - p) > 1e-4;
    CHECK(four.predictions[i].probabilities == again.predictions[i].probabilities);
    CHECK(four.predictions[i].path == none.predictions[i].path);
    CHECK(four.predictions[i].probabilities[0] + four.predictions[i].probabilities[1] == doctest::Approx(1));
  }
  CHECK(moved);
  double loss = 0;
  for (const Prediction& one : four.predictions)
    loss -= std::log(static_cast<double>(one.probabilities[static_cast<std::size_t>(one.label)])) / 13;
  CHECK(four.loss == doctest::Approx(loss).epsilon(1e-6));
  // An augmented set that changes nothing changes nothing.
  const Evaluation same = learn.evaluate(plain, plain, 3);
  for (std::size_t i = 0; i < 13; ++i)
    CHECK(same.predictions[i].probabilities[0] == doctest::Approx(none.predictions[i].probabilities[0]).epsilon(1e-6));
  CHECK_THROWS_WITH_AS(learn.evaluate(plain, Stripes(5, 2), 2), doctest::Contains("their number differs"), Error);
}
