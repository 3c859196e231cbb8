#pragma once
// Extents, scalars and operands of every op: the one list for kernels/, the graph (core/) and the devices. Operands
// stand in the order inputs, (in-out), outputs; "[...]" is optional. Layout is NHWC, filters (K, R, S, C), dense.
//
//   op                         operands                                                        extents
//   gemm                       a, b, [bias], [residual], y                                     Gemm
//   im2col                     x, columns                                                      Conv2d
//   col2im                     dcolumns, dx                                                    Conv2d
//   conv2d                     x, weight, [scale], [bias], [residual], y                       Conv2d
//   conv2d_backward_data       dy, weight, [other_dx], dx                                      Conv2d
//   conv2d_backward_filter     x, dy, dweight                                                  Conv2d
//   conv2d_statistics          x, weight, y, mean, var                                         Conv2d, no epilogue
//   bias_add                   x, bias, y                                                      Rows
//   bias_backward              dy, dbias                                                       Rows
//   relu_bias_backward         dy, y, dx, dbias                                                Rows; scalar ceiling
//   relu                       x, y                                                            Elements; scalar ceiling
//   relu_backward              dy, y, dx                                                       Elements; scalar ceiling
//   add                        a, b, y                                                         Elements
//   max_pool                   x, y, index (int32: h * W + w of the maximum, first one wins)   Pool
//   max_pool_backward          dy, index, dx                                                   Pool
//   max_pool_unindexed         x, y                                                            Pool
//   max_pool_unindexed_backward      x, dy, dx                                                 Pool
//   avg_pool                   x, y                                                            Pool
//   avg_pool_backward          dy, dx                                                          Pool
//   global_avg_pool            x (N, H, W, C), y (N, C)                                        Pool (N, H, W, C alone)
//   global_avg_pool_backward   dy, dx                                                          Pool
//   batch_norm_train           x, weight, bias, [residual], running_mean*, running_var*, y,    BatchNorm
//                              save_mean, save_invstd
//   batch_norm_train_gathered  x, weight, bias, [residual], running_mean*, running_var*, mean,   BatchNorm
//                              var, y, save_mean, save_invstd
//   batch_norm_eval            x, weight, bias, [residual], running_mean, running_var, y       BatchNorm
//   batch_norm_train_backward  dy, x, [y], weight, save_mean, save_invstd, dx, dweight, dbias, BatchNorm
//                              [dresidual]
//   batch_norm_eval_backward   dy, x, [y], weight, running_mean, running_var, dx, dweight,     BatchNorm
//                              dbias, [dresidual]
//   batch_norm_fold            weight, bias, [conv_bias], running_mean, running_var, scale, shift   BatchNormFold
//   softmax, log_softmax       x, y                                                            Rows
//   softmax_backward           dy, y, dx                                                       Rows
//   log_softmax_backward       dy, y, dx                                                       Rows
//   cross_entropy              logits, labels (N) int32, loss (1), lse (N)                     Rows
//   cross_entropy_backward     dloss (1), logits, labels, lse, dlogits                         Rows
//   cross_entropy_forward_backward   dloss (1), logits, labels (N) int32, loss (1), dlogits        Rows
//   cross_entropy_soft         logits, targets (N, C) float32, loss (1), lse (N)               Rows
//   cross_entropy_soft_backward      dloss (1), logits, targets, lse, dlogits                  Rows
//   binary_cross_entropy       logits, targets float32, loss (1)                               Elements
//   binary_cross_entropy_backward    dloss (1), logits, targets, dlogits                       Elements
//   dropout                    x, y                                                            Dropout
//   dropout_backward           dy, dx                                                          Dropout
//   concat                     x0 ... x7 (rows, C_i), y (rows, sum C_i)                        Concat
//   concat_backward            dy, dx0 ... dx7                                                 Concat
//   fill                       y                                                               Elements; scalar value
//   scale                      x, y                                                            Elements; scalar factor
//   sum                        x, y (1)                                                        Elements
//   cast                       x, y                                                            Cast
//   normalize_pixels           x uint8, mean (C), std (C) float32, y                           Rows
//   sgd_step                   weight*, dweight, velocity*                                     SgdStep
// (* in-out)

#include <cstdint>

