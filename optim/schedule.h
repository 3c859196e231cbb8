#pragma once
// Learning-rate schedules: pure functions of the step.
//
// What a schedule says is the rate of the parameter group that learns fastest. The others go with it in proportion
// (SgdGroup::lr_factor): with rates of 1e-4, 1e-3 and 1e-2, cosine's way down to 0 is that of all three.

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

/// What shapes a policy's curve. Lengths are in epochs, rates are parts of the largest, so that a curve that was good
/// for one batch size and rate can be taken to another.
struct PolicyOptions {
  double warmup = 0;       ///< epochs of linear warm-up before any policy
  double cycle_len = 1;    ///< sgdr: epochs of the first cycle
  int cycle_mult = 1;      ///< sgdr: each cycle is so many times as long as the one before
  double step_size = 0;    ///< step: epochs to the next step; triangular*, exp-range: of half a cycle; 0: see there
  double gamma = 0;        ///< step: factor at each step; exp-range: at each mini-batch; 0: see there
  double power = 1;        ///< poly: exponent
  double lr_min = 0;       ///< poly, cosine, sgdr: where they come down to, as a part of the rate
  double lr_base = 0.25;   ///< triangular*, exp-range: the foot, as a part of the rate
  double pct_start = 0.3;  ///< one-cycle: part of the run in which the rate rises
  double div = 25;         ///< one-cycle: it starts at the rate over this
  double final_div = 1e4;  ///< one-cycle: it ends at its start over this
  double momentum_range = 0.1;  ///< one-cycle: how far momentum falls while the rate rises
};

/// " cycle_mult 2 lr_min 0.01": those that are not the default; empty where all are.
std::string to_string(const PolicyOptions& options);

struct ScheduleOptions {
  double lr = 0.01;       ///< the (largest) learning rate
  double momentum = 0.9;  ///< the (largest) momentum: one-cycle moves it inversely
  std::int64_t steps_per_epoch = 1;
  PolicyOptions policy_options = {};
};

/// The policies, with t = step, T = total, E = steps_per_epoch, r = options.lr, and the rest from PolicyOptions. A
/// length in epochs becomes the nearest number of steps, and at least one.
///
/// - constant: lr = r.
/// - step: lr = r gamma^floor(t / s), s = step_size E, gamma 0.1. Without a step_size s is a third of the run. Caffe's
///   "step" (BVLC/caffe, solvers/sgd_solver.cpp), torch's StepLR.
/// - poly: lr = m + (r - m) (1 - t / T)^power, m = lr_min r. Caffe's "poly", torch's PolynomialLR.
/// - cosine: lr = m + (r - m) (1 + cos(pi t / T)) / 2, m = lr_min r. Loshchilov and Hutter (see sgdr), with no
///   restart; torch's CosineAnnealingLR with T_max = T.
///
/// - triangular: lr = b + (r - b) max(0, 1 - |t / s - 2 cycle + 1|), cycle = floor(1 + t / (2 s)), b = lr_base r: up
///   and down between b and r. The half cycle is s = step_size E; without a step_size two epochs, or half of the run
///   where that is shorter, so that at least one cycle is whole. Smith, "Cyclical Learning Rates for Training Neural
///   Networks", 2015, which recommends a base of 1/4 to 1/3 and half cycles of 2 to 10 epochs; torch's CyclicLR.
/// - triangular2: the same, with r - b halved after each cycle: times 1 / 2^(cycle - 1). Smith, 2015; torch's CyclicLR.
/// - exp-range: the same as triangular, with r - b times gamma^t. Without a gamma it is 0.1^(1 / T), a tenth in all.
///   Smith, 2015; torch's CyclicLR.
///
/// - sgdr: lr = m + (r - m) (1 + cos(pi u / L)) / 2, m = lr_min r, u steps after the last restart, in cycles of
///   L = cycle_len E cycle_mult^i steps: from r down to m, then at once at r again. n cycles take
///   cycle_len (cycle_mult^n - 1) / (cycle_mult - 1) epochs: 1, 3, 7, 15 for 1 and 2. Loshchilov and Hutter, "SGDR:
///   Stochastic Gradient Descent with Warm Restarts", 2016; torch's CosineAnnealingWarmRestarts.
/// - one-cycle: lr = a + (r - a) (1 - cos(pi t / h)) / 2, a = r / div, up to step h = pct_start T - 1; then down to
///   e = a / final_div at the last step: lr = e + (r - e) (1 + cos(pi (t - h) / (T - 1 - h))) / 2. Momentum goes the
///   other way along the same cosines, from options.momentum down to momentum_range less and back. Smith, "A
///   disciplined approach to neural network hyper-parameters", 2018; the cosine is fastai's; torch's OneCycleLR (its
///   0.95 and 0.85 are what momentum = 0.95 gives).
///
/// With a warm-up the policy starts behind it and spans the rest (with_warmup()).
///
/// Throws UsageError listing those for any other name, and for options out of range or not finite.
Schedule make_schedule(const std::string& policy, const ScheduleOptions& options);
std::vector<std::string> schedule_names();

/// lr = (t + 1) / (w + 1) of what `schedule` starts with during the first w = `steps` steps; from then on `schedule`,
/// as a run of T - w steps. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, 2.2.
Schedule with_warmup(Schedule schedule, std::int64_t steps);

}  // namespace weft
