#pragma once
// What the files that define the built-in ops share. Not for users: core/ops.h is.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/graph.h"

namespace weft::ops {

using Definitions = std::map<std::string, std::shared_ptr<const OpDefinition>, std::less<>>;
using Infer = std::function<std::vector<Value>(const Node&, std::span<const Value>)>;

/// Each adds its family's definitions, forward and backward.
void define_gemm(Definitions& definitions);
void define_conv(Definitions& definitions);
void define_elementwise(Definitions& definitions);
void define_pool(Definitions& definitions);
void define_norm(Definitions& definitions);
void define_loss(Definitions& definitions);
void define_shape(Definitions& definitions);

/// Adds one. Its operations are the kernel catalogue's.
void define(Definitions& definitions, std::string name, Infer infer, Differentiate differentiate = {},
            std::vector<int> updates = {});

/// Throws Error "LAYER: OP what".
[[noreturn]] void reject(const Node& node, const std::string& what);
/// Checks an operand's rank; `what` names it: "x (N, H, W, C)".
void want_rank(const Node& node, const Value& value, int rank, const char* what);
/// Checks that an operand has exactly this shape; `why` ends the sentence: "as many as x has channels".
void want_shape(const Node& node, const Value& value, const Shape& shape, const char* what, const std::string& why);
void want_same_shape(const Node& node, const Value& a, const Value& b, const char* names);
/// Checks the number of operands (optional ones left out count).
void want_inputs(const Node& node, std::size_t least, std::size_t most);

/// Checks that nothing was fused into a node that is to be differentiated: no ReLU, no operand at `residual`.
void want_unfused(const Node& node, std::size_t residual);
/// Whether a node ends in a ReLU that was fused into it (core/fusion.h).
bool has_relu(const Node& node);

/// What infer() returns for one output; `suffix` names a second output ("save_mean").
Value made(Shape shape, DType dtype, std::string suffix = {});
/// infer() of an op whose output is like its first input.
std::vector<Value> like_first(const Node& node, std::span<const Value> inputs);
/// The same for backward ops with several gradients among their operands: one output like input `i`.
Infer like_input(std::size_t i);

bool is_float(DType dtype);

}  // namespace weft::ops
