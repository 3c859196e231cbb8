#pragma once
// Module: a layer, or layers under a name. It holds no numbers: forward() adds its nodes to a graph and names its
// parameters.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/graph.h"
#include "core/ops.h"
#include "core/parameter_store.h"
#include "kernels/philox.h"

namespace weft {

/// Fills a parameter with its first numbers; the stream is the parameter's own (named by its name), so that adding a
/// layer does not move the numbers of the others.
using Initialise = std::function<void(Tensor&, Philox&)>;

/// He et al. 2015, for ReLU: normal with deviation sqrt(2 / fan). `fan_out`: of a filter (K, R, S, C), fan is K R S.
Initialise kaiming_normal(bool fan_out = true);
/// torch's default for Linear and Conv2d: uniform within 1 / sqrt(fan_in).
Initialise kaiming_uniform(double fan_in = 0);
/// Glorot and Bengio 2010: uniform within sqrt(6 / (fan_in + fan_out)).
Initialise xavier_uniform();
Initialise normal(double mean, double deviation);
Initialise constant(float value);

/// Adds a model's nodes to a graph and knows the path of the layer at work ("layer1.0.conv1").
class Builder {
 public:
  /// `initial` receives the first numbers of each parameter and state not yet in it; null: none are wanted.
  Builder(Graph& graph, std::uint64_t seed, StateDict* initial = nullptr);

  Graph& graph() { return graph_; }
  std::uint64_t seed() const { return seed_; }
  /// "layer1.0.conv1", or of a child.
  std::string path(const std::string& child = {}) const;
  ValueId parameter(const std::string& name, Shape shape, const Initialise& initialise);
  ValueId state(const std::string& name, Shape shape, float value);
  /// Runs a module under a child name.
  ValueId child(const std::string& name, const class Module& module, ValueId x);

  /// Batch statistics and dropout, or running statistics and none.
  bool training = true;
  std::function<bool(const std::string&)> frozen;
  bool is_frozen(const std::string& name) const { return frozen && frozen(name); }

 private:
  Graph& graph_;
  std::uint64_t seed_;
  StateDict* initial_;
  std::vector<std::string> path_;
};

class Module {
 public:
  virtual ~Module() = default;
  /// Adds nodes for x and returns the output.
  virtual ValueId forward(Builder& builder, ValueId x) const = 0;
};
using ModulePtr = std::shared_ptr<const Module>;

}  // namespace weft
