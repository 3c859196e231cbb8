#pragma once
// The references: every op in double precision, written for clarity, compiled once. Each takes (problem, operands,
// magnitudes) as Op::reference documents. A rung is judged by these, so they share no code with any kernel.

#include "kernels/catalogue.h"

namespace weft::reference {

using Reference = void(const Problem&, double* const* operands, double* const* magnitudes);

Reference gemm;
Reference im2col, col2im, conv2d, conv2d_backward_data, conv2d_backward_filter, conv2d_statistics;
Reference bias_add, bias_backward, relu_bias_backward;
Reference relu, relu_backward, add;
Reference max_pool, max_pool_backward, max_pool_unindexed, max_pool_unindexed_backward;
Reference avg_pool, avg_pool_backward, global_avg_pool, global_avg_pool_backward;
Reference batch_norm_train, batch_norm_eval, batch_norm_train_backward, batch_norm_eval_backward,
    batch_norm_train_gathered;
Reference batch_norm_fold;
Reference softmax, softmax_backward, log_softmax, log_softmax_backward;
Reference cross_entropy, cross_entropy_backward, cross_entropy_forward_backward;
Reference cross_entropy_soft, cross_entropy_soft_backward, binary_cross_entropy, binary_cross_entropy_backward;
Reference dropout, dropout_backward;
Reference concat, concat_backward;
Reference fill, scale, sum, cast, normalize_pixels, sgd_step;

}  // namespace weft::reference
