#pragma once
// Memory by liveness: values whose lives do not overlap share bytes of one arena.

#include <cstddef>
#include <string>
#include <vector>

#include "core/device.h"

namespace weft {

struct MemoryPlan {
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t>
      offsets;  ///< by value; kNone for what is not in the arena (parameters, states, their gradients)
  std::vector<int> first_step, last_step;
  std::size_t arena = 0;      ///< bytes with sharing, without workspace
  std::size_t unshared = 0;   ///< bytes if each value had its own
  std::size_t workspace = 0;  ///< the largest of any step
  int peak_step = 0;          ///< where the most is live
};

/// `reuse` false gives each value bytes of its own. Inputs and marked outputs live through the whole run.
MemoryPlan plan_memory(const Graph& graph, const Program& program, bool reuse = true);

/// "activations 312.4 MiB (1204.1 MiB without sharing), workspace 12.0 MiB" and the largest layers.
std::string to_text(const MemoryPlan& plan, const Graph& graph, const Program& program);

}  // namespace weft
