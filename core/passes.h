#pragma once
// Passes: each takes a graph and gives another, and can be printed before and after.

#include <string>
#include <vector>

#include "core/graph.h"

namespace weft {

/// The graph plus the nodes that compute the gradient of the marked output `loss` (shape (1)) with respect to each
/// parameter that requires one and is reached. The gradient of parameter p is the output marked "grad.<p's name>"; of
/// the inputs named in `also`, "grad.<input>" too. Throws Error where an op on the way has no gradient.
Graph with_gradients(const Graph& graph, std::string_view loss, const std::vector<std::string>& also = {});

/// The graph for prediction: batch norm uses its running statistics, dropout is gone, and what `outputs` do not need is
/// gone.
Graph for_inference(const Graph& graph, const std::vector<std::string>& outputs);

/// The model in mixed precision, for devices of kernels (simt, cuda): activations and what a layer reads of its weights
/// are bfloat16, sums float32. Inputs, parameters, states and marked outputs keep their type and their names: a weight
/// is cast where it is read and its gradient cast back, so that the optimiser works on float32 alone (Micikevicius et
/// al., "Mixed Precision Training", 2018). bfloat16 has float32's exponents: the loss needs no scaling. Losses, softmax
/// and ops of one's own work in float32. To be done before with_gradients(), for a cast has its gradient.
Graph in_bfloat16(const Graph& graph);

/// Without nodes that no marked output (and no update of a state) needs.
Graph without_dead_nodes(const Graph& graph);

/// The batch size: the first input's first extent; 0 where there is no input.
std::int64_t batch_of(const Graph& graph);

/// The graph for another batch size: the inputs' first extent, and all that follows, inferred again. An input that does
/// not start with the batch stays as it is.
Graph with_batch(const Graph& graph, std::int64_t batch);

/// Graphviz. Layers are clusters; an edge carries its shape.
std::string to_dot(const Graph& graph);

/// One line a node: name, op, input shapes -> output shapes.
std::string to_text(const Graph& graph);

/// The table of layers that a model prints as it loads: layer, output shape, parameters, operations; totals last.
/// Forward nodes only.
std::string layer_table(const Graph& graph);

}  // namespace weft
