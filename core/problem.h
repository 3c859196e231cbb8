#pragma once
// From a graph node to the call of its catalogue op: extents and scalars, in kernels/ops.h's order.

#include "core/graph.h"
#include "kernels/catalogue.h"

namespace weft {

/// Throws Error for ops that are not in the catalogue (reshape, a user's own). Dropout's step is left 0: it comes with
/// the run.
Problem problem_of(const Graph& graph, const Node& node);

}  // namespace weft
