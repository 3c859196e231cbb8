#pragma once
// Fusing, from graph to graph: several nodes become one that a kernel computes in one go, so that what was between them
// never travels through memory.
//
//   conv2d + batch_norm_eval [+ add] [+ relu]    conv2d with scale and bias, made of the batch norm by batch_norm_fold
//   conv2d [+ add] [+ relu]                      conv2d with residual, relu
//   gemm [+ add] [+ relu]                        gemm with residual, relu
//   batch_norm_* [+ add] [+ relu]                batch_norm_* with residual, relu
//   relu_backward + batch_norm_*_backward        batch_norm_*_backward that masks by y; where the masked gradient goes
//                                                elsewhere too (to a shortcut), it is the node's dresidual
//   conv2d_backward_data + add                   conv2d_backward_data that adds the other part of dx to its sums
//   relu_backward + bias_backward                relu_bias_backward
//   cross_entropy + cross_entropy_backward       cross_entropy_forward_backward
//
// What the backward forms save, of a tensor of E elements of w bytes. A sum of gradients alone reads two and writes
// one; where the convolution adds, one is read: E w instead of 3 E w. (Batch norm's backward could have read both parts
// instead, and saved as much; but SqueezeNet has none, and MobileNetV2's chain of shortcuts, without a ReLU between
// them, wants the sum itself too.) ReLU and bias read two, write one and read it again: 3 E w instead of 4 E w. The
// loss saves a launch and a reading of the logits.
//
// A convolution with a folded batch norm takes scale and bias in float32 whatever its own type: rounded to bfloat16
// they would be wrong for every pixel alike.
//
// A ReLU may have a ceiling (MobileNetV2's ReLU6) behind conv2d and batch_norm_*: all their rungs end in one function
// each, where it is a comparison more, and behind each of the 35 ReLU6 of that net there is else a read and a write of
// the whole tensor. Behind gemm it stays a node: no model has one there, and every rung of that ladder would carry it.
//
// A value that somebody else reads, or that is a marked output, stays. The cpu device fuses otherwise, for what its
// library offers (core/cpu/fusion.h).

#include "core/graph.h"
#include "core/rung_of.h"

namespace weft {

/// The graph with fused nodes wherever `rung_of` has a rung for them: the same leaves and marked outputs, the same
/// numbers within rounding. A fused node is named after all it does: "layer1.0.conv1 + bn1 + relu".
Graph fused(const Graph& graph, const RungOf& rung_of);

}  // namespace weft
