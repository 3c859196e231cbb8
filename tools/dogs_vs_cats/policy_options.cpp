#include "tools/dogs_vs_cats/policy_options.h"

#include <fmt/ranges.h>

#include "tools/dogs_vs_cats/commands.h"

namespace weft::cli {

void add_policy_options(KeptOptions& kept, SchedulePolicy& policy) {
  PolicyOptions& o = policy.options;
  kept.add("policy", policy.policy,
           fmt::format("Schedule of the learning rate: {}", fmt::join(schedule_names(), ", ")));
  kept.add("warmup", o.warmup, "Epochs of linear warm-up before any policy");
  kept.add("cycle-len", o.cycle_len, "sgdr: epochs of the first cycle");
  kept.add("cycle-mult", o.cycle_mult, "sgdr: each cycle is so many times as long as the one before");
  kept.add("step-size", o.step_size,
           "step: epochs to the next step; triangular*, exp-range: of half a cycle; 0: by the run's length");
  kept.add("gamma", o.gamma, "step: factor at each step; exp-range: factor at each mini-batch; 0: the policy's own");
  kept.add("power", o.power, "poly: exponent");
  kept.add("lr-min", o.lr_min, "poly, cosine, sgdr: where they come down to, as a part of --lr");
  kept.add("lr-base", o.lr_base, "triangular*, exp-range: foot of the triangle, as a part of --lr");
  kept.add("pct-start", o.pct_start, "one-cycle: part of the run in which the rate rises");
  kept.add("div", o.div, "one-cycle: it starts at --lr over this");
  kept.add("final-div", o.final_div, "one-cycle: it ends at its start over this");
  kept.add("momentum-range", o.momentum_range, "one-cycle: how far momentum falls while the rate rises");
}

void check(const SchedulePolicy& policy) {
  require_choice("--policy", policy.policy, schedule_names());
  make_schedule(policy.policy, {.policy_options = policy.options});  // refuses what makes no sense
}

}  // namespace weft::cli
