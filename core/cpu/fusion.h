#pragma once
// Which nodes become one step. Only what oneDNN offers as one primitive is fused, and only where nobody else reads the
// values in between.

#include <vector>

#include "core/graph.h"
#include "core/readers.h"

namespace weft::cpu {

/// Nodes that run as one step. `main` names it; the others are set where they take part.
struct Group {
  NodeId main;
  NodeId batch_norm;  ///< batch_norm_eval, folded into main's (a convolution's) weights
  NodeId add;         ///< the sum with another branch, after main
  NodeId relu;        ///< the last thing done; of a batch_norm_train_backward: the relu_backward before it
  NodeId bias;        ///< bias_backward, computed together with main's (conv2d_backward_filter's) gradient
  int position = 0;   ///< index of the node in whose place the step runs

  std::vector<NodeId> nodes() const;
};

struct Fusion {
  std::vector<Group> groups;  ///< in running order
  std::vector<int> group_of;  ///< by node: index in groups
};

Fusion fuse(const Graph& graph, bool enabled);

/// Input or output `i` of a node; ValueId{} where it is left out.
ValueId input_of(const Node& node, int i);
ValueId output_of(const Node& node, int i);

}  // namespace weft::cpu
