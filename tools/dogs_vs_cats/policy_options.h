#pragma once
// The learning-rate schedule's options, of `train` and `schedule`.

#include "optim/schedule.h"
#include "tools/dogs_vs_cats/kept_options.h"

namespace weft::cli {

struct SchedulePolicy {
  std::string policy = "constant";
  PolicyOptions options;
};

/// Adds --policy, --warmup, --cycle-len, --cycle-mult and the like.
void add_policy_options(KeptOptions& kept, SchedulePolicy& policy);
/// Throws UsageError for a policy that there is not, or an option's value that makes no sense.
void check(const SchedulePolicy& policy);

}  // namespace weft::cli
