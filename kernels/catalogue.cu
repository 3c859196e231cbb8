#include "kernels/catalogue_ops.h"

namespace weft::WEFT_TARGET {
namespace {

// One op a line, so that a new one is one line of a change.
// clang-format off
constexpr const Op* kOps[] = {
    &gemm,
    &im2col,
    &col2im,
    &conv2d,
    &conv2d_backward_data,
    &conv2d_backward_filter,
    &conv2d_statistics,
    &bias_add,
    &bias_backward,
    &relu_bias_backward,
    &relu,
    &relu_backward,
    &add,
    &max_pool,
    &max_pool_backward,
    &max_pool_unindexed,
    &max_pool_unindexed_backward,
    &avg_pool,
    &avg_pool_backward,
    &global_avg_pool,
    &global_avg_pool_backward,
    &batch_norm_train,
    &batch_norm_eval,
    &batch_norm_train_backward,
    &batch_norm_eval_backward,
    &batch_norm_train_gathered,
    &batch_norm_fold,
    &softmax,
    &log_softmax,
    &softmax_backward,
    &log_softmax_backward,
    &cross_entropy,
    &cross_entropy_backward,
    &cross_entropy_forward_backward,
    &cross_entropy_soft,
    &cross_entropy_soft_backward,
    &binary_cross_entropy,
    &binary_cross_entropy_backward,
    &dropout,
    &dropout_backward,
    &concat,
    &concat_backward,
    &fill,
    &scale,
    &sum,
    &cast,
    &normalize_pixels,
    &sgd_step,
};
// clang-format on

}  // namespace

std::span<const Op* const> catalogue() {
  return kOps;
}

}  // namespace weft::WEFT_TARGET
