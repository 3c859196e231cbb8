#pragma once
// The built-in ops as graph nodes: functions that add one. Names, operands and their order are the kernel catalogue's
// (kernels/ops.h); x is NHWC, filters (K, R, S, C).

#include <array>

#include "core/graph.h"

namespace weft::ops {

struct Conv2dOptions {
  std::array<std::int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  std::int64_t groups = 1;
};

struct PoolOptions {
  std::array<std::int64_t, 2> window = {2, 2}, stride = {2, 2}, padding = {0, 0};
  bool ceil_mode = false;
};

/// y (M, N) = op(a) op(b) [+ bias (N)].
ValueId gemm(Graph& graph, const std::string& name, ValueId a, ValueId b, ValueId bias = {}, bool trans_a = false,
             bool trans_b = false);
/// x (N, H, W, C), weight (K, R, S, C / groups), bias (K) -> (N, P, Q, K).
ValueId conv2d(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias,
               const Conv2dOptions& options);
ValueId bias_add(Graph& graph, const std::string& name, ValueId x, ValueId bias);
/// min(max(x, 0), ceiling). A ceiling of 0 is none; 6 makes ReLU6.
ValueId relu(Graph& graph, const std::string& name, ValueId x, double ceiling = 0);
ValueId add(Graph& graph, const std::string& name, ValueId a, ValueId b);
ValueId max_pool(Graph& graph, const std::string& name, ValueId x, const PoolOptions& options);
ValueId avg_pool(Graph& graph, const std::string& name, ValueId x, const PoolOptions& options);
/// (N, H, W, C) -> (N, C).
ValueId global_avg_pool(Graph& graph, const std::string& name, ValueId x);
/// Normalises with the batch's statistics and moves the running ones (op "batch_norm_train"): y = relu?(batch_norm(x)
/// [+ residual]), the ReLU with a ceiling as relu() has it. residual and relu are for the kernel devices (simt, cuda),
/// which do all of it in one op; the cpu device fuses batch_norm, add and relu by itself, and refuses a node that comes
/// fused.
ValueId batch_norm(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias, ValueId running_mean,
                   ValueId running_var, double eps = 1e-5, double momentum = 0.1, ValueId residual = {},
                   bool relu = false, double ceiling = 0);
/// The same with the running statistics (op "batch_norm_eval").
ValueId batch_norm_eval(Graph& graph, const std::string& name, ValueId x, ValueId weight, ValueId bias,
                        ValueId running_mean, ValueId running_var, double eps = 1e-5, ValueId residual = {},
                        bool relu = false, double ceiling = 0);
ValueId softmax(Graph& graph, const std::string& name, ValueId x);
ValueId log_softmax(Graph& graph, const std::string& name, ValueId x);
/// Mean over the rows of -log softmax(logits)[label]: logits (N, C), labels (N) int32 -> (1).
ValueId cross_entropy(Graph& graph, const std::string& name, ValueId logits, ValueId labels);
/// Mean over the rows of -sum_c targets[c] log softmax(logits)[c]: logits, targets (N, C), the latter float32 -> (1).
/// Targets are constants: they get no gradient.
ValueId cross_entropy_soft(Graph& graph, const std::string& name, ValueId logits, ValueId targets);
/// Mean over all elements of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), targets as above -> (1).
ValueId binary_cross_entropy(Graph& graph, const std::string& name, ValueId logits, ValueId targets);
/// Attributes p, seed and op (a number of its own for each dropout node); the step comes from the run.
ValueId dropout(Graph& graph, const std::string& name, ValueId x, double p, std::uint64_t seed);
/// Along the channels.
ValueId concat(Graph& graph, const std::string& name, const std::vector<ValueId>& xs);
/// The same numbers under another shape (op "reshape": no kernel; the output may share the input's memory).
ValueId reshape(Graph& graph, const std::string& name, ValueId x, Shape shape);
/// A constant (op "fill").
ValueId fill(Graph& graph, const std::string& name, Shape shape, double value);
ValueId scale(Graph& graph, const std::string& name, ValueId x, double factor);
/// All elements -> (1).
ValueId sum(Graph& graph, const std::string& name, ValueId x);
/// The same numbers in another floating-point type.
ValueId cast(Graph& graph, const std::string& name, ValueId x, DType to);

/// The definition of a built-in op by its name ("conv2d_backward_data" too). Throws Error where there is none.
std::shared_ptr<const OpDefinition> definition(std::string_view name);
/// Names of all of them.
std::vector<std::string> names();

}  // namespace weft::ops
