// Schedules against torch's own numbers (fixtures/torch_schedules.json, by make_torch_schedules.py), and by hand.

#include "optim/schedule.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "kernels/error.h"

using namespace weft;

namespace {

bool near(double got, double wanted) {
  return std::abs(got - wanted) <= 1e-12 + 1e-9 * std::abs(wanted);
}

PolicyOptions options_of(const nlohmann::json& json) {
  PolicyOptions options;
  const std::map<std::string, double*> fields = {{"warmup", &options.warmup},
                                                 {"cycle_len", &options.cycle_len},
                                                 {"step_size", &options.step_size},
                                                 {"gamma", &options.gamma},
                                                 {"power", &options.power},
                                                 {"lr_min", &options.lr_min},
                                                 {"lr_base", &options.lr_base},
                                                 {"pct_start", &options.pct_start},
                                                 {"div", &options.div},
                                                 {"final_div", &options.final_div},
                                                 {"momentum_range", &options.momentum_range}};
  for (const auto& [name, value] : json.items()) {
    if (name == "cycle_mult") {
      options.cycle_mult = value;
    } else {
      *fields.at(name) = value;
    }
  }
  return options;
}

}  // namespace

TEST_CASE("every policy says at each step what torch's scheduler says") {
  std::ifstream file(WEFT_FIXTURES "/torch_schedules.json");
  const nlohmann::json entries = nlohmann::json::parse(file);
  std::set<std::string> policies;
  for (const auto& entry : entries) {
    CAPTURE(entry["torch"].get<std::string>());
    const std::int64_t steps = entry["steps"];
    REQUIRE(static_cast<std::int64_t>(entry["rows"].size()) == steps);
    const Schedule schedule = make_schedule(entry["policy"], {.lr = entry["lr"],
                                                              .momentum = entry["momentum"],
                                                              .steps_per_epoch = entry["steps_per_epoch"],
                                                              .policy_options = options_of(entry["options"])});
    for (std::int64_t step = 0; step < steps; ++step) {
      CAPTURE(step);
      const double lr = entry["rows"][static_cast<std::size_t>(step)][0],
                   momentum = entry["rows"][static_cast<std::size_t>(step)][1];
      const Rates rates = schedule(step, steps);
      CHECK(std::abs(rates.lr - lr) <= 1e-8 * lr + 1e-12);
      CHECK(std::abs((rates.momentum < 0 ? double(entry["momentum"]) : rates.momentum) - momentum) <= 1e-8);
    }
    policies.insert(entry["policy"]);
  }
  for (const std::string& policy : weft::schedule_names()) CHECK_MESSAGE(policies.contains(policy), policy);
}

TEST_CASE("a schedule is a function of the step alone: asked backwards it says the same") {
  for (const std::string& policy : weft::schedule_names()) {
    CAPTURE(policy);
    const Schedule schedule =
        make_schedule(policy, {.lr = 0.1, .steps_per_epoch = 4, .policy_options = {.warmup = 0.5, .cycle_mult = 2}});
    std::vector<double> forwards;
    for (int step = 0; step < 30; ++step) forwards.push_back(schedule(step, 30).lr);
    for (int step = 29; step >= 0; --step) CHECK(schedule(step, 30).lr == forwards[static_cast<std::size_t>(step)]);
    for (const double lr : forwards) CHECK((lr >= 0 && lr <= 0.1 * (1 + 1e-12)));
    // Two steps of warm-up, and then what a run of 28 steps starts with.
    const double start = make_schedule(policy, {.lr = 0.1, .steps_per_epoch = 4})(0, 28).lr;
    CHECK(near(forwards[0], start / 3));
    CHECK(near(forwards[1], start * 2 / 3));
    CHECK(near(forwards[2], start));
  }
}

