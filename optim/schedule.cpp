#include "optim/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/error.h"

namespace weft {
namespace {

/// A length in epochs, in steps.
std::int64_t steps_of(double epochs, const ScheduleOptions& options) {
  constexpr double kMostSteps = 1e15;  // longer than any run, and no overflow
  return std::max<std::int64_t>(
      1, std::llround(std::min(kMostSteps, epochs * static_cast<double>(options.steps_per_epoch))));
}

/// From `a` at fraction 0 to `b` at fraction 1 along half a cosine.
double cosine_between(double a, double b, double fraction) {
  return b + (a - b) * 0.5 * (1 + std::cos(std::numbers::pi * fraction));
}

double part_of_run(std::int64_t step, std::int64_t total) {
  return static_cast<double>(step) / static_cast<double>(total);
}

Rates constant_at(const ScheduleOptions& options, std::int64_t, std::int64_t) {
  return {options.lr};
}

Rates step_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  const PolicyOptions& o = options.policy_options;
  // In integers: 3.0 * step / total could land just below a whole number.
  const std::int64_t drops = o.step_size > 0 ? step / steps_of(o.step_size, options) : 3 * step / total;
  return {options.lr * std::pow(o.gamma > 0 ? o.gamma : 0.1, static_cast<double>(drops))};
}

Rates poly_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  const PolicyOptions& o = options.policy_options;
  const double last = o.lr_min * options.lr;
  return {last + (options.lr - last) * std::pow(1 - part_of_run(step, total), o.power)};
}

Rates cosine_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  return {cosine_between(options.lr, options.policy_options.lr_min * options.lr, part_of_run(step, total))};
}

/// Smith's triangle at one step: how high between foot and top, and in which cycle (from 1).
struct Triangle {
  double height, cycle;
};

Triangle triangle_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  constexpr double kHalfCycleEpochs = 2;
  const double given = options.policy_options.step_size;
  const double half_cycle =
      given > 0 ? static_cast<double>(steps_of(given, options))
                : std::max(1.0, std::min(kHalfCycleEpochs * static_cast<double>(options.steps_per_epoch),
                                         0.5 * double(total)));
  const double t = static_cast<double>(step);
  const double cycle = std::floor(1 + t / (2 * half_cycle));
  return {std::max(0.0, 1 - std::abs(t / half_cycle - 2 * cycle + 1)), cycle};
}

/// The triangle with its height over the foot times `factor`.
Rates on_triangle(const ScheduleOptions& options, const Triangle& triangle, double factor) {
  const double base = options.policy_options.lr_base * options.lr;
  return {base + (options.lr - base) * triangle.height * factor};
}

Rates triangular_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  return on_triangle(options, triangle_at(options, step, total), 1);
}

Rates triangular2_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  const Triangle triangle = triangle_at(options, step, total);
  return on_triangle(options, triangle, std::pow(0.5, triangle.cycle - 1));
}

Rates exp_range_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  const double gamma = options.policy_options.gamma;
  const double factor =
      gamma > 0 ? std::pow(gamma, static_cast<double>(step)) : std::pow(0.1, part_of_run(step, total));
  return on_triangle(options, triangle_at(options, step, total), factor);
}

Rates sgdr_at(const ScheduleOptions& options, std::int64_t step, std::int64_t) {
  const PolicyOptions& o = options.policy_options;
  std::int64_t length = steps_of(o.cycle_len, options), since_restart = step;
  if (o.cycle_mult == 1) since_restart %= length;
  for (; since_restart >= length; length *= o.cycle_mult) since_restart -= length;
  return {cosine_between(options.lr, o.lr_min * options.lr, part_of_run(since_restart, length))};
}

Rates one_cycle_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  const PolicyOptions& o = options.policy_options;
  const double high = options.momentum, low = std::max(0.0, high - o.momentum_range);
  const double first = options.lr / o.div, last = first / o.final_div;
  // Where the rise ends, in steps: torch counts the first step as 0, so phases end one before their length.
  const double top = o.pct_start * static_cast<double>(total) - 1, end = static_cast<double>(total - 1);
  const double t = static_cast<double>(step);
  if (top > 0 && t <= top) {
    const double fraction = t / top;
    return {cosine_between(first, options.lr, fraction), cosine_between(high, low, fraction)};
  }
  const double fraction = (t - top) / (end - top);
  return {cosine_between(options.lr, last, fraction), cosine_between(low, high, fraction)};
}

