#pragma once
// Nets in which devices fuse, and a run of one against the same graph in double precision.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/executor.h"
#include "core/graph.h"
#include "tests/core/harness.h"

namespace weft::test {

/// A convolution of R x R with padding R / 2, its weight and bias named after it.
ValueId conv(Graph& graph, const std::string& name, ValueId x, std::int64_t K, std::int64_t R, std::int64_t stride = 1,
             bool bias = false);
/// Batch norm by the batch's statistics, its parameters named after it.
ValueId norm(Graph& graph, const std::string& name, ValueId x);

/// A stem, two residual blocks (the second goes down, with a convolution in its shortcut and a ceiling to its inner
/// ReLU), a head. `C` channels.
Graph residual_net(std::int64_t C);
/// Branches of convolutions with bias and ReLU that are concatenated, dropout, flatten and a linear layer with ReLU.
Graph fire_net(std::int64_t squeeze, std::int64_t expand);

/// MobileNetV2's block: wider by a 1x1, a depthwise 3x3, narrower by a 1x1, and the shortcut; ReLUs with `ceiling`
/// behind the first two. A stem before it and a head behind.
Graph inverted_residual_net(std::int64_t C, double ceiling);

/// "name: op" of each node.
std::vector<std::string> nodes_of(const Graph& graph);
bool has_node(const Graph& graph, const std::string& node);
int count_of(const Graph& graph, std::string_view op);

/// Random numbers that keep activations near 1: filters by their fan-in.
StateDict scaled_leaves(const Graph& graph);

/// "" where outputs, gradients and states of `executor` after a run agree with the truth of `graph`, which it was made
/// for; else a line for each that does not. A ReLU's kink may fall on another side in float32 than in double: rarely,
/// and never by much, in so small a net with these seeds.
std::string differences(const Executor& executor, const Graph& graph, const std::vector<Doubles>& exact,
                        double tolerance);

/// Runs `graph`, memory shared and not, and asks for no differences.
void check_run(const std::shared_ptr<Device>& device, const Graph& graph, const CompileOptions& compile,
               double tolerance);

}  // namespace weft::test
