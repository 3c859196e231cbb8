// Schedules against torch's own numbers (torch 1.13: OneCycleLR and CyclicLR), and by hand.

#include "optim/schedule.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/error.h"

using weft::make_schedule;
using weft::Rates;

namespace {

struct Row {
  double lr, momentum;
};

// OneCycleLR(max_lr=0.1, total_steps=20, base_momentum=0.85, max_momentum=0.95)
constexpr Row kOneCycle20[] = {
    {0.0040000000000000036, 0.95},
    {0.013167184270002533, 0.9404508497187474},
    {0.037167184270002526, 0.9154508497187474},
    {0.06683281572999747, 0.8845491502812526},
    {0.09083281572999748, 0.8595491502812526},
    {0.1, 0.85},
    {0.09874640062350874, 0.8512536043909088},
    {0.09504846320134738, 0.854951556604879},
    {0.089091617757105, 0.8609084258765984},
    {0.0811745653949763, 0.8688255099070633},
    {0.07169430017913009, 0.878305813044122},
    {0.06112620219362893, 0.8888739533021842},
    {0.0500002, 0.8999999999999999},
    {0.03887419780637107, 0.9111260466978157},
    {0.028306099820869922, 0.9216941869558779},
    {0.0188258346050237, 0.9311744900929366},
    {0.010908782242895003, 0.9390915741234015},
    {0.004951936798652629, 0.945048443395121},
    {0.0012539993764912555, 0.9487463956090911},
    {4e-07, 0.95},
};

constexpr Row kOneCycle7[] = {
    {0.0040000000000000036, 0.95},
    {0.09805566273349588, 0.8520253513192751},
    {0.09190443762697106, 0.858095594755408},
    {0.06726838364805451, 0.8827317472789346},
    {0.035773877573965704, 0.9142263793315516},
    {0.00992967918932656, 0.9400706810933978},
    {4e-07, 0.95},
};

bool near(double got, double wanted) {
  return std::abs(got - wanted) <= 1e-12 + 1e-9 * std::abs(wanted);
}

}  // namespace

TEST_CASE("one-cycle is torch's OneCycleLR") {
  const auto schedule = make_schedule("one-cycle", {.lr = 0.1, .momentum = 0.95, .steps_per_epoch = 5});
  for (int step = 0; step < 20; ++step) {
    CAPTURE(step);
    const Rates rates = schedule(step, 20);
    CHECK(near(rates.lr, kOneCycle20[step].lr));
    CHECK(near(rates.momentum, kOneCycle20[step].momentum));
  }
  for (int step = 0; step < 7; ++step) {
    CAPTURE(step);
    const Rates rates = schedule(step, 7);
    CHECK(near(rates.lr, kOneCycle7[step].lr));
    CHECK(near(rates.momentum, kOneCycle7[step].momentum));
  }
  CHECK(near(schedule(0, 1).lr, 4e-07));
}

TEST_CASE("momentum at 0 stays there") {
  const auto schedule = make_schedule("one-cycle", {.lr = 0.1, .momentum = 0, .steps_per_epoch = 5});
  for (int step = 0; step < 10; ++step) CHECK(schedule(step, 10).momentum == 0);
}

TEST_CASE("triangular is Smith's, as torch's CyclicLR computes it") {
  // CyclicLR(base_lr=0.025, max_lr=0.1, step_size_up=8): two epochs of four steps.
  const auto schedule = make_schedule("triangular", {.lr = 0.1, .steps_per_epoch = 4});
  for (int step = 0; step < 40; ++step) {
    CAPTURE(step);
    const int in_cycle = step % 16;
    const double height = in_cycle <= 8 ? in_cycle / 8.0 : (16 - in_cycle) / 8.0;
    CHECK(near(schedule(step, 40).lr, 0.025 + 0.075 * height));
    CHECK(schedule(step, 40).momentum < 0);
  }
  // A run too short for that holds one whole cycle.
  CHECK(near(schedule(0, 6).lr, 0.025));
  CHECK(near(schedule(3, 6).lr, 0.1));
  CHECK(near(schedule(5, 6).lr, 0.05));
}

TEST_CASE("step takes a tenth after each third") {
  const auto schedule = make_schedule("step", {.lr = 0.2});
  for (int step = 0; step < 9; ++step) CHECK(near(schedule(step, 9).lr, 0.2 * std::pow(0.1, step / 3)));
  CHECK(near(schedule(9, 10).lr, 0.002));
}

TEST_CASE("constant") {
  const auto schedule = make_schedule("constant", {.lr = 0.03});
  CHECK(schedule(0, 100).lr == 0.03);
  CHECK(schedule(99, 100).lr == 0.03);
}

TEST_CASE("another policy's name lists those there are") {
  try {
    make_schedule("sgdr", {});
    FAIL("no error");
  } catch (const weft::UsageError& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(message.find("'sgdr'") != std::string::npos);
    for (const auto& name : weft::schedule_names()) CHECK(message.find(name) != std::string::npos);
  }
  CHECK(weft::schedule_names().size() == 4);
}
