#include "core/graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

/// The attribute's value as T, or an Error that says what is there instead.
template <class T>
const T& attribute(const std::map<std::string, Attributes::Item, std::less<>>& items, std::string_view name,
                   std::string_view type) {
  const auto found = items.find(name);
  if (found == items.end()) fail(fmt::format("attribute \"{}\" is missing", name));
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) fail(fmt::format("attribute \"{}\" is not {}", name, type));
  return *value;
}

}  // namespace

std::int64_t Attributes::integer(std::string_view name) const {
  return attribute<std::int64_t>(items_, name, "an integer");
}

double Attributes::real(std::string_view name) const {
  return attribute<double>(items_, name, "a real number");
}

const std::string& Attributes::text(std::string_view name) const {
  return attribute<std::string>(items_, name, "a text");
}

const std::vector<std::int64_t>& Attributes::integers(std::string_view name) const {
  return attribute<std::vector<std::int64_t>>(items_, name, "a list of integers");
}

bool Attributes::has(std::string_view name) const {
  return items_.find(name) != items_.end();
}

ValueId Graph::leaf(std::string name, Shape shape, DType dtype, ValueKind kind, bool requires_grad) {
  if (name.empty()) fail("an input, a parameter or a state needs a name");
  const auto known = names_.find(name);
  if (known != names_.end()) {
    const Value& there = value(known->second);
    if (kind == ValueKind::input || there.kind != kind)
      fail(fmt::format("the graph has a value named \"{}\" already", name));
    if (there.shape != shape)
      fail(fmt::format("{} is used with shape {} and with shape {}", name, to_string(there.shape), to_string(shape)));
    return known->second;
  }
  if (outputs_.contains(name)) fail(fmt::format("the graph has an output named \"{}\" already", name));
  for (const std::int64_t extent : shape.extents())
    if (extent < 1) fail(fmt::format("{} has shape {}: every extent is at least 1", name, to_string(shape)));
  const ValueId id{value_count()};
  names_.emplace(name, id);
  values_.push_back({std::move(name), std::move(shape), dtype, kind, requires_grad});
  producers_.push_back({});
  return id;
}

ValueId Graph::input(std::string name, Shape shape, DType dtype) {
  return leaf(std::move(name), std::move(shape), dtype, ValueKind::input, false);
}

ValueId Graph::parameter(std::string name, Shape shape, bool trained) {
  return leaf(std::move(name), std::move(shape), DType::f32, ValueKind::parameter, trained);
}

ValueId Graph::state(std::string name, Shape shape) {
  return leaf(std::move(name), std::move(shape), DType::f32, ValueKind::state, false);
}

NodeId Graph::add(std::string name, std::shared_ptr<const OpDefinition> definition, std::vector<ValueId> inputs,
                  Attributes attributes) {
  WEFT_CHECK(definition != nullptr && definition->infer, "a node needs an op that infers its shapes");
  Node node{std::move(name), std::move(definition), std::move(attributes), std::move(inputs), {}, pass_};
  std::vector<Value> operands;
  for (const ValueId id : node.inputs) {
    if (id.index >= value_count())
      fail(fmt::format("{}: {} reads value {}, the graph has {}", node.name, node.definition->name, id.index,
                       value_count()));
    operands.push_back(id ? value(id) : Value{});
  }
  for (const int position : node.definition->updates) {
    const ValueId updated = node.inputs.at(static_cast<std::size_t>(position));
    if (updated && value(updated).kind != ValueKind::state)
      fail(fmt::format("{}: {} updates {}, which is not a state", node.name, node.definition->name,
                       value(updated).name));
  }
  std::vector<Value> made = node.definition->infer(node, operands);
  WEFT_CHECK(!made.empty(), "an op must have an output: " + node.definition->name);

  const NodeId id{node_count()};
  for (Value& output : made) {
    output.name = output.name.empty() ? node.name : node.name + "." + output.name;
    output.kind = ValueKind::activation;
    output.requires_grad = false;
    node.outputs.push_back(ValueId{value_count()});
    values_.push_back(std::move(output));
    producers_.push_back(id);
  }
  nodes_.push_back(std::move(node));
  return id;
}

ValueId Graph::apply(std::string name, std::shared_ptr<const OpDefinition> definition, std::vector<ValueId> inputs,
                     Attributes attributes) {
  return node(add(std::move(name), std::move(definition), std::move(inputs), std::move(attributes))).outputs.front();
}

void Graph::mark_output(ValueId value, std::string name) {
  WEFT_CHECK(value && value.index < value_count(), "an output must be a value of the graph: " + name);
  const auto leaf = names_.find(name);
  const auto output = outputs_.find(name);
  if ((leaf != names_.end() && leaf->second != value) || (output != outputs_.end() && output->second != value))
    fail(fmt::format("the graph has another value named \"{}\" already", name));
  outputs_.insert_or_assign(std::move(name), value);
}

ValueId Graph::find(std::string_view name) const {
  if (const auto leaf = names_.find(name); leaf != names_.end()) return leaf->second;
  if (const auto output = outputs_.find(name); output != outputs_.end()) return output->second;
  std::vector<std::string> all;
  for (const auto& [known, id] : names_) all.push_back(known);
  for (const auto& [known, id] : outputs_) all.push_back(known);
  const std::vector<std::string> near = nearest_names(name, all, 3);
  if (near.empty()) fail(fmt::format("the graph has no value named \"{}\"", name));
  fail(fmt::format("the graph has no value named \"{}\"; near names: {}", name, fmt::join(near, ", ")));
}

bool Graph::contains(std::string_view name) const {
  return names_.find(name) != names_.end() || outputs_.find(name) != outputs_.end();
}

std::vector<NodeId> Graph::readers(ValueId id) const {
  std::vector<NodeId> result;
  for (int i = 0; i < node_count(); ++i) {
    const std::vector<ValueId>& inputs = nodes_[static_cast<std::size_t>(i)].inputs;
    if (std::find(inputs.begin(), inputs.end(), id) != inputs.end()) result.push_back(NodeId{i});
  }
  return result;
}

NodeId Graph::producer(ValueId id) const {
  return producers_[static_cast<std::size_t>(id.index)];
}

}  // namespace weft
