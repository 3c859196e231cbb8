// gemm: y (M, N) = op(a) op(b) [+ bias (N)] [+ residual (M, N)], then ReLU where it was fused.

#include <fmt/format.h>

#include "core/op_definitions.h"
#include "core/ops.h"

namespace weft::ops {
namespace {

std::vector<Value> infer_gemm(const Node& node, std::span<const Value> inputs) {
  want_inputs(node, 2, 4);
  want_rank(node, inputs[0], 2, "a matrix a");
  want_rank(node, inputs[1], 2, "a matrix b");
  const bool trans_a = node.attributes.integer("trans_a") != 0, trans_b = node.attributes.integer("trans_b") != 0;
  const Shape &a = inputs[0].shape, &b = inputs[1].shape;
  const std::int64_t m = a[trans_a ? 1 : 0], k = a[trans_a ? 0 : 1], k_of_b = b[trans_b ? 1 : 0],
                     n = b[trans_b ? 0 : 1];
  if (k != k_of_b)
    reject(node, fmt::format("wants inner extents that agree, got {} of a {}{} and {} of b {}{}", k, to_string(a),
                             trans_a ? " transposed" : "", k_of_b, to_string(b), trans_b ? " transposed" : ""));
  if (node.inputs.size() > 2 && node.inputs[2]) want_shape(node, inputs[2], {n}, "bias", "one for each of y's columns");
  if (node.inputs.size() > 3 && node.inputs[3]) want_shape(node, inputs[3], {m, n}, "residual", "as y is");
  return {made({m, n}, inputs[0].dtype)};
}

/// With y = A B, A = op(a), B = op(b): dA = dy B^T and dB = A^T dy. A transposed operand takes the transposed product.
std::vector<ValueId> differentiate_gemm(Graph& graph, NodeId id, std::span<const ValueId> dys,
                                        std::span<const bool> wanted) {
  const Node node = graph.node(id);
  want_unfused(node, 3);
  const bool trans_a = node.attributes.integer("trans_a") != 0, trans_b = node.attributes.integer("trans_b") != 0;
  const ValueId a = node.inputs[0], b = node.inputs[1], dy = dys[0];
  std::vector<ValueId> gradients(node.inputs.size());
  if (wanted[0])
    gradients[0] =
        trans_a ? gemm(graph, node.name, b, dy, {}, trans_b, true) : gemm(graph, node.name, dy, b, {}, false, !trans_b);
  if (wanted[1])
    gradients[1] =
        trans_b ? gemm(graph, node.name, dy, a, {}, true, trans_a) : gemm(graph, node.name, a, dy, {}, !trans_a, false);
  if (node.inputs.size() > 2 && node.inputs[2] && wanted[2])
    gradients[2] = graph.apply(node.name, definition("bias_backward"), {dy});
  return gradients;
}

}  // namespace

void define_gemm(Definitions& definitions) {
  define(definitions, "gemm", infer_gemm, differentiate_gemm);
}

ValueId gemm(Graph& graph, const std::string& name, ValueId a, ValueId b, ValueId bias, bool trans_a, bool trans_b) {
  return graph.apply(name, definition("gemm"), {a, b, bias},
                     {{"trans_a", std::int64_t{trans_a}}, {"trans_b", std::int64_t{trans_b}}});
}

}  // namespace weft::ops
