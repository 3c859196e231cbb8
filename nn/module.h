#pragma once
// Module: a layer, or layers under a name. It holds no numbers: forward() adds its nodes to a graph and names its
// parameters.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/ops.h"
#include "core/parameter_store.h"
#include "nn/init.h"

namespace weft {

class Module;

/// Adds a model's nodes to a graph and knows the path of the layer at work ("layer1.0.conv1").
class Builder {
 public:
  /// `initial` receives the first numbers of each parameter and state not yet in it; null: none are wanted.
  Builder(Graph& graph, std::uint64_t seed, StateDict* initial = nullptr);

  Graph& graph() { return graph_; }
  std::uint64_t seed() const { return seed_; }
  /// Of a value already in the graph.
  const Shape& shape(ValueId value) const { return graph_.value(value).shape; }
  /// "layer1.0.conv1", or of a child.
  std::string path(const std::string& child = {}) const;
  /// A parameter of the layer at work, by its last name ("weight"). Throws Error where `initial` holds another shape.
  ValueId parameter(const std::string& name, Shape shape, const Initialise& initialise);
  /// A running statistic of the layer at work, which starts as `value` everywhere.
  ValueId state(const std::string& name, Shape shape, float value);
  /// Runs a module under a child name; an empty one adds nothing to the path.
  ValueId child(const std::string& name, const Module& module, ValueId x);
  /// What the layer of this path was last given; below 0 where there is none of this path.
  ValueId input_of(const std::string& path) const;

  /// Batch statistics and dropout, or running statistics and none.
  bool training = true;
  /// Running statistics in any case.
  bool fixed_batch_norm = false;
  /// Says of a layer's or a parameter's path whether it is frozen.
  std::function<bool(const std::string&)> frozen;
  bool is_frozen(const std::string& name) const { return frozen && frozen(name); }

 private:
  void initialise(const std::string& name, const Shape& shape, const Initialise& initialise);

  Graph& graph_;
  std::uint64_t seed_;
  StateDict* initial_;
  std::vector<std::string> path_;
  std::map<std::string, ValueId> inputs_;
};

class Module {
 public:
  virtual ~Module();
  /// Adds nodes for x and returns the output.
  virtual ValueId forward(Builder& builder, ValueId x) const = 0;
};
using ModulePtr = std::shared_ptr<const Module>;

}  // namespace weft