TEST_CASE("a warm-up may be longer than the run") {
  const Schedule schedule = make_schedule("one-cycle", {.lr = 0.1, .policy_options = {.warmup = 50}});
  for (int step = 1; step < 10; ++step) CHECK(schedule(step, 10).lr > schedule(step - 1, 10).lr);
}

TEST_CASE("one-cycle in a single step ends where it should") {
  CHECK(near(make_schedule("one-cycle", {.lr = 0.1, .momentum = 0.95})(0, 1).lr, 4e-07));
}

TEST_CASE("sgdr restarts where the lesson's cycles end") {
  const Schedule schedule =
      make_schedule("sgdr", {.lr = 0.01, .steps_per_epoch = 10, .policy_options = {.cycle_mult = 2}});
  for (const int restart : {0, 10, 30, 70, 150}) {
    CAPTURE(restart);
    CHECK(schedule(restart, 150).lr == doctest::Approx(0.01).epsilon(1e-12));
    if (restart > 0) CHECK(schedule(restart - 1, 150).lr < 0.01 * 0.03);
  }
}

TEST_CASE("a length beyond any run is one that does not end in it") {
  const PolicyOptions endless = {.cycle_len = 1e300, .step_size = 1e300};
  const Schedule step = make_schedule("step", {.lr = 0.1, .steps_per_epoch = 4, .policy_options = endless}),
                 sgdr = make_schedule("sgdr", {.lr = 0.1, .steps_per_epoch = 4, .policy_options = endless});
  CHECK(step(99, 100).lr == 0.1);
  CHECK(near(sgdr(99, 100).lr, 0.1));
}

TEST_CASE("exp-range without a gamma comes down to a tenth over the run") {
  const ScheduleOptions options = {.lr = 0.1, .steps_per_epoch = 10, .policy_options = {.step_size = 1, .lr_base = 0}};
  const Schedule exp_range = make_schedule("exp-range", options), triangular = make_schedule("triangular", options);
  CHECK(exp_range(90, 100).lr == doctest::Approx(triangular(90, 100).lr * std::pow(0.1, 0.9)));
}

TEST_CASE("options out of range are refused by name") {
  const auto refused = [](const PolicyOptions& options, const char* name) {
    CHECK_THROWS_WITH_AS(make_schedule("constant", {.policy_options = options}), doctest::Contains(name), UsageError);
  };
  refused({.warmup = -1}, "warmup");
  refused({.cycle_len = 0}, "cycle-len");
  refused({.cycle_mult = 0}, "cycle-mult");
  refused({.step_size = std::nan("")}, "step-size");
  const double infinity = std::numeric_limits<double>::infinity();
  refused({.warmup = infinity}, "warmup is inf");
  refused({.cycle_len = infinity}, "cycle-len is inf");
  refused({.step_size = infinity}, "step-size is inf");
  refused({.power = infinity}, "power is inf");
  refused({.div = infinity}, "div is inf");
  refused({.final_div = infinity}, "final-div is inf");
  refused({.gamma = 1.5}, "gamma");
  refused({.power = 0}, "power");
  refused({.lr_min = 2}, "lr-min");
  refused({.lr_base = -0.1}, "lr-base");
  refused({.pct_start = 1}, "pct-start");
  refused({.div = 0.5}, "div is 0.5");
  refused({.final_div = 0}, "final-div");
  refused({.momentum_range = 3}, "momentum-range");
}

TEST_CASE("options as text: those that are not the default") {
  CHECK(to_string(PolicyOptions{}) == "");
  CHECK(to_string(PolicyOptions{.warmup = 0.5, .cycle_mult = 2}) == " warmup 0.5 cycle_mult 2");
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
    make_schedule("sgdl", {});
    FAIL("no error");
  } catch (const weft::UsageError& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(message.find("'sgdl'") != std::string::npos);
    for (const auto& name : weft::schedule_names()) CHECK(message.find(name) != std::string::npos);
  }
  CHECK(weft::schedule_names().size() == 9);
}
