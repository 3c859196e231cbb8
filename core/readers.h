#pragma once
// Who reads what of a graph, and what follows a node that could be computed along with it: what fusing asks, whether it
// makes another graph (core/fusion.h) or steps of several nodes (core/cpu/fusion.h).

#include <functional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "core/graph.h"

namespace weft {

class Readers {
 public:
  explicit Readers(const Graph& graph);

  /// The nodes that read a value, in running order; one that reads it twice stands twice.
  std::span<const NodeId> of(ValueId value) const { return readers_[static_cast<std::size_t>(value.index)]; }
  /// It is read after the graph has run.
  bool is_marked(ValueId value) const { return marked_.contains(value); }
  /// The only reader of a value that nobody else wants, if its op is `op`; below 0 otherwise.
  NodeId sole(ValueId value, std::string_view op) const;

 private:
  const Graph& graph_;
  std::vector<std::vector<NodeId>> readers_;  // by value
  std::set<ValueId> marked_;
};

/// What is done to a node's result before anybody else sees it, in this order; below 0 where there is no such node.
struct Tail {
  NodeId batch_norm;  ///< batch_norm_eval
  NodeId add;         ///< the sum with another branch
  NodeId relu;
  ValueId result;  ///< what the last of them makes
  ValueId other;   ///< the other branch
};

/// Which links a tail may have.
struct Links {
  bool batch_norm = false, add = false, relu = true;
  bool ceiling = false;  ///< the ReLU may have one
};

/// The tail behind `y`, of nodes that `is_free` lets pass.
Tail tail_behind(const Graph& graph, const Readers& readers, ValueId y, const Links& links,
                 const std::function<bool(NodeId)>& is_free);

/// Of a relu or its backward: where it ends; 0 where it does not.
float ceiling_of(const Node& relu);

}  // namespace weft
