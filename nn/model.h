#pragma once
// Model: a tree of modules, the names of its classes, and its numbers.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/parameter_store.h"
#include "nn/module.h"

namespace weft {

/// How a graph is wanted of a model.
struct GraphOptions {
  std::int64_t batch = 1;
  std::int64_t height = 224, width = 224;
  bool training = false;  ///< with labels, loss, gradients; else logits alone, batch norm by its running statistics
  /// Says of a parameter's or layer's name whether it is frozen: no gradient, and batch norm keeps to its running
  /// statistics.
  std::function<bool(const std::string&)> frozen;
};

class Model {
 public:
  /// `head` names the layer whose output is the logits ("fc"); its parameters are what --freeze trains.
  Model(std::string arch, ModulePtr root, std::vector<std::string> classes, std::string head, std::int64_t channels = 3,
        std::uint64_t seed = 0);

  const std::string& arch() const { return arch_; }
  const std::vector<std::string>& classes() const { return classes_; }
  const std::string& head() const { return head_; }
  std::int64_t channels() const { return channels_; }

  /// Loads weights (safetensors or .pth, torchvision's names). A head of another number of classes is left out and
  /// stays freshly initialised; that is said once. Throws Error where names or shapes of the trunk do not fit: which,
  /// and which architecture the file looks like.
  Model& load(const std::filesystem::path& path) &;
  Model load(const std::filesystem::path& path) &&;
  /// Parameters and running statistics, dense on the host, filters as (K, R, S, C).
  const StateDict& state() const { return state_; }
  void set_state(StateDict state);
  /// In torch's order (K, C, R, S), as a file holds them.
  void save(const std::filesystem::path& path) const;

  /// Inputs "input" (N, H, W, C) and, training, "labels" (N); outputs "logits" and, training, "loss" and "grad.*".
  Graph graph(const GraphOptions& options) const;
  /// The frozen trunk ("input" -> "features") and the head ("features" -> "logits", ...) as graphs of their own.
  Graph trunk_graph(const GraphOptions& options) const;
  Graph head_graph(const GraphOptions& options) const;
  /// True for the parameters and layers of the head.
  bool in_head(const std::string& name) const;
  const Module& root() const { return *root_; }

 private:
  std::string arch_;
  ModulePtr root_;
  std::vector<std::string> classes_;
  std::string head_;
  std::int64_t channels_;
  StateDict state_;
};

using Classes = std::vector<std::string>;

Model mlp(Classes classes, std::int64_t channels = 1, std::uint64_t seed = 0);
Model lenet(Classes classes, std::int64_t channels = 1, std::uint64_t seed = 0);
Model resnet18(Classes classes, std::uint64_t seed = 0);
Model resnet34(Classes classes, std::uint64_t seed = 0);
Model resnet50(Classes classes, std::uint64_t seed = 0);
Model squeezenet1_1(Classes classes, std::uint64_t seed = 0);

/// By name. Throws UsageError listing the architectures for any other.
Model make_model(const std::string& arch, Classes classes, std::int64_t channels = 3, std::uint64_t seed = 0);
std::vector<std::string> model_names();

}  // namespace weft
