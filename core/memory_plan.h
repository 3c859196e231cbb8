#pragma once
// Memory by liveness: values whose lives do not overlap share bytes of one arena.

#include <cstddef>
#include <string>
#include <utility>
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

/// `reuse` false gives each value bytes of its own. Inputs live through the whole run, marked outputs from where they
/// are written to its end.
MemoryPlan plan_memory(const Graph& graph, const Program& program, bool reuse = true);

/// The layers that hold the most bytes of the arena at the peak, largest first.
std::vector<std::pair<std::string, std::size_t>> largest_layers(const MemoryPlan& plan, const Graph& graph,
                                                                const Program& program, std::size_t most);

/// "activations 312.4 MiB (1204.1 MiB without sharing), workspace 12.0 MiB" and the largest layers.
std::string to_text(const MemoryPlan& plan, const Graph& graph, const Program& program);

}  // namespace weft
