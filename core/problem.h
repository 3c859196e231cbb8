#pragma once
// From a graph node to the call of its catalogue op: extents and scalars, in kernels/ops.h's order.

#include <span>
#include <string_view>
#include <vector>

#include "core/graph.h"
#include "core/math_mode.h"
#include "kernels/catalogue.h"

namespace weft {

/// Throws Error for ops that are not in the catalogue (reshape, a user's own). Dropout's step is left 0: it comes with
/// the run.
Problem problem_of(const Graph& graph, const Node& node);
/// The same for a node that is in no graph yet. An optional input left out has no extents.
Problem problem_of(const Node& node, std::span<const Value> inputs, std::span<const Value> outputs);

/// What `math` says of a call of `op`: strict keeps it to rungs without Winograd; tf32 lets float32 products round
/// their operands on the way into tensor cores, where the op has that (gemm, and a convolution's three passes).
void set_math(Problem& problem, const Op& op, Math math);

/// The node's values as the operands of its catalogue op, inputs then outputs; one that is left out (a bias, concat's
/// x5) is ValueId{}.
std::vector<ValueId> operands_of(const Node& node, const Op& op, const Problem& problem);

/// Operations of a node, multiply-adds counted as two: as its definition says, else one for each output element.
double flops_of(const Graph& graph, const Node& node);

/// True where problem_of() knows the op.
bool has_problem(std::string_view op);

/// The catalogue's entry of that name among `ops`; null where there is none.
const Op* find_op(std::span<const Op* const> ops, std::string_view name);

}  // namespace weft
