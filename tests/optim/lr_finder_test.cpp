// The learning-rate range test without the training: rates, smoothing, divergence, suggestions.

#include "optim/lr_finder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/error.h"

using namespace weft;

namespace {

/// A curve over 100 rates from 1e-7 to 10: flat, a fall around 10^`fall`, flat, and up from 100 times that on.
LrCurve sweep_of_a_valley(double fall = -3) {
  LrCurve curve;
  for (int step = 0; step < 100; ++step) {
    const double lr = lr_at({}, step), x = std::log10(lr), up = x - fall - 2;
    const double loss = 1 - 0.8 / (1 + std::exp(-4 * (x - fall))) + (up > 0 ? 4 * up * up : 0);
    if (!curve.add(lr, loss)) break;
  }
  return curve;
}

}  // namespace

TEST_CASE("a sweep goes from the lowest rate to the highest, by factors or by differences") {
  const LrSweep factors{.lowest = 1e-4, .highest = 1, .steps = 13};
  CHECK(lr_at(factors, 0) == doctest::Approx(1e-4));
  CHECK(lr_at(factors, 6) == doctest::Approx(1e-2));
  CHECK(lr_at(factors, 12) == doctest::Approx(1));
  const LrSweep differences{.lowest = 1, .highest = 13, .steps = 13, .linear = true};
  for (int step = 0; step < 13; ++step) CHECK(lr_at(differences, step) == doctest::Approx(1 + step));
}

TEST_CASE("the smoothed loss makes up for its start, and four times the lowest has diverged") {
  LrCurve curve;
  CHECK(curve.add(0.1, 2));
  CHECK(curve.add(0.2, 4));
  CHECK(curve.points()[0].smooth == doctest::Approx(2));
  // (0.98 * 0.02 * 2 + 0.02 * 4) / (1 - 0.98^2)
  CHECK(curve.points()[1].smooth == doctest::Approx(0.1192 / 0.0396));
  CHECK_FALSE(curve.add(0.3, 1000));
  CHECK(curve.points().size() == 3);
  CHECK_FALSE(curve.add(0.4, std::numeric_limits<double>::quiet_NaN()));
  CHECK_FALSE(curve.add(0.4, std::numeric_limits<double>::infinity()));
  CHECK(curve.points().size() == 3);
}

TEST_CASE("suggestions lie on the way down, and a tenth of the lowest before it") {
  const LrCurve curve = sweep_of_a_valley();
  const LrSuggestions s = suggest(curve.points());
  REQUIRE(s.valley);
  CHECK(*s.steepest > 1e-4);
  CHECK(*s.steepest < 1e-1);
  CHECK(*s.valley > 1e-5);
  CHECK(*s.valley < 1e-1);
  CHECK(*s.minimum_over_10 > 1e-3);
  CHECK(*s.minimum_over_10 < 1e-1);
  CHECK_FALSE(suggest(std::span(curve.points()).first(15)).valley);
}

TEST_CASE("the proposal is halfway from the steepest place to a tenth of the lowest, and moves with the curve") {
  double former = 0;
  for (const double fall : {-4.0, -3.0, -2.5}) {
    CAPTURE(fall);
    const LrSuggestions s = suggest(sweep_of_a_valley(fall).points());
    REQUIRE(s.proposed);
    CHECK(*s.steepest < *s.minimum_over_10);
    CHECK(std::log(*s.proposed) == doctest::Approx((std::log(*s.steepest) + std::log(*s.minimum_over_10)) / 2));
    // Where the fall is, or somewhat beyond: the moving average is late.
    CHECK(*s.proposed > std::pow(10, fall));
    CHECK(*s.proposed < std::pow(10, fall + 2));
    CHECK(*s.proposed > former);
    former = *s.proposed;
    const std::vector<NamedRate> all = listed(s);
    REQUIRE(all.size() == 4);
    CHECK(std::string(all[0].name) == "proposed");
    CHECK(all[0].lr == *s.proposed);
  }
}

TEST_CASE("nothing is proposed of a loss that does not fall before it rises, nor of a few points") {
  // Flat with a little noise, lowest near the start: the steepest place is not below a tenth of that.
  std::vector<LrPoint> flat;
  for (int step = 0; step < 60; ++step) {
    const double lr = lr_at({.steps = 60}, step), loss = 1 + 0.01 * step + (step % 7 == 3 ? -0.02 : 0);
    flat.push_back({lr, loss, loss});
  }
  const LrSuggestions s = suggest(flat);
  REQUIRE(s.steepest);
  CHECK(*s.steepest >= *s.minimum_over_10);
  CHECK_FALSE(s.proposed);
  CHECK(listed(s).size() == 3);
  CHECK(std::string(listed(s)[0].name) == "valley");
  CHECK(listed(suggest(std::span(flat).first(15))).empty());
}

TEST_CASE("a sweep that makes no sense is refused") {
  CHECK_THROWS_AS(check(LrSweep{.lowest = 0}), UsageError);
  CHECK_THROWS_AS(check(LrSweep{.lowest = 1, .highest = 0.1}), UsageError);
  CHECK_THROWS_AS(check(LrSweep{.highest = std::numeric_limits<double>::infinity()}), UsageError);
  CHECK_THROWS_AS(check(LrSweep{.steps = 9}), UsageError);
}
