#pragma once
// What the tests of core/ share: a graph evaluated in double precision through the catalogue's references, random
// numbers for its leaves, and a small net to try things on.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/executor.h"
#include "core/graph.h"
#include "core/parameter_store.h"
#include "core/tensor.h"

namespace weft::test {

using Doubles = std::vector<double>;

/// Dense host tensors for the inputs, parameters and states of a graph, by name: standard normal; labels below
/// `classes`; what is named like a variance or a scale lies in [0.5, 1.5].
StateDict random_leaves(const Graph& graph, std::uint64_t seed = 1, std::int64_t classes = 2);

/// Every value of the graph, in double precision, each op by its reference; states as they are after the run. Shares no
/// kernel, no memory plan and no executor with what it judges.
std::vector<Doubles> reference_run(const Graph& graph, const std::map<std::string, Doubles>& leaves,
                                   std::uint64_t step = 0);
std::map<std::string, Doubles> to_doubles(const StateDict& tensors);

/// Sets the inputs of `executor` and its store's parameters and states.
void feed(Executor& executor, const StateDict& leaves);

/// "" where every element of `got` is within `tolerance` times the largest |exact|; else one line: which element, both
/// values. NaN fails; so does a truth that is all zero.
std::string difference(const std::string& name, const Tensor& got, const Doubles& exact, double tolerance);

/// A net with all that matters: two convolutions with batch norm, a residual, both kinds of pooling, a linear layer and
/// the loss. Input "input" (batch, 8, 8, 3), "labels"; outputs "logits", "loss".
struct SmallNet {
  std::int64_t batch = 4, classes = 3;
  bool frozen_trunk = false;  ///< conv1, bn1 not trained, and bn1 by its running statistics
  double dropout = 0;
};
Graph small_net(const SmallNet& options = {});

}  // namespace weft::test
