#pragma once
// conv2d: y[n,p,q,k] = sum_{r,s,c} x[n, p stride - pad + r dilation, q stride - pad + s dilation, g C' + c]
// weight[k,r,s,c], with 0 for what lies outside the picture. x is (N, H, W, C), weight (K, R, S, C'), y (N, P, Q, K).
// C' = C / groups channels and K' = K / groups filters make a group; filter k belongs to group g = k / K'. With an
// epilogue y = relu?(scale[k] y + bias[k] + residual); of backward data dx += other_dx, the part of x's gradient that
// comes by another branch. Each of the three passes (forward, data, filter) has
// 2 N P Q K R S C' flops; the fewest bytes are one read of its two inputs (of x those pixels that a tap meets) and one
// write of its output. With C' and K' of 64 or more a pass is bound by arithmetic.
//
//   1_direct.cu        the three passes as nested loops, a thread an element of the result
//   2_im2col.cu        im2col and col2im: the picture as a matrix of patches, and back; ops of their own
//   3_im2col_gemm.cu   the three passes as one matrix product each
//   4_im2col_tiles.h   the same, with no more of the patches at a time than the L2 cache holds
//   5_implicit_gemm.cu the same products, their patches gathered on the way into shared memory
//   6_split_k.cu       backward filter over slices of the pixels, added in a fixed order
//   7_depthwise.cu     groups of one channel: no product, but filters kept in shared memory
//   8_stem.cu          few channels: taps and channels of a filter row as one axis, forward alone
//   9_winograd.cu      3x3 of stride 1 with 2.25 times fewer multiplications, less exactly
//   10_implicit_mma.cu     the three passes as products whose patches are fetched where they lie, on tensor cores
//   11_implicit_wgmma.cu   the same on Hopper's: TMA's im2col mode brings the patches, wgmma multiplies
//   12_implicit_persistent.cu  forward and backward data by blocks that stay; results leave through the copy engine
//   13_pointwise_gemm.cu   1x1: the product of what is there already, by all of gemm's ladder
//   14_depthwise_rolling.cu  groups of one channel, each element of the picture read once
//   15_depthwise_cluster.cu  the same by clusters of blocks, which share filters and add their gradients
//   depthwise_walk.h   what 14 and 15 share: a depthwise convolution as a walk down its pictures
//   epilogue.h         what happens to a finished sum of the forward pass, and of backward data
//   filter_slices.h    the sums of backward filter's slices, as 6, 7, 10, 11, 14 and 15 add them
//   im2col_parts.h     what 3 and 4 share: a convolution's parts are convolutions
//   implicit_gemm.h    the loop of 5, 6 and 9, and what each pass fetches and stores
//   patches.h, im2col_map.h  what 5, 6, 10 and 11 share: where patches lie, and as the copy engine brings them
//   patch_ring.h       what 11 and 12 share: the ring of stages that the copy engine fills with patches
//   shape.cu           a call's extents as kernels see them, and its checks
//   statistics.h, statistics.cu  conv2d_statistics: the mean and variance of y with y
//   entry.h            the entries' extents and the shapes worth testing
//   rungs.h            what each rung needs of a call, and what it is for
//   conv2d.cu          the catalogue's entries, and the choice
//
// This header is what they share.

#include "kernels/catalogue.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// A convolution's extents, handed to kernels by value. 32 bits suffice for each; offsets are computed in 64.
struct ConvShape {
  int N, H, W, C, K, R, S;
  int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int P, Q;
  int groups;

  __host__ __device__ int64_t pixels_in() const { return int64_t{N} * H * W; }
  __host__ __device__ int64_t pixels_out() const { return int64_t{N} * P * Q; }
  /// Channels and filters of a group, and the length of a filter.
  __host__ __device__ int channels() const { return C / groups; }
  __host__ __device__ int filters() const { return K / groups; }
  __host__ __device__ int patch() const { return R * S * channels(); }
  /// True where patches.h can number pixels by 32 bits, and a tile's or a tap's more. For Needs::takes.
  bool numbers_pixels() const {
    constexpr int64_t kMost = 1 << 30;
    return pixels_in() < kMost && pixels_out() < kMost;
  }
  /// True where a grid's third extent can number the groups. For Needs::takes.
  bool numbers_groups() const { return groups <= 65535; }

  /// The row of x under tap r of output row p; outside [0, H) it is padding. The same for columns.
  __host__ __device__ int row_in(int p, int r) const { return p * stride_h - pad_h + r * dilation_h; }
  __host__ __device__ int column_in(int q, int s) const { return q * stride_w - pad_w + s * dilation_w; }

  /// The output row that has row h of x under its tap r, or -1 where there is none. The same for columns.
  __host__ __device__ int row_out(int h, int r) const { return output_at(h + pad_h - r * dilation_h, stride_h, P); }
  __host__ __device__ int column_out(int w, int s) const { return output_at(w + pad_w - s * dilation_w, stride_w, Q); }

  /// True where some tap meets row h of x: a stride, or dilation, may leave it out. The same for columns.
  __host__ __device__ bool meets_row(int h) const {
    for (int r = 0; r < R; ++r)
      if (row_out(h, r) >= 0) return true;
    return false;
  }
  __host__ __device__ bool meets_column(int w) const {
    for (int s = 0; s < S; ++s)
      if (column_out(w, s) >= 0) return true;
    return false;
  }

  /// True where the patches are the picture's pixels themselves, so that im2col would be a copy.
  bool is_pointwise() const { return R == 1 && S == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0; }

