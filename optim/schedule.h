#pragma once
// Learning-rate schedules: pure functions of the step.

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft {

/// What a schedule says for one step. `momentum` below 0: the optimiser's own.
struct Rates {
  double lr = 0;
  double momentum = -1;
};

/// Rates at `step` of `total` steps (both count mini-batches; 0 <= step < total). A user's own schedule is any such
/// function.
using Schedule = std::function<Rates(std::int64_t step, std::int64_t total)>;

struct ScheduleOptions {
  double lr = 0.01;       ///< the (largest) learning rate
  double momentum = 0.9;  ///< the (largest) momentum: one-cycle moves it inversely
  std::int64_t steps_per_epoch = 1;
};

/// constant, step, triangular, one-cycle. Throws UsageError listing those for any other name.
Schedule make_schedule(const std::string& policy, const ScheduleOptions& options);
std::vector<std::string> schedule_names();

}  // namespace weft
