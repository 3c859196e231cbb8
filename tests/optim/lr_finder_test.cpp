// The learning-rate range test without the training: rates, smoothing, divergence, suggestions.

#include "optim/lr_finder.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/error.h"

using namespace weft;

namespace {

/// A curve over 100 rates from 1e-7 to 10: flat, a fall around 1e-3, flat, and up from 1e-1 on.
LrCurve sweep_of_a_valley() {
  LrCurve curve;
  for (int step = 0; step < 100; ++step) {
    const double lr = lr_at({}, step), x = std::log10(lr);
    const double loss = 1 - 0.8 / (1 + std::exp(-4 * (x + 3))) + (x > -1 ? 4 * (x + 1) * (x + 1) : 0);
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

TEST_CASE("a sweep that makes no sense is refused") {
  CHECK_THROWS_AS(check(LrSweep{.lowest = 0}), UsageError);
  CHECK_THROWS_AS(check(LrSweep{.lowest = 1, .highest = 0.1}), UsageError);
  CHECK_THROWS_AS(check(LrSweep{.highest = std::numeric_limits<double>::infinity()}), UsageError);
  CHECK_THROWS_AS(check(LrSweep{.steps = 9}), UsageError);
}