 private:
  static __host__ __device__ int output_at(int offset, int stride, int count) {
    return offset >= 0 && offset % stride == 0 && offset / stride < count ? offset / stride : -1;
  }
};

ConvShape conv_shape(const Problem& problem);

/// The pixels of a picture of x that some tap meets, which is all that a pass has to read of it.
int64_t pixels_met(const ConvShape& z);

/// conv2d's operands by position.
enum ConvOperand : int { kConvX, kConvWeight, kConvScale, kConvBias, kConvResidual, kConvY, kConvOperands };
/// conv2d_backward_data's.
enum DataOperand : int { kDataDy, kDataWeight, kDataOther, kDataDx, kDataOperands };

/// x (N, H, W, C) to columns (N P Q, R S C). Patch (n, p, q) is a row.
template <class T>
void launch_im2col(const ConvShape& shape, const T* x, T* columns, Stream stream);

/// dcolumns (N P Q, R S C) to dx (N, H, W, C): each dx is the sum over the patches that its pixel was copied to, and of
/// other_dx where it is there.
template <class From, class To>
void launch_col2im(const ConvShape& shape, const From* dcolumns, const To* other_dx, To* dx, Stream stream);

// The rungs of the three passes, as Rung::launch wants them.

void conv2d_direct(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_direct(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_direct(const Problem&, void* const* operands, void* workspace, Stream stream);

// im2col-gemm's and im2col-tiles' stand in im2col_parts.h.

/// For Needs::takes: no groups; forward, what gemm's epilogue can do: no scale, no ceiling.
bool conv2d_im2col_gemm_takes(const Problem& problem);
bool conv_has_no_groups(const Problem& problem);

void conv2d_implicit_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_implicit_gemm_wide(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_implicit_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_implicit_gemm_wide(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_implicit_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_implicit_gemm_wide(const Problem&, void* const* operands, void* workspace, Stream stream);
bool conv2d_implicit_gemm_takes(const Problem& problem);

void conv2d_backward_filter_split_k(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_split_k_workspace(const Problem& problem);

void conv2d_stem(const Problem&, void* const* operands, void* workspace, Stream stream);
/// For Needs::takes: at most 4 channels, one group, rows that fit shared memory.
bool conv2d_stem_takes(const Problem& problem);

void conv2d_winograd(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_winograd(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_winograd_workspace(const Problem& problem);
int64_t conv2d_backward_data_winograd_workspace(const Problem& problem);
/// For Needs::takes: 3x3 of stride and dilation 1, one group.
bool conv2d_winograd_takes(const Problem& problem);

void conv2d_depthwise(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_depthwise(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_depthwise(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_depthwise_workspace(const Problem& problem);
/// For Needs::takes: one channel a group, filters that fit shared memory.
bool conv2d_depthwise_takes(const Problem& problem);
bool conv2d_backward_data_depthwise_takes(const Problem& problem);
bool conv2d_backward_filter_depthwise_takes(const Problem& problem);

void conv2d_implicit_mma(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_implicit_mma(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_implicit_mma(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_implicit_mma_workspace(const Problem& problem);

void conv2d_implicit_wgmma(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_implicit_wgmma(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_implicit_wgmma(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_implicit_wgmma_workspace(const Problem& problem);
/// For Needs::takes: bf16, or float32 that may be rounded to TF32; groups that a grid can number.
bool takes_implicit_mma(const Problem& problem);
/// For Needs::takes: bf16, groups of 1, channels in eights (TMA's strides), corners and offsets that a map can hold.
bool takes_implicit_wgmma(const Problem& problem);
bool takes_backward_data_implicit_wgmma(const Problem& problem);
bool takes_backward_filter_implicit_wgmma(const Problem& problem);

void conv2d_implicit_persistent(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_implicit_persistent(const Problem&, void* const* operands, void* workspace, Stream stream);
/// For Needs::takes: what implicit-wgmma takes, results with channels in eights, and no stride backward.
bool takes_implicit_persistent(const Problem& problem);
bool takes_backward_data_implicit_persistent(const Problem& problem);

void conv2d_pointwise_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_pointwise_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_pointwise_gemm(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_pointwise_gemm_workspace(const Problem& problem);
/// For Needs::takes: 1x1 of stride 1, no padding, one group; forward, what gemm's epilogue can do.
bool conv_is_pointwise(const Problem& problem);
bool conv2d_pointwise_gemm_takes(const Problem& problem);

void conv2d_depthwise_rolling(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_depthwise_rolling(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_depthwise_rolling(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_depthwise_rolling_workspace(const Problem& problem);
/// For Needs::takes: one channel and one filter a group, rows that fit shared memory; a filter's gradient of 9 taps.
bool conv2d_depthwise_rolling_takes(const Problem& problem);
bool conv2d_backward_data_depthwise_rolling_takes(const Problem& problem);
bool conv2d_backward_filter_depthwise_rolling_takes(const Problem& problem);
void conv2d_depthwise_cluster(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_data_depthwise_cluster(const Problem&, void* const* operands, void* workspace, Stream stream);
void conv2d_backward_filter_depthwise_cluster(const Problem&, void* const* operands, void* workspace, Stream stream);
int64_t conv2d_backward_filter_depthwise_cluster_workspace(const Problem& problem);
/// For the choice: true where there are pictures and channels for a block on most SMs.
bool depthwise_rolling_fills(const Problem& problem);

}  // namespace weft::WEFT_TARGET
