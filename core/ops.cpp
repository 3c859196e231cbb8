#include "core/ops.h"

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/problem.h"
#include "kernels/error.h"
#include "kernels/targets.h"

namespace weft::ops {
namespace {

const Definitions& definitions() {
  static const Definitions all = [] {
    Definitions made;
    define_gemm(made);
    define_conv(made);
    define_elementwise(made);
    define_pool(made);
    define_norm(made);
    define_loss(made);
    define_shape(made);
    return made;
  }();
  return all;
}

/// The kernel catalogue knows each op's operations; both targets' catalogues are the same list.
double catalogue_flops(const Node& node, std::span<const Value> inputs, std::span<const Value> outputs) {
  const Op* op = find_op(simt::target().catalogue(), node.definition->name);
  return op == nullptr || op->flops == nullptr ? 0 : op->flops(problem_of(node, inputs, outputs));
}

}  // namespace

std::shared_ptr<const OpDefinition> definition(std::string_view name) {
  const auto found = definitions().find(name);
  if (found == definitions().end()) fail(fmt::format("there is no built-in op \"{}\"", name));
  return found->second;
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, op] : definitions()) all.push_back(name);
  return all;
}

void define(Definitions& definitions, std::string name, Infer infer, Differentiate differentiate,
            std::vector<int> updates) {
  auto op = std::make_shared<OpDefinition>();
  op->name = name;
  op->infer = std::move(infer);
  op->differentiate = std::move(differentiate);
  op->updates = std::move(updates);
  if (has_problem(name)) op->flops = catalogue_flops;
  definitions.emplace(std::move(name), std::move(op));
}

void reject(const Node& node, const std::string& what) {
  fail(fmt::format("{}: {} {}", node.name, node.definition->name, what));
}

void want_rank(const Node& node, const Value& value, int rank, const char* what) {
  if (value.shape.rank() != rank) reject(node, fmt::format("wants {}, got {}", what, to_string(value.shape)));
}

void want_shape(const Node& node, const Value& value, const Shape& shape, const char* what, const std::string& why) {
  if (value.shape != shape)
    reject(node, fmt::format("wants {} {}, {}, got {}", what, to_string(shape), why, to_string(value.shape)));
}

void want_same_shape(const Node& node, const Value& a, const Value& b, const char* names) {
  if (a.shape != b.shape)
    reject(node, fmt::format("wants {} of one shape, got {} and {}", names, to_string(a.shape), to_string(b.shape)));
}

void want_inputs(const Node& node, std::size_t least, std::size_t most) {
  if (node.inputs.size() < least || node.inputs.size() > most)
    reject(node, fmt::format("takes {} inputs, got {}",
                             least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most),
                             node.inputs.size()));
}

bool has_relu(const Node& node) {
  return node.attributes.has("relu") && node.attributes.integer("relu") != 0;
}

void want_unfused(const Node& node, std::size_t residual) {
  if (has_relu(node) || (node.inputs.size() > residual && node.inputs[residual]))
    reject(node, "has been fused with what follows it: differentiate the graph before it is fused");
}

Value made(Shape shape, DType dtype, std::string suffix) {
  return {std::move(suffix), std::move(shape), dtype, ValueKind::activation, false};
}

std::vector<Value> like_first(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 1, 8);
  return {made(inputs[0].shape, inputs[0].dtype)};
}

Infer like_input(std::size_t i) {
  return [i](const Node& node, std::span<const Value> inputs) -> std::vector<Value> {
    want_inputs(node, i + 1, 8);
    return {made(inputs[i].shape, inputs[i].dtype)};
  };
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

}  // namespace weft::ops
