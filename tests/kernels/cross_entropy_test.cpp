// Softmax and cross-entropy where naive formulas break: huge logits, minus infinity, NaN, and labels that do not exist.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/ops.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_CASE("cross-entropy: huge logits neither overflow nor underflow") {
  // Row 0: the right class leads by 2000, loss 0. Row 1: the wrong one does, loss 2000.
  const Values logits = {1000, -1000, -1000, 1000};
  call_every_rung("cross_entropy", {{2, 2}}, {logits, {0, 0}, Values(1), Values(2)},
                  [&](const std::vector<Values>& results) {
                    CHECK(results[2][0] == 1000);
                    CHECK(results[3] == Values{1000, 1000});
                  });
  call_every_rung("cross_entropy_backward", {{2, 2}}, {{1}, logits, {0, 0}, {1000, 1000}, Values(4)},
                  [&](const std::vector<Values>& results) {
                    CHECK(results[4] == Values{0, 0, -0.5, 0.5});
                  });
  call_every_rung("cross_entropy_forward_backward", {{2, 2}}, {{1}, logits, {0, 0}, Values(1), Values(4)},
                  [&](const std::vector<Values>& results) {
                    CHECK(results[3][0] == 1000);
                    CHECK(results[4] == Values{0, 0, -0.5, 0.5});
                  });
}

TEST_CASE("cross-entropy: of a single class there is nothing to lose") {
  call_every_rung("cross_entropy", {{2, 1}}, {{3, -4}, {0, 0}, Values(1), Values(2)},
                  [](const std::vector<Values>& results) {
                    CHECK(results[2][0] == 0);
                    CHECK(results[3] == Values{3, -4});
                  });
  call_every_rung("cross_entropy_forward_backward", {{2, 1}}, {{1}, {3, -4}, {0, 0}, Values(1), Values(2)},
                  [](const std::vector<Values>& results) {
                    CHECK(results[3][0] == 0);
                    CHECK(results[4] == Values{0, 0});
                  });
  call_every_rung("cross_entropy_soft", {{2, 1}}, {{3, -4}, {1, 1}, Values(1), Values(2)},
                  [](const std::vector<Values>& results) {
                    CHECK(results[2][0] == 0);
                    CHECK(results[3] == Values{3, -4});
                  });
}

TEST_CASE("cross-entropy: a label outside the classes makes the loss and its row NaN, and reads nothing") {
  for (const double label : {-1.0, 3.0, 1e9}) {
    call_every_rung("cross_entropy", {{2, 3}}, {{1, 2, 3, 4, 5, 6}, {1, label}, Values(1), Values(2)},
                    [&](const std::vector<Values>& results) {
                      CHECK(std::isnan(results[2][0]));
                      CHECK(std::isfinite(results[3][1]));
                    });
    call_every_rung("cross_entropy_backward", {{2, 3}}, {{1}, {1, 2, 3, 4, 5, 6}, {1, label}, {3.4, 6.4}, Values(6)},
                    [&](const std::vector<Values>& results) {
                      for (int i = 0; i < 6; ++i) CHECK(std::isnan(results[4][i]) == (i >= 3));
                    });
    call_every_rung("cross_entropy_forward_backward", {{2, 3}},
                    {{1}, {1, 2, 3, 4, 5, 6}, {1, label}, Values(1), Values(6)},
                    [&](const std::vector<Values>& results) {
                      CHECK(std::isnan(results[3][0]));
                      for (int i = 0; i < 6; ++i) CHECK(std::isnan(results[4][i]) == (i >= 3));
                    });
  }
}

TEST_CASE("cross-entropy with shares: at the ends of float32 every rung says the same") {
  const auto loss_of = [](const Values& logits, const Values& shares, const auto& check) {
    const auto C = static_cast<std::int64_t>(logits.size());
    call_every_rung("cross_entropy_soft", {{1, C}}, {logits, shares, Values(1), Values(1)},
                    [&](const std::vector<Values>& results) { check(results[2][0], results[3][0]); });
  };
  loss_of({1000, -1000}, {0.5, 0.5}, [](double loss, double lse) {
    CHECK(loss == 1000);
    CHECK(lse == 1000);
  });
  // Further from the lowest float than a float reaches: what is gathered while the maximum grows starts from there.
  const double large = static_cast<float>(3e38);
  loss_of({large, large}, {0.5, 0.5}, [&](double loss, double lse) {
    CHECK(loss == 0);
    CHECK(lse == large);
  });
  // A row of which the threads of a block meet two parts, the second 500 above the first.
  Values rising(1500, 0), shares(1500, 1);
  std::fill(rising.begin() + 1024, rising.end(), 500);
  const double lse_rising = 500 + std::log(1500 - 1024);
  loss_of(rising, shares, [&](double loss, double lse) {
    CHECK(std::abs(lse - lse_rising) <= 1e-4);
    CHECK(std::abs(loss - (1500 * lse_rising - 476 * 500.0)) <= 20);  // of 521 thousand, in 1500 additions
  });
  loss_of({0, -kInfinity}, {0.5, 0.5}, [](double loss, double lse) {
    CHECK(loss == kInfinity);
    CHECK(lse == 0);
  });
  loss_of({0, -kInfinity}, {1, 0}, [](double loss, double) { CHECK(std::isnan(loss)); });  // 0 times infinity
  loss_of({0, kNaN}, {1, 0}, [](double loss, double) { CHECK(std::isnan(loss)); });
  loss_of({0, 0}, {kNaN, 0}, [](double loss, double) { CHECK(std::isnan(loss)); });
}

TEST_CASE("softmax: minus infinity is a probability of 0, a NaN spoils its own row alone") {
  const Values x = {0, -kInfinity, 0, kNaN, 1, 2, 5, 5, -kInfinity};
  call_every_rung("softmax", {{3, 3}}, {x, Values(9)}, [&](const std::vector<Values>& results) {
    for (const int i : {0, 2, 6, 7}) CHECK(results[1][i] == 0.5);
    for (const int i : {1, 8}) CHECK(results[1][i] == 0);
    for (const int i : {3, 4, 5}) CHECK(std::isnan(results[1][i]));
  });
  call_every_rung("log_softmax", {{3, 3}}, {x, Values(9)}, [&](const std::vector<Values>& results) {
    for (const int i : {0, 2, 6, 7}) CHECK(std::abs(results[1][i] + std::log(2.0)) <= 1e-7);
    for (const int i : {1, 8}) CHECK(results[1][i] == -kInfinity);
    for (const int i : {3, 4, 5}) CHECK(std::isnan(results[1][i]));
  });
  const Values lowest(40, -kInfinity);
  call_every_rung("softmax", {{1, 40}}, {lowest, Values(40)}, [&](const std::vector<Values>& results) {
    for (const double y : results[1]) CHECK(std::isnan(y));  // as torch's
  });
}

}  // namespace
}  // namespace weft::test
