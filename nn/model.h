#pragma once
// Model: a tree of modules, the names of its classes, and its numbers.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/parameter_store.h"
#include "nn/module.h"

namespace weft {

/// Adds the nodes of a loss for logits (N, classes) and labels (N, int32); returns it, of shape (1). With
/// GraphOptions::soft_labels the labels are shares of each class instead, (N, classes), float32 (nn/losses.h).
using Loss = std::function<ValueId(Graph& graph, ValueId logits, ValueId labels)>;

/// The default: the mean over the rows of -log softmax(logits)[label].
Loss cross_entropy_loss();

/// How a graph is wanted of a model.
struct GraphOptions {
  std::int64_t batch = 1;
  std::int64_t height = 224, width = 224;
  bool training = false;  ///< with labels, loss, gradients; else logits alone, batch norm by its running statistics
  /// Says of a parameter's or layer's name whether it is frozen: no gradient, and batch norm keeps to its running
  /// statistics.
  std::function<bool(const std::string&)> frozen = nullptr;
  bool fixed_batch_norm = false;  ///< all batch norm by its running statistics, which stay, also where it is trained
  Loss loss =
      nullptr;  ///< of a training graph; empty: cross_entropy_loss(), soft_cross_entropy_loss() with soft_labels
  bool soft_labels = false;
  bool bfloat16 = false;  ///< activations and products, for devices of kernels; weights stay float32 (core/passes.h)
  /// Columns of soft labels for each class: (N, shares_per_class * classes). Two for a loss that is told of what is
  /// there and of what is not apart (weighted_binary_cross_entropy_loss(), nn/losses.h).
  std::int64_t shares_per_class = 1;
};

using Classes = std::vector<std::string>;

class Model {
 public:
  /// `head` names the layer whose output is the logits ("fc"); its parameters are what --freeze trains. The first
  /// numbers are drawn when they are first asked for. `size`: of the pictures, where a parameter's shape depends on it.
  /// Throws Error for fewer than two classes.
  Model(std::string arch, ModulePtr root, Classes classes, std::string head, std::int64_t channels = 3,
        std::uint64_t seed = 0, std::int64_t size = 224);

  const std::string& arch() const { return arch_; }
  const Classes& classes() const { return classes_; }
  const std::string& head() const { return head_; }
  std::int64_t channels() const { return channels_; }
  std::uint64_t seed() const { return seed_; }
  /// Of the pictures it is prepared for.
  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }

  /// Prepares for pictures of another size: a Linear behind a Flatten (lenet, mlp) has that in its shape, and gets
  /// other first numbers. Throws Error, naming the parameter, where loaded weights are for another size.
  Model& set_size(std::int64_t height, std::int64_t width);

  /// Loads weights (safetensors or .pth, torchvision's names; 16-bit floats become float32, num_batches_tracked is
  /// ignored). A head of another number of classes, or none, is left out and stays freshly initialised; notes() says
  /// so. Throws Error where names or shapes of the trunk do not fit: which, and which architecture the file looks like.
  Model& load(const std::filesystem::path& path) &;
  Model load(const std::filesystem::path& path) &&;
  /// What load() has to say, in sentences: a head that was left out.
  const std::vector<std::string>& notes() const { return notes_; }
  /// Parameters and running statistics, dense on the host, filters as (K, R, S, C).
  const StateDict& state() const;
  /// Replaces some or all of them. Throws Error naming one that the model does not have, or that has another shape.
  void set_state(const StateDict& state);
  /// In torch's order (K, C, R, S), float32, as torchvision reads it. Throws Error where it cannot be written; a former
  /// file is then intact.
  void save(const std::filesystem::path& path) const;
  /// Names and shapes of parameters and running statistics.
  std::map<std::string, Shape> shapes() const;
  /// Numbers that can be trained: without the running statistics.
  std::int64_t parameter_count() const;

  /// Inputs "input" (N, H, W, C) and, training, "labels" (N); outputs "logits" and, training, "loss" and "grad.*".
  Graph graph(const GraphOptions& options) const;
  /// The frozen trunk ("input" -> "features"), by its running statistics.
  Graph trunk_graph(const GraphOptions& options) const;
  /// What stands on it ("features" -> "logits", and training as in graph()). Throws Error where the model cannot be cut
  /// at its head.
  Graph head_graph(const GraphOptions& options) const;
  /// True for the parameters and layers of the head.
  bool in_head(const std::string& name) const;
  const Module& root() const { return *root_; }

 private:
  struct Forward;
  Forward forward(const GraphOptions& options, bool training, StateDict* initial) const;
  Graph with_loss(Graph graph, const GraphOptions& options) const;

  std::string arch_;
  ModulePtr root_;
  Classes classes_;
  std::string head_;
  std::int64_t channels_;
  std::uint64_t seed_;
  std::int64_t height_, width_;
  std::vector<std::string> notes_;
  mutable bool complete_ = false;  // state_ holds every parameter: it is filled when it is first asked for
  mutable StateDict state_;
};

/// Flatten, 512, 512, classes, with ReLU between: a first net, for small pictures.
Model mlp(Classes classes, std::int64_t channels = 1, std::uint64_t seed = 0);
/// LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, in Caffe's form: 5x5 convolutions to
/// 20 and 50 channels, each with a 2x2 max pool, then 500 units with ReLU, then the classes. For 28x28 unless
/// Model::set_size says otherwise.
Model lenet(Classes classes, std::int64_t channels = 1, std::uint64_t seed = 0);
/// He et al., "Deep Residual Learning for Image Recognition", 2015, as torchvision has them (resnet50: the stride in
/// the 3x3, "v1.5").
Model resnet18(Classes classes, std::uint64_t seed = 0);
Model resnet34(Classes classes, std::uint64_t seed = 0);
Model resnet50(Classes classes, std::uint64_t seed = 0);
/// Iandola et al., "SqueezeNet", 2016, version 1.1, as torchvision has it.
Model squeezenet1_1(Classes classes, std::uint64_t seed = 0);
/// Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, as torchvision has it.
Model mobilenet_v2(Classes classes, std::uint64_t seed = 0);

/// By name. Throws UsageError listing the architectures for any other.
Model make_model(const std::string& arch, Classes classes, std::int64_t channels = 3, std::uint64_t seed = 0);
std::vector<std::string> model_names();

}  // namespace weft
