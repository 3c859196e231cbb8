#pragma once
// Fusing, from graph to graph: several nodes become one that a kernel computes in one go, so that what was between them
// never travels through memory.
//
//   conv2d + batch_norm_eval [+ add] [+ relu]    conv2d with scale and bias, made of the batch norm by batch_norm_fold
//   conv2d [+ add] [+ relu]                      conv2d with residual, relu
//   gemm [+ add] [+ relu]                        gemm with residual, relu
//   batch_norm_* [+ add] [+ relu]                batch_norm_* with residual, relu
//   relu_backward + batch_norm_*_backward        batch_norm_*_backward that masks by y; where the masked gradient goes
//                                                elsewhere too (to a shortcut), it is the node's dresidual
//
// A value that somebody else reads, or that is a marked output, stays. The cpu device fuses otherwise, for what its
// library offers (core/cpu/fusion.h).

#include <functional>
#include <span>

#include "core/graph.h"

namespace weft {

/// Whether a device can run a node with such operands (of one that is left out, an empty Value).
using CanRun = std::function<bool(const Node&, std::span<const Value> inputs, std::span<const Value> outputs)>;

/// The graph with fused nodes wherever `can_run` takes them: the same leaves and marked outputs, the same numbers
/// within rounding. A fused node is named after all it does: "layer1.0.conv1 + bn1 + relu".
Graph fused(const Graph& graph, const CanRun& can_run);

}  // namespace weft