struct Policy {
  const char* name;
  Rates (*at)(const ScheduleOptions& options, std::int64_t step, std::int64_t total);
};

constexpr Policy kPolicies[] = {
    {"constant", constant_at},
    {"step", step_at},
    {"poly", poly_at},
    {"cosine", cosine_at},
    {"triangular", triangular_at},
    {"triangular2", triangular2_at},
    {"exp-range", exp_range_at},
    {"sgdr", sgdr_at},
    {"one-cycle", one_cycle_at},
};

/// Refuses options that no curve can have, NaN and infinity among them.
void check(const PolicyOptions& o) {
  const auto want = [](bool holds, const char* name, double value, const char* range) {
    if (!holds || !std::isfinite(value))
      throw UsageError(fmt::format("schedule: {} is {}, and must be {}", name, value, range));
  };
  want(o.warmup >= 0, "warmup", o.warmup, "a number of epochs from 0");
  want(o.cycle_len > 0, "cycle-len", o.cycle_len, "a number of epochs above 0");
  want(o.cycle_mult >= 1, "cycle-mult", o.cycle_mult, "1 or more");
  want(o.step_size >= 0, "step-size", o.step_size, "a number of epochs from 0");
  want(o.gamma >= 0 && o.gamma <= 1, "gamma", o.gamma, "from 0 to 1");
  want(o.power > 0, "power", o.power, "a number above 0");
  want(o.lr_min >= 0 && o.lr_min <= 1, "lr-min", o.lr_min, "a part of the rate, from 0 to 1");
  want(o.lr_base >= 0 && o.lr_base <= 1, "lr-base", o.lr_base, "a part of the rate, from 0 to 1");
  want(o.pct_start >= 0 && o.pct_start < 1, "pct-start", o.pct_start, "a part of the run, from 0 to below 1");
  want(o.div >= 1, "div", o.div, "a number from 1");
  want(o.final_div >= 1, "final-div", o.final_div, "a number from 1");
  want(o.momentum_range >= 0 && o.momentum_range <= 1, "momentum-range", o.momentum_range, "from 0 to 1");
}

/// Every option by its name.
template <class Visit>
void for_each_option(const PolicyOptions& o, Visit&& visit) {
  visit("warmup", o.warmup);
  visit("cycle_len", o.cycle_len);
  visit("cycle_mult", o.cycle_mult);
  visit("step_size", o.step_size);
  visit("gamma", o.gamma);
  visit("power", o.power);
  visit("lr_min", o.lr_min);
  visit("lr_base", o.lr_base);
  visit("pct_start", o.pct_start);
  visit("div", o.div);
  visit("final_div", o.final_div);
  visit("momentum_range", o.momentum_range);
}

}  // namespace

std::string to_string(const PolicyOptions& options) {
  std::vector<double> defaults;
  for_each_option(PolicyOptions{}, [&](const char*, double value) { defaults.push_back(value); });
  std::string text;
  auto standard = defaults.begin();
  for_each_option(options, [&](const char* name, double value) {
    if (value != *standard++) text += fmt::format(" {} {}", name, value);
  });
  return text;
}

Schedule make_schedule(const std::string& policy, const ScheduleOptions& options) {
  const auto known = std::find_if(std::begin(kPolicies), std::end(kPolicies),
                                  [&policy](const Policy& candidate) { return policy == candidate.name; });
  if (known == std::end(kPolicies))
    throw UsageError(
        fmt::format("there is no learning-rate policy '{}'; there are {}", policy, fmt::join(schedule_names(), ", ")));
  check(options.policy_options);
  Schedule schedule = [at = known->at, options](std::int64_t step, std::int64_t total) {
    return at(options, step, total);
  };
  if (options.policy_options.warmup == 0) return schedule;
  return with_warmup(std::move(schedule), steps_of(options.policy_options.warmup, options));
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const Policy& policy : kPolicies) names.emplace_back(policy.name);
  return names;
}

Schedule with_warmup(Schedule schedule, std::int64_t steps) {
  return [schedule = std::move(schedule), steps](std::int64_t step, std::int64_t total) {
    // A run may end before its warm-up does.
    const std::int64_t rest = std::max<std::int64_t>(total - steps, 1);
    if (step >= steps) return schedule(step - steps, rest);
    Rates rates = schedule(0, rest);
    rates.lr *= static_cast<double>(step + 1) / static_cast<double>(steps + 1);
    return rates;
  };
}

}  // namespace weft
