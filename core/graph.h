#pragma once
// The static graph: values (tensors to be) and nodes (ops on them), in an order in which they can run. A model is built
// once; autograd, inference and fusion are passes that take a graph and give another (core/passes.h).

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/tensor.h"

namespace weft {

class Graph;

/// Index of a value in its graph.
struct ValueId {
  int index = -1;
  explicit operator bool() const { return index >= 0; }
  auto operator<=>(const ValueId&) const = default;
};

/// Index of a node in its graph, in running order.
struct NodeId {
  int index = -1;
  explicit operator bool() const { return index >= 0; }
  auto operator<=>(const NodeId&) const = default;
};

enum class ValueKind {
  input,       ///< fed before each run: pictures, labels
  parameter,   ///< weights, trained or frozen; lives in a ParameterStore
  state,       ///< kept from run to run but not trained: running statistics; lives in a ParameterStore
  activation,  ///< made by a node, dead after its last use unless it is a marked output
};

struct Value {
  std::string name;  ///< a parameter's is torchvision's ("layer1.0.conv1.weight"); an activation's is its layer's
  Shape shape;
  DType dtype = DType::f32;
  ValueKind kind = ValueKind::activation;
  bool requires_grad = false;  ///< of a parameter: it is trained
};

/// What a node needs to know besides its inputs: strides, eps, ...
class Attributes {
 public:
  using Item = std::variant<std::int64_t, double, std::vector<std::int64_t>, std::string>;
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const std::string, Item>> items) : items_(items) {}
  /// Throws Error naming the attribute where it is missing or of another type.
  std::int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  const std::vector<std::int64_t>& integers(std::string_view name) const;
  bool has(std::string_view name) const;
  void set(std::string name, Item item) { items_[std::move(name)] = std::move(item); }
  const std::map<std::string, Item, std::less<>>& items() const { return items_; }

 private:
  std::map<std::string, Item, std::less<>> items_;
};

/// Whether a node belongs to the forward or to the backward pass: for the profile, the picture and memory.
enum class Pass { forward, backward };

struct OpDefinition;

struct Node {
  std::string name;                                ///< the layer: "layer1.0.conv1"
  std::shared_ptr<const OpDefinition> definition;  ///< what it computes
  Attributes attributes;
  std::vector<ValueId> inputs;  ///< an optional operand left out is ValueId{}
  std::vector<ValueId> outputs;
  Pass pass = Pass::forward;
};

/// Dense host views handed to a user's own op.
struct HostOperand {
  void* data = nullptr;  ///< null: an optional operand left out
  Shape shape;
  DType dtype = DType::f32;
};

/// The gradient of a node, asked of its op by the autograd pass: given the gradients of its outputs (an id below 0:
/// that output does not reach the loss), add nodes and return the gradient of each input (an id below 0: none).
/// `wanted` says which inputs' gradients are used at all, so that the others' nodes need not be added.
using Differentiate = std::function<std::vector<ValueId>(Graph&, NodeId, std::span<const ValueId> output_gradients,
                                                         std::span<const bool> wanted)>;

/// An op of the graph. Built-in ones (core/ops.h) carry the name of their entry in the kernel catalogue and run there
/// with (inputs..., outputs...) as operands; a user's own op gives `run_on_host` instead and works on every device.
struct OpDefinition {
  std::string name;
  /// Shapes and types of the outputs. Throws Error naming the layer and the shapes that do not fit.
  std::function<std::vector<Value>(const Node&, std::span<const Value> inputs)> infer;
  /// Empty: the op has no gradient; asking for one is an Error.
  Differentiate differentiate;
  /// Inputs that the op also writes (running statistics), by position.
  std::vector<int> updates;
  /// Multiply-adds count as two. Empty: one for each output element.
  std::function<double(const Node&, std::span<const Value> inputs, std::span<const Value> outputs)> flops;
  /// For user ops: dense NHWC, inputs then outputs.
  std::function<void(const Node&, std::span<const HostOperand> inputs, std::span<HostOperand> outputs)> run_on_host;
};

class Graph {
 public:
  /// A value fed from outside before each run.
  ValueId input(std::string name, Shape shape, DType dtype = DType::f32);
  /// Weights, or running statistics (state). A name seen before with the same shape is the same value, with another an
  /// Error.
  ValueId parameter(std::string name, Shape shape, bool trained = true);
  ValueId state(std::string name, Shape shape);
  /// Adds a node after all that are there; its outputs' shapes are inferred. Throws Error naming the layer and both
  /// shapes.
  NodeId add(std::string name, std::shared_ptr<const OpDefinition> definition, std::vector<ValueId> inputs,
             Attributes attributes = {});
  /// add() for a node of whose outputs the first is meant.
  ValueId apply(std::string name, std::shared_ptr<const OpDefinition> definition, std::vector<ValueId> inputs,
                Attributes attributes = {});
  /// Marks a value to be read after a run under `name`.
  void mark_output(ValueId value, std::string name);

  const Value& value(ValueId id) const { return values_[static_cast<std::size_t>(id.index)]; }
  Value& value(ValueId id) { return values_[static_cast<std::size_t>(id.index)]; }
  const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id.index)]; }
  Node& node(NodeId id) { return nodes_[static_cast<std::size_t>(id.index)]; }
  std::span<const Value> values() const { return values_; }
  std::span<const Node> nodes() const { return nodes_; }
  int value_count() const { return static_cast<int>(values_.size()); }
  int node_count() const { return static_cast<int>(nodes_.size()); }

  /// The value of this name: an input, a parameter, a state or a marked output. Throws Error listing near names.
  ValueId find(std::string_view name) const;
  bool contains(std::string_view name) const;
  /// Marked outputs by name.
  const std::map<std::string, ValueId, std::less<>>& outputs() const { return outputs_; }
  /// Nodes that read a value.
  std::vector<NodeId> readers(ValueId id) const;
  /// The node that makes a value; below 0 for inputs, parameters and states.
  NodeId producer(ValueId id) const;

  /// Nodes added from now on belong to this pass.
  void set_pass(Pass pass) { pass_ = pass; }

 private:
  ValueId leaf(std::string name, Shape shape, DType dtype, ValueKind kind, bool requires_grad);

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<NodeId> producers_;
  std::map<std::string, ValueId, std::less<>> names_;
  std::map<std::string, ValueId, std::less<>> outputs_;
  Pass pass_ = Pass::forward;
};

}  // namespace weft
