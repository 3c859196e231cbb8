#pragma once
// The entries of the catalogue, one for each op, and the list of them. A kernel file defines its ops' entries; the list
// in catalogue.cu is the one line that a new op adds outside its own file.

#include <span>

#include "kernels/catalogue.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

extern const Op gemm;
extern const Op im2col, col2im;
extern const Op conv2d, conv2d_backward_data, conv2d_backward_filter, conv2d_statistics;
extern const Op bias_add, bias_backward, relu_bias_backward;
extern const Op relu, relu_backward, add;
extern const Op max_pool, max_pool_backward, avg_pool, avg_pool_backward, global_avg_pool, global_avg_pool_backward;
extern const Op max_pool_unindexed, max_pool_unindexed_backward;
extern const Op batch_norm_train, batch_norm_eval, batch_norm_train_backward, batch_norm_eval_backward;
extern const Op batch_norm_train_gathered, batch_norm_fold;
extern const Op softmax, log_softmax, softmax_backward, log_softmax_backward;
extern const Op cross_entropy, cross_entropy_backward, cross_entropy_forward_backward;
extern const Op cross_entropy_soft, cross_entropy_soft_backward;
extern const Op binary_cross_entropy, binary_cross_entropy_backward;
extern const Op dropout, dropout_backward;
extern const Op concat, concat_backward;
extern const Op fill, scale, sum, cast;
extern const Op normalize_pixels;
extern const Op sgd_step;

/// Every op, in the order of kernels/ops.h.
std::span<const Op* const> catalogue();

}  // namespace weft::WEFT_TARGET
