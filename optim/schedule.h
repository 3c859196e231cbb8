#pragma once
// Learning-rate schedules: pure functions of the step.

#include <cstdint>
#include <functional>
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

/// The policies, with t = step, T = total, r = options.lr:
///
/// constant     lr = r.
/// step         lr = r 0.1^floor(3 t / T): a tenth after each third. Caffe's "step" with gamma 0.1 and its step size at
///              a third of the run (BVLC/caffe, solvers/sgd_solver.cpp).
/// triangular   lr = r/4 + (r - r/4) max(0, 1 - |t/s - 2 cycle + 1|), cycle = floor(1 + t / (2 s)): up and down between
///              a quarter of r and r. The half cycle s is two epochs, or half of the run where that is shorter, so that
///              at least one cycle is whole. Smith, "Cyclical Learning Rates for Training Neural Networks", 2015 (which
///              recommends a base of 1/4 to 1/3 and half cycles of 2 to 10 epochs).
/// one-cycle    from r/25 up to r over the first 0.3 T steps, then down to r/(25 10^4), both along half a cosine;
///              momentum goes the other way, between options.momentum and 0.1 less. torch's OneCycleLR with its
///              defaults (its 0.95 and 0.85 are what momentum = 0.95 gives). Smith, "A disciplined approach to neural
///              network hyper-parameters", 2018; the cosine is fastai's.
///
/// Throws UsageError listing those for any other name.
Schedule make_schedule(const std::string& policy, const ScheduleOptions& options);
std::vector<std::string> schedule_names();

}  // namespace weft