namespace weft::extents {

/// y (M, N) = alpha op(a) op(b) + beta y [+ bias (N)] [+ residual (M, N)], then ReLU where relu. a is (M, K), or (K, M)
/// where trans_a; b is (K, N), or (N, K) where trans_b. Scalars: alpha, beta. y is in-out where beta is not 0, and is
/// not read where it is 0. a, b and bias are of the problem's type; y and residual too, or float32 where out_f32.
/// lda, ldb, ldy, ld_residual: elements from one row to the next of the matrix as it lies; 0: dense.
/// tf32: float32 inputs may be rounded to TF32 (10 bits of fraction) on their way into tensor cores.
struct Gemm {
  enum : int {
    M,
    N,
    K,
    trans_a,
    trans_b,
    has_bias,
    has_residual,
    relu,
    out_f32,
    tf32,
    lda,
    ldb,
    ldy,
    ld_residual,
    kCount
  };
  enum : int { alpha, beta };
};

/// y (N, P, Q, K) = x (N, H, W, C) * weight (K, R, S, C / groups), P = (H + 2 pad_h - dilation_h (R - 1) - 1) /
/// stride_h + 1. groups divides C and K, and filter k sees the channels of group k / (K / groups) alone, as torch has
/// it. Then the epilogue, for a folded batch norm, a shortcut and a ReLU, in this order: y *= scale (K), y += bias (K),
/// y += residual (N, P, Q, K), ReLU (scalar ceiling, as in Elements). With a scale, scale and bias are float32. The
/// gradients are of the convolution alone and ignore these extents, but that backward data adds other_dx (N, H, W, C)
/// where has_residual. im2col and col2im know no groups: columns is (N P Q, R S C).
/// tf32: float32 inputs may be rounded to TF32 on their way into tensor cores, as in Gemm.
struct Conv2d {
  enum : int {
    N,
    H,
    W,
    C,
    K,
    R,
    S,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    groups,
    has_bias,
    has_scale,
    has_residual,
    relu,
    tf32,
    kCount
  };
  enum : int { ceiling };
};

/// Windows of R x S over x (N, H, W, C), y (N, P, Q, C). P and Q are given, for torch's ceil_mode rounds them up: a
/// window then hangs over the padded picture and is clipped. Max: padding counts as minus infinity. Average: the
/// divisor counts padding but not what hangs over, as torch's count_include_pad = True.
struct Pool {
  enum : int { N, H, W, C, R, S, stride_h, stride_w, pad_h, pad_w, P, Q, kCount };
};

/// x is (rows, C).
struct Rows {
  enum : int { rows, C, kCount };
};

/// `ceiling`, of ReLU: y = min(max(x, 0), ceiling), 0 for none; ReLU6 has 6. Its backward lets dy through where 0 < y
/// and, with a ceiling, y < ceiling (torch's hardtanh_backward).
struct Elements {
  enum : int { n, kCount };
  enum : int { value = 0, factor = 0, ceiling = 0 };
};

/// x is (rows, C). y = batch_norm(x) [+ residual (rows, C)], then ReLU where relu (scalar ceiling, as in Elements).
/// Train: biased variance normalises; running_var takes the unbiased one with weight momentum, as torch does.
/// save_invstd = 1 / sqrt(var + eps). Backward: y is there where relu, for its mask is 0 < y, and y < ceiling where
/// there is one; dresidual where has_residual, and is dy behind the mask.
struct BatchNorm {
  enum : int { rows, C, has_residual, relu, kCount };
  enum : int { eps, momentum, ceiling };
};

/// What conv2d's scale and bias are, so that its epilogue does the batch norm behind it: scale = weight /
/// sqrt(running_var + eps), shift = (conv_bias - running_mean) scale + bias. All are (K), float32. Scalar: eps.
struct BatchNormFold {
  enum : int { K, has_conv_bias, kCount };
  enum : int { eps };
};

/// y[i] = x[i] / (1 - p) where bit i is kept, else 0. The 32-bit number of element i is word i % 4 of
/// philox4x32_10(seed, subsequence = op * 2^32 + step, block = i / 4); it is kept where the number is at least round(p
/// * 2^32).
struct Dropout {
  enum : int { n, seed, op, step, kCount };
  enum : int { p };
};

/// Along the last axis; `count` inputs of C0 ... C7 channels.
struct Concat {
  enum : int { rows, count, C0, kMaxInputs = 8, kCount = C0 + kMaxInputs };
};

/// From and to are DTypes as integers. bfloat16 and float16 round to nearest even.
struct Cast {
  enum : int { n, from, to, kCount };
};

/// torch.optim.SGD: g = dweight + weight_decay * weight; velocity = momentum * velocity + g;
/// weight -= lr * (nesterov ? g + momentum * velocity : velocity). Velocity starts at 0.
/// Parameter groups lie one behind the other. `splits` of them but the last end where `split`, `split` + 1, ... say, in
/// rising order; the last ends at n. A group may be empty. Group g has the scalars lr + 2 g and weight_decay + 2 g.
struct SgdStep {
  static constexpr int kMaxGroups = 8;
  enum : int { n, nesterov, splits, split, kCount = split + kMaxGroups - 1 };
  enum : int { momentum, lr, weight_decay, kScalars = lr + 2 * kMaxGroups };
};

}  // namespace weft::extents
