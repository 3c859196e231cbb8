#include "core/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/op_definitions.h"
#include "kernels/error.h"
#include "kernels/ops.h"

namespace weft {
namespace {

using Values = std::span<const Value>;
using Fill = void (*)(Problem&, const Node&, Values inputs, Values outputs);

bool present(const Node& node, std::size_t input) {
  return input < node.inputs.size() && static_cast<bool>(node.inputs[input]);
}

/// Product of all extents but the last: what the catalogue calls rows.
std::int64_t rows_of(const Shape& shape) {
  return shape.elements() / shape[-1];
}

/// The ceiling of a ReLU, fused or not, where it has one.
void set_ceiling(Problem& problem, int scalar, const Node& node) {
  if (node.attributes.has("ceiling")) problem.scalars[scalar] = node.attributes.real("ceiling");
}

void gemm(Problem& problem, const Node& node, Values inputs, Values outputs) {
  using extents::Gemm;
  const bool trans_a = node.attributes.integer("trans_a") != 0;
  problem.extents[Gemm::M] = outputs[0].shape[0];
  problem.extents[Gemm::N] = outputs[0].shape[1];
  problem.extents[Gemm::K] = inputs[0].shape[trans_a ? 0 : 1];
  problem.extents[Gemm::trans_a] = trans_a;
  problem.extents[Gemm::trans_b] = node.attributes.integer("trans_b");
  problem.extents[Gemm::has_bias] = present(node, 2);
  problem.extents[Gemm::has_residual] = present(node, 3);
  problem.extents[Gemm::relu] = ops::has_relu(node);
  problem.scalars[Gemm::alpha] = 1;
  problem.scalars[Gemm::beta] = 0;
}

/// Of all three passes: x is (N, H, W, C), the filter (K, R, S, C / groups).
void conv(Problem& problem, const Node& node, const Shape& x, const Shape& filter) {
  using extents::Conv2d;
  std::int64_t* e = problem.extents;
  for (int axis = 0; axis < 4; ++axis) e[Conv2d::N + axis] = x[axis];
  for (int axis = 0; axis < 3; ++axis) e[Conv2d::K + axis] = filter[axis];
  const Attributes& attributes = node.attributes;
  for (int axis = 0; axis < 2; ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    e[Conv2d::stride_h + axis] = attributes.integers("stride")[at];
    e[Conv2d::pad_h + axis] = attributes.integers("padding")[at];
    e[Conv2d::dilation_h + axis] = attributes.integers("dilation")[at];
  }
  e[Conv2d::groups] = attributes.integer("groups");
}

/// Inputs: x, weight, [scale], [bias], [residual].
void conv_forward(Problem& problem, const Node& node, Values inputs, Values) {
  using extents::Conv2d;
  conv(problem, node, inputs[0].shape, inputs[1].shape);
  problem.extents[Conv2d::has_scale] = present(node, 2);
  problem.extents[Conv2d::has_bias] = present(node, 3);
  problem.extents[Conv2d::has_residual] = present(node, 4);
  problem.extents[Conv2d::relu] = ops::has_relu(node);
  set_ceiling(problem, Conv2d::ceiling, node);
}

/// Of both passes of both pools: x is (N, H, W, C), y (N, P, Q, C).
void pool(Problem& problem, const Node& node, const Shape& x, const Shape& y) {
  using extents::Pool;
  std::int64_t* e = problem.extents;
  for (int axis = 0; axis < 4; ++axis) e[Pool::N + axis] = x[axis];
  for (int axis = 0; axis < 2; ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    e[Pool::R + axis] = node.attributes.integers("window")[at];
    e[Pool::stride_h + axis] = node.attributes.integers("stride")[at];
    e[Pool::pad_h + axis] = node.attributes.integers("padding")[at];
    e[Pool::P + axis] = y[1 + axis];
  }
}

void global_pool(Problem& problem, const Shape& x) {
  for (int axis = 0; axis < 4; ++axis) problem.extents[extents::Pool::N + axis] = x[axis];
}

void rows(Problem& problem, const Shape& x) {
  problem.extents[extents::Rows::rows] = rows_of(x);
  problem.extents[extents::Rows::C] = x[-1];
}

void batch_norm(Problem& problem, const Node& node, const Shape& x, bool has_residual) {
  using extents::BatchNorm;
  problem.extents[BatchNorm::rows] = rows_of(x);
  problem.extents[BatchNorm::C] = x[-1];
  problem.extents[BatchNorm::has_residual] = has_residual;
  problem.extents[BatchNorm::relu] = ops::has_relu(node);
  set_ceiling(problem, BatchNorm::ceiling, node);
  problem.scalars[BatchNorm::eps] = node.attributes.real("eps");
  if (node.attributes.has("momentum")) problem.scalars[BatchNorm::momentum] = node.attributes.real("momentum");
}

void dropout(Problem& problem, const Node& node, const Shape& x) {
  using extents::Dropout;
  problem.extents[Dropout::n] = x.elements();
  problem.extents[Dropout::seed] = node.attributes.integer("seed");
  problem.extents[Dropout::op] = node.attributes.integer("op");
  problem.scalars[Dropout::p] = node.attributes.real("p");
}

/// `parts` are the inputs of concat, or the outputs of its backward.
void concat(Problem& problem, Values parts) {
  using extents::Concat;
  problem.extents[Concat::rows] = rows_of(parts[0].shape);
  problem.extents[Concat::count] = static_cast<std::int64_t>(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i)
    problem.extents[static_cast<std::size_t>(Concat::C0) + i] = parts[i].shape[-1];
}

void elements(Problem& problem, const Node&, Values inputs, Values) {
  problem.extents[extents::Elements::n] = inputs[0].shape.elements();
}

void relu(Problem& problem, const Node& node, Values inputs, Values outputs) {
  elements(problem, node, inputs, outputs);
  set_ceiling(problem, extents::Elements::ceiling, node);
}

void rows_of_first(Problem& problem, const Node&, Values inputs, Values) {
  rows(problem, inputs[0].shape);
}

/// How each op's extents follow from its node. Operand positions are kernels/ops.h's.
const std::map<std::string_view, Fill>& table() {
  static const std::map<std::string_view, Fill> fills = {
      {"gemm", gemm},
      {"conv2d", conv_forward},
      {"conv2d_statistics", [](Problem& p, const Node& n, Values i, Values) { conv(p, n, i[0].shape, i[1].shape); }},
      {"conv2d_backward_data",
       [](Problem& p, const Node& n, Values i, Values o) {
         conv(p, n, o[0].shape, i[1].shape);
         p.extents[extents::Conv2d::has_residual] = present(n, 2);
       }},
      {"conv2d_backward_filter",
       [](Problem& p, const Node& n, Values i, Values o) { conv(p, n, i[0].shape, o[0].shape); }},
      {"bias_add", rows_of_first},
      {"bias_backward", rows_of_first},
      {"relu_bias_backward",
       [](Problem& p, const Node& n, Values i, Values) {
         rows(p, i[0].shape);
         set_ceiling(p, extents::Elements::ceiling, n);
       }},
      {"relu", relu},
      {"relu_backward", relu},
      {"add", elements},
      {"max_pool", [](Problem& p, const Node& n, Values i, Values o) { pool(p, n, i[0].shape, o[0].shape); }},
      {"max_pool_backward", [](Problem& p, const Node& n, Values i, Values o) { pool(p, n, o[0].shape, i[0].shape); }},
      {"avg_pool", [](Problem& p, const Node& n, Values i, Values o) { pool(p, n, i[0].shape, o[0].shape); }},
      {"avg_pool_backward", [](Problem& p, const Node& n, Values i, Values o) { pool(p, n, o[0].shape, i[0].shape); }},
      {"global_avg_pool", [](Problem& p, const Node&, Values i, Values) { global_pool(p, i[0].shape); }},
      {"global_avg_pool_backward", [](Problem& p, const Node&, Values, Values o) { global_pool(p, o[0].shape); }},
      {"batch_norm_train_gathered",
       [](Problem& p, const Node& n, Values i, Values) { batch_norm(p, n, i[0].shape, present(n, 3)); }},
      {"batch_norm_train",
       [](Problem& p, const Node& n, Values i, Values) { batch_norm(p, n, i[0].shape, present(n, 3)); }},
      {"batch_norm_eval",
       [](Problem& p, const Node& n, Values i, Values) { batch_norm(p, n, i[0].shape, present(n, 3)); }},
      {"batch_norm_train_backward",
       [](Problem& p, const Node& n, Values i, Values o) { batch_norm(p, n, i[0].shape, o.size() > 3); }},
      {"batch_norm_eval_backward",
       [](Problem& p, const Node& n, Values i, Values o) { batch_norm(p, n, i[0].shape, o.size() > 3); }},
      {"batch_norm_fold",
       [](Problem& p, const Node& n, Values i, Values) {
         p.extents[extents::BatchNormFold::K] = i[0].shape[0];
         p.extents[extents::BatchNormFold::has_conv_bias] = present(n, 2);
         p.scalars[extents::BatchNormFold::eps] = n.attributes.real("eps");
       }},
      {"softmax", rows_of_first},
      {"softmax_backward", rows_of_first},
      {"log_softmax", rows_of_first},
      {"log_softmax_backward", rows_of_first},
      {"cross_entropy", rows_of_first},
      {"cross_entropy_backward", [](Problem& p, const Node&, Values i, Values) { rows(p, i[1].shape); }},
      {"cross_entropy_forward_backward", [](Problem& p, const Node&, Values i, Values) { rows(p, i[1].shape); }},
      {"cross_entropy_soft", rows_of_first},
      {"cross_entropy_soft_backward", [](Problem& p, const Node&, Values i, Values) { rows(p, i[1].shape); }},
      {"binary_cross_entropy", elements},
      {"binary_cross_entropy_backward",
       [](Problem& p, const Node&, Values i, Values) { p.extents[extents::Elements::n] = i[1].shape.elements(); }},
      {"dropout", [](Problem& p, const Node& n, Values i, Values) { dropout(p, n, i[0].shape); }},
      {"dropout_backward", [](Problem& p, const Node& n, Values i, Values) { dropout(p, n, i[0].shape); }},
      {"concat", [](Problem& p, const Node&, Values i, Values) { concat(p, i); }},
      {"concat_backward", [](Problem& p, const Node&, Values, Values o) { concat(p, o); }},
      {"fill",
       [](Problem& p, const Node& n, Values, Values o) {
         p.extents[extents::Elements::n] = o[0].shape.elements();
         p.scalars[extents::Elements::value] = n.attributes.real("value");
       }},
      {"scale",
       [](Problem& p, const Node& n, Values i, Values) {
         p.extents[extents::Elements::n] = i[0].shape.elements();
         p.scalars[extents::Elements::factor] = n.attributes.real("factor");
       }},
      {"sum", elements},
      {"cast",
       [](Problem& p, const Node&, Values i, Values o) {
         p.extents[extents::Cast::n] = i[0].shape.elements();
         p.extents[extents::Cast::from] = static_cast<std::int64_t>(i[0].dtype);
         p.extents[extents::Cast::to] = static_cast<std::int64_t>(o[0].dtype);
       }},
  };
  return fills;
}

}  // namespace

bool has_problem(std::string_view op) {
  return table().contains(op);
}

Problem problem_of(const Node& node, std::span<const Value> inputs, std::span<const Value> outputs) {
  const auto found = table().find(node.definition->name);
  if (found == table().end()) fail(node.name + ": " + node.definition->name + " is not an op of the kernel catalogue");
  Problem problem;
  // The op's type is that of what it makes; gradients and losses have the type of what they come from.
  problem.dtype = outputs[0].dtype;
  found->second(problem, node, inputs, outputs);
  return problem;
}

namespace {

std::vector<Value> values_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<Value> values;
  for (const ValueId id : ids) values.push_back(id ? graph.value(id) : Value{});
  return values;
}

}  // namespace

