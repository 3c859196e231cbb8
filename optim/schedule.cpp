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

Rates constant_at(const ScheduleOptions& options, std::int64_t, std::int64_t) {
  return {options.lr};
}

Rates step_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  // In integers: 3.0 * step / total could land just below a whole number.
  return {options.lr * std::pow(0.1, static_cast<double>(3 * step / total))};
}

Rates triangular_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  constexpr double kBase = 0.25, kHalfCycleEpochs = 2;
  const double half_cycle =
      std::max(1.0, std::min(kHalfCycleEpochs * static_cast<double>(options.steps_per_epoch), 0.5 * double(total)));
  const double t = static_cast<double>(step);
  const double cycle = std::floor(1 + t / (2 * half_cycle));
  const double x = std::abs(t / half_cycle - 2 * cycle + 1);
  const double base = kBase * options.lr;
  return {base + (options.lr - base) * std::max(0.0, 1 - x)};
}

/// From `a` at fraction 0 to `b` at fraction 1 along half a cosine.
double cosine_between(double a, double b, double fraction) {
  return b + (a - b) * 0.5 * (1 + std::cos(std::numbers::pi * fraction));
}

Rates one_cycle_at(const ScheduleOptions& options, std::int64_t step, std::int64_t total) {
  constexpr double kWarmUp = 0.3, kStartDivisor = 25, kFinalDivisor = 1e4, kMomentumRange = 0.1;
  const double high = options.momentum, low = std::max(0.0, high - kMomentumRange);
  const double first = options.lr / kStartDivisor, last = first / kFinalDivisor;
  // Where the rise ends, in steps: torch counts the first step as 0, so phases end one before their length.
  const double top = kWarmUp * static_cast<double>(total) - 1, end = static_cast<double>(total - 1);
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
    {"triangular", triangular_at},
    {"one-cycle", one_cycle_at},
};

}  // namespace

Schedule make_schedule(const std::string& policy, const ScheduleOptions& options) {
  for (const Policy& known : kPolicies)
    if (policy == known.name)
      return [at = known.at, options](std::int64_t step, std::int64_t total) { return at(options, step, total); };
  throw UsageError(
      fmt::format("there is no learning-rate policy '{}'; there are {}", policy, fmt::join(schedule_names(), ", ")));
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const Policy& policy : kPolicies) names.emplace_back(policy.name);
  return names;
}

}  // namespace weft