Problem problem_of(const Graph& graph, const Node& node) {
  return problem_of(node, values_of(graph, node.inputs), values_of(graph, node.outputs));
}

void set_math(Problem& problem, const Op& op, Math math) {
  problem.strict = math == Math::strict;
  if (math != Math::tf32 || problem.dtype != DType::f32) return;
  for (std::size_t i = 0; i < op.extent_names.size(); ++i)
    if (std::string_view(op.extent_names[i]) == "tf32") problem.extents[i] = 1;
}

std::vector<ValueId> operands_of(const Node& node, const Op& op, const Problem& problem) {
  const Signature signature = op.signature(problem);
  const auto count = static_cast<std::size_t>(signature.count);
  const auto outputs =
      static_cast<std::size_t>(std::count_if(signature.operands, signature.operands + signature.count,
                                             [](const Operand& operand) { return operand.role == Role::output; }));
  // Optional operands at the end of the inputs (a residual) and of the outputs (a dresidual) may be left out of the
  // node; nothing that is there is cut off.
  std::vector<ValueId> operands = node.inputs;
  operands.resize(std::max(operands.size(), count - outputs));
  operands.insert(operands.end(), node.outputs.begin(), node.outputs.end());
  operands.resize(std::max(operands.size(), count));
  WEFT_CHECK(operands.size() == count && count <= kMaxOperands,
             fmt::format("{}: {} operands for {}, which has {}", node.name, operands.size(), op.name, count));
  return operands;
}

double flops_of(const Graph& graph, const Node& node) {
  if (node.definition->name == "reshape") return 0;
  if (node.definition->flops)
    return node.definition->flops(node, values_of(graph, node.inputs), values_of(graph, node.outputs));
  double elements = 0;
  for (const ValueId id : node.outputs) elements += static_cast<double>(graph.value(id).shape.elements());
  return elements;
}

const Op* find_op(std::span<const Op* const> ops, std::string_view name) {
  for (const Op* op : ops)
    if (name == op->name) return op;
  return nullptr;
}

}  // namespace weft
