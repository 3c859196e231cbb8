// conv2d, conv2d_backward_data, conv2d_backward_filter: the catalogue's entries and the choice of a rung. The formula,
// its costs and the list of rungs stand in conv.h, what each rung needs in rungs.h, a call's checks in shape.cu.

#include <algorithm>
#include <array>
#include <string_view>

#include "kernels/catalogue_ops.h"
#include "kernels/conv/4_im2col_tiles.h"
#include "kernels/conv/entry.h"
#include "kernels/conv/rungs.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::Conv2d;

Operand x_of(const ConvShape& z, DType dtype, bool gradient) {
  return {gradient ? "dx" : "x", gradient ? Role::output : Role::input, dtype, 4, {z.N, z.H, z.W, z.C}};
}

Operand weight_of(const ConvShape& z, DType dtype, bool gradient) {
  return {
      gradient ? "dweight" : "weight", gradient ? Role::output : Role::input, dtype, 4, {z.K, z.R, z.S, z.channels()}};
}

Operand y_of(const ConvShape& z, DType dtype, bool gradient) {
  return {gradient ? "dy" : "y", gradient ? Role::input : Role::output, dtype, 4, {z.N, z.P, z.Q, z.K}};
}

/// With a scale it is what a folded batch norm adds, and float32 (epilogue.h).
DType bias_type(const Problem& problem) {
  return problem.extents[Conv2d::has_scale] ? DType::f32 : problem.dtype;
}

Signature forward_signature(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  Signature signature{kConvOperands,
                      {x_of(z, problem.dtype, false),
                       weight_of(z, problem.dtype, false),
                       {"scale", Role::input, DType::f32, 1, {z.K}},
                       {"bias", Role::input, bias_type(problem), 1, {z.K}},
                       {"residual", Role::input, problem.dtype, 4, {z.N, z.P, z.Q, z.K}},
                       y_of(z, problem.dtype, false)}};
  signature.operands[kConvScale].present = problem.extents[Conv2d::has_scale] != 0;
  signature.operands[kConvBias].present = problem.extents[Conv2d::has_bias] != 0;
  signature.operands[kConvResidual].present = problem.extents[Conv2d::has_residual] != 0;
  return signature;
}

Signature data_signature(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  Operand other = x_of(z, problem.dtype, true);
  other.name = "other_dx";
  other.role = Role::input;
  other.present = problem.extents[Conv2d::has_residual] != 0;
  return {kDataOperands,
          {y_of(z, problem.dtype, true), weight_of(z, problem.dtype, false), other, x_of(z, problem.dtype, true)}};
}

Signature filter_signature(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return {3, {x_of(z, problem.dtype, false), y_of(z, problem.dtype, true), weight_of(z, problem.dtype, true)}};
}

double conv_flops(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return 2.0 * static_cast<double>(z.pixels_out()) * z.K * z.patch();
}

/// Of a pass that moves so many pixels of each picture of x (or dx).
double conv_bytes(const Problem& problem, int64_t pixels) {
  const ConvShape z = conv_shape(problem);
  const int64_t elements = z.N * pixels * z.C + int64_t{z.K} * z.patch() + z.pixels_out() * z.K;
  return conv_element_bytes(problem) * static_cast<double>(elements);
}

double filter_bytes(const Problem& problem) {
  return conv_bytes(problem, pixels_met(conv_shape(problem)));
}

double forward_bytes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  const auto* e = problem.extents;
  const double residual = static_cast<double>(e[Conv2d::has_residual] * z.pixels_out() * z.K);
  const double vectors =
      4.0 * static_cast<double>(e[Conv2d::has_scale]) +
      (e[Conv2d::has_scale] ? 4 : conv_element_bytes(problem)) * static_cast<double>(e[Conv2d::has_bias]);
  return filter_bytes(problem) + conv_element_bytes(problem) * residual + vectors * z.K;
}

double data_bytes(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  const int64_t other = problem.extents[Conv2d::has_residual] * z.pixels_in() * z.C;
  const double alone = conv_bytes(problem, int64_t{z.H} * z.W);  // where no tap was, dx is written as 0
  return alone + conv_element_bytes(problem) * static_cast<double>(other);
}

/// The products of a sum, and what is added to it.
int64_t data_terms(const Problem& problem) {
  const ConvShape z = conv_shape(problem);
  return int64_t{z.R} * z.S * z.filters() + problem.extents[Conv2d::has_residual];
}

/// Backward data's: the gradients' problems, and of some of them the sum with another part of dx.
constexpr Problem kWideSums[] = {
    {{1, 6, 5, 136, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "a sum, two tiles of channels"},
    {{1, 6, 5, 136, 24, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {}, DType::f32, "a sum, 1x1, two tiles of channels"},
    {{1, 3, 4, 136, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, a sum, two tiles"},
    {{1, 6, 5, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40}, {}, DType::f32, "a sum, depthwise, two blocks of channels"},
};
constexpr std::size_t kAlone = kGradientProblems.size(), kEvery = 4, kWide = std::size(kWideSums);
constexpr auto kDataProblems = [] {
  std::array<Problem, kAlone + kWide + (kAlone + kEvery - 1) / kEvery> all{};
  for (std::size_t i = 0; i < kAlone; ++i) all[i] = kGradientProblems[i];
  for (std::size_t i = kAlone; i < all.size(); ++i) {
    const std::size_t sum = i - kAlone;
    all[i] = sum < kWide ? kWideSums[sum] : kGradientProblems[(sum - kWide) * kEvery];
    all[i].extents[Conv2d::has_residual] = 1;
  }
  return all;
}();

/// The products of a sum, and what the epilogue adds.
int64_t forward_terms(const Problem& problem) {
  const auto* e = problem.extents;
  return conv_shape(problem).patch() + e[Conv2d::has_scale] + e[Conv2d::has_bias] + e[Conv2d::has_residual];
}

double conv_unit_roundoff(const Problem& problem) {
  if (problem.dtype == DType::bf16) return 0x1p-8;
  return problem.extents[Conv2d::tf32] ? 0x1p-11 : 0x1p-24;
}

constexpr Rung kForwardRungs[] = {
    {"direct", kDirectIdea, kConvNeeds, conv2d_direct},
    {"im2col-gemm", kGemmIdea, kForwardProduct, Im2colGemm::forward, Im2colGemm::forward_workspace},
    {"im2col-tiles", kTilesIdea, kForwardProduct, Im2colTiles::forward, Im2colTiles::forward_workspace},
    {"implicit-gemm", kImplicitIdea, kImplicit, conv2d_implicit_gemm},
    {"implicit-gemm-wide", kImplicitWideIdea, kImplicit, conv2d_implicit_gemm_wide},
    {"depthwise", kDepthwiseIdea, for_depthwise(conv2d_depthwise_takes), conv2d_depthwise},
    {"stem", kStemIdea, kStem, conv2d_stem},
    {"winograd", kWinogradIdea, kWinograd, conv2d_winograd, conv2d_winograd_workspace, kWinogradFactor},
    {"implicit-mma", kMmaIdea, kMma, conv2d_implicit_mma},
    {"implicit-wgmma", kWgmmaIdea, for_hopper(takes_implicit_wgmma, kHopperTakes), conv2d_implicit_wgmma},
    {"implicit-persistent", kPersistentIdea, for_hopper(takes_implicit_persistent, kPersistentTakes),
     conv2d_implicit_persistent},
    {"pointwise-gemm", kPointwiseIdea, kForwardPointwise, conv2d_pointwise_gemm},
    {"depthwise-rolling", kDepthwiseRollingIdea, for_depthwise_rolling(conv2d_depthwise_rolling_takes),
     conv2d_depthwise_rolling},
    {"depthwise-cluster", kDepthwiseClusterIdea, for_depthwise_cluster(conv2d_depthwise_rolling_takes),
     conv2d_depthwise_cluster},
};
constexpr Rung kDataRungs[] = {
    {"direct", kDirectIdea, kConvNeeds, conv2d_backward_data_direct},
    {"im2col-gemm", kGemmIdea, kGradientProduct, Im2colGemm::backward_data, Im2colGemm::backward_data_workspace},
    {"im2col-tiles", kTilesIdea, kGradientProduct, Im2colTiles::backward_data, Im2colTiles::backward_data_workspace},
    {"implicit-gemm", kImplicitIdea, kImplicit, conv2d_backward_data_implicit_gemm},
    {"implicit-gemm-wide", kImplicitWideIdea, kImplicit, conv2d_backward_data_implicit_gemm_wide},
    {"depthwise", kDepthwiseIdea, for_depthwise(conv2d_backward_data_depthwise_takes), conv2d_backward_data_depthwise},
    {"winograd", kWinogradIdea, kWinograd, conv2d_backward_data_winograd, conv2d_backward_data_winograd_workspace,
     kWinogradFactor},
    {"implicit-mma", kMmaIdea, kMma, conv2d_backward_data_implicit_mma},
    {"implicit-wgmma", kWgmmaIdea, for_hopper(takes_backward_data_implicit_wgmma, kHopperTakes),
     conv2d_backward_data_implicit_wgmma},
    {"implicit-persistent", kPersistentIdea, for_hopper(takes_backward_data_implicit_persistent, kPersistentDataTakes),
     conv2d_backward_data_implicit_persistent},
    {"pointwise-gemm", kPointwiseIdea, kGradientPointwise, conv2d_backward_data_pointwise_gemm},
    {"depthwise-rolling", kDepthwiseRollingIdea, for_depthwise_rolling(conv2d_backward_data_depthwise_rolling_takes),
     conv2d_backward_data_depthwise_rolling},
    {"depthwise-cluster", kDepthwiseClusterIdea, for_depthwise_cluster(conv2d_backward_data_depthwise_rolling_takes),
     conv2d_backward_data_depthwise_cluster},
};
constexpr Rung kFilterRungs[] = {
    {"direct", kDirectIdea, kConvNeeds, conv2d_backward_filter_direct},
    {"im2col-gemm", kGemmIdea, kGradientProduct, Im2colGemm::backward_filter, Im2colGemm::backward_filter_workspace},
    {"im2col-tiles", kTilesIdea, kGradientProduct, Im2colTiles::backward_filter,
     Im2colTiles::backward_filter_workspace},
    {"implicit-gemm", kImplicitIdea, kImplicit, conv2d_backward_filter_implicit_gemm},
    {"implicit-gemm-wide", kImplicitWideIdea, kImplicit, conv2d_backward_filter_implicit_gemm_wide},
    {"split-k",
     "A filter's gradient has few tiles and a sum over all pixels; slices of them side by side, added in a fixed "
     "order, keep every SM at work.",
     kImplicit, conv2d_backward_filter_split_k, conv2d_backward_filter_split_k_workspace},
    {"depthwise", kDepthwiseIdea, for_depthwise(conv2d_backward_filter_depthwise_takes),
     conv2d_backward_filter_depthwise, conv2d_backward_filter_depthwise_workspace},
    {"implicit-mma", kMmaIdea, kMma, conv2d_backward_filter_implicit_mma,
     conv2d_backward_filter_implicit_mma_workspace},
    {"implicit-wgmma", kWgmmaIdea, for_hopper(takes_backward_filter_implicit_wgmma, kPersistentTakes),
     conv2d_backward_filter_implicit_wgmma, conv2d_backward_filter_implicit_wgmma_workspace},
    {"pointwise-gemm", kPointwiseIdea, kGradientPointwise, conv2d_backward_filter_pointwise_gemm,
     conv2d_backward_filter_pointwise_gemm_workspace},
    {"depthwise-rolling", kDepthwiseRollingIdea, for_depthwise_rolling(conv2d_backward_filter_depthwise_rolling_takes),
     conv2d_backward_filter_depthwise_rolling, conv2d_backward_filter_depthwise_rolling_workspace},
    {"depthwise-cluster", kDepthwiseClusterIdea, for_depthwise_cluster(conv2d_backward_filter_depthwise_rolling_takes),
     conv2d_backward_filter_depthwise_cluster, conv2d_backward_filter_depthwise_cluster_workspace},
};

// Below this the product's tiles are mostly padding, and its two launches cost more than the loops.
constexpr double kFewestFlopsForGemm = 1 << 16;
// With fewer channels or filters in a group tensor cores' tiles are mostly padding. (Three channels alone are not:
// there is the whole filter to sum over.)
constexpr int kFewestInGroup = 8;
// TMA brings boxes of 64 channels of a tap: of half as many at least half the products are of zeros, and implicit-mma,
// whose chunks of 8 go on in the next tap, has none. Not measured: the tuner's table has the last word.
constexpr int kFewestForBoxes = 32;

/// The tensor cores' rung for a call, or empty. `depth_channels` are summed over a tap at a time.
std::string_view tensor_core_rung(const Problem& problem, int capability, const Needs& hopper, int depth_channels) {
  const ConvShape z = conv_shape(problem);
  // On simt what needs the fewest changes of threads is the fastest.
  if (capability < 80 || !takes_implicit_mma(problem) || conv_flops(problem) < kFewestFlopsForGemm) return {};
  if (z.filters() < kFewestInGroup || (z.groups > 1 && z.channels() < kFewestInGroup)) return {};
  const bool wgmma = capability == hopper.exact_capability && problem.dtype == DType::bf16 && hopper.takes(problem);
  return wgmma && depth_channels >= kFewestForBoxes ? "implicit-wgmma" : "implicit-mma";
}

// Tiles of 128 x 128 read half as much as those of 64 x 64; but it is better to have a block for most of some 100 SMs.
constexpr int64_t kTilesToFill = 96;

// From so many channels and filters on Winograd's fewer multiplications pay for its transforms (9_winograd.cu).
constexpr int kFewestForWinograd = 128;

/// The rung for forward or backward data without tensor cores. M x N results of a group; `product` is the Needs of
/// im2col-gemm.
std::string_view multiplier_rung(const Problem& problem, int capability, const Needs& product, int64_t M, int N) {
  const ConvShape z = conv_shape(problem);
  if (conv_flops(problem) < kFewestFlopsForGemm) return "direct";
  const bool can_multiply = product.takes(problem);
  const bool implicit = problem.dtype == DType::f32 && kImplicit.takes(problem) && N >= kFewestInGroup;
  // On simt the product's tiles change threads least. Elsewhere what is left to im2col (bfloat16 before there were
  // tensor cores for it, few channels) goes by tiles, which come to im2col-gemm's single product where L2 holds all.
  if (can_multiply && capability == 0) return "im2col-gemm";
  if (can_multiply && !implicit) return "im2col-tiles";
  if (!implicit) return "direct";
  const bool many = std::min(z.C, z.K) >= kFewestForWinograd;
  if (!problem.strict && many && capability > 0 && conv2d_winograd_takes(problem)) return "winograd";
  return ceil_div(M, 128) * ceil_div(N, 128) * z.groups >= kTilesToFill ? "implicit-gemm-wide" : "implicit-gemm";
}

/// True where a 1x1 filter's pass goes to gemm, whose own choice knows tensor cores from multipliers.
bool goes_to_gemm(const Problem& problem, const Needs& pointwise) {
  return pointwise.takes(problem) && conv_flops(problem) >= kFewestFlopsForGemm;
}

/// For groups of one channel. On simt a barrier for each few rows would be dear.
std::string_view depthwise_rung(const Problem& problem, int capability, bool (*rolling)(const Problem&)) {
  if (capability < 80 || !rolling(problem) || !depthwise_rolling_fills(problem)) return "depthwise";
  return capability == 90 ? "depthwise-cluster" : "depthwise-rolling";
}

int choose_forward(const Problem& problem, int capability) {
  if (goes_to_gemm(problem, kForwardPointwise)) return rung_named(kForwardRungs, "pointwise-gemm");
  const ConvShape z = conv_shape(problem);
  if (z.groups > 1 && conv2d_depthwise_takes(problem))
    return rung_named(kForwardRungs, depthwise_rung(problem, capability, conv2d_depthwise_rolling_takes));
  std::string_view rung = tensor_core_rung(problem, capability, for_hopper(takes_implicit_wgmma, kHopperTakes), z.C);
  if (rung == "implicit-wgmma" && takes_implicit_persistent(problem)) rung = "implicit-persistent";
  if (rung.empty()) rung = multiplier_rung(problem, capability, kForwardProduct, z.pixels_out(), z.filters());
  // Where a row of y fills most of its 64 pixels, and taps are wider than a pixel.
  // In bfloat16 without tensor cores the implicit products are not to be had.
  const bool multipliers =
      rung.starts_with("implicit-gemm") || (rung == "im2col-tiles" && problem.dtype == DType::bf16);
  const bool stem = multipliers && conv2d_stem_takes(problem) && z.K >= kFewestInGroup && z.S > 1 && z.Q >= 48;
  if (stem) rung = "stem";
  return rung_named(kForwardRungs, rung);
}

int choose_data(const Problem& problem, int capability) {
  if (goes_to_gemm(problem, kGradientPointwise)) return rung_named(kDataRungs, "pointwise-gemm");
  const ConvShape z = conv_shape(problem);
  if (z.groups > 1 && conv2d_backward_data_depthwise_takes(problem))
    return rung_named(kDataRungs, depthwise_rung(problem, capability, conv2d_backward_data_depthwise_rolling_takes));
  std::string_view rung =
      tensor_core_rung(problem, capability, for_hopper(takes_backward_data_implicit_wgmma, kHopperTakes), z.K);
  if (rung == "implicit-wgmma" && takes_backward_data_implicit_persistent(problem)) rung = "implicit-persistent";
  if (rung.empty()) rung = multiplier_rung(problem, capability, kGradientProduct, z.pixels_in(), z.channels());
  return rung_named(kDataRungs, rung);
}

int choose_filter(const Problem& problem, int capability) {
  const ConvShape z = conv_shape(problem);
  if (z.groups > 1 && conv2d_backward_filter_depthwise_takes(problem))
    return rung_named(kFilterRungs,
                      depthwise_rung(problem, capability, conv2d_backward_filter_depthwise_rolling_takes));
  const std::string_view rung =
      tensor_core_rung(problem, capability, for_hopper(takes_backward_filter_implicit_wgmma, kPersistentTakes), z.C);
  // Of a filter's gradient the tiles are few and the sums long: gemm's split-K, which is made for cp.async and
  // mma.sync. Before sm_80 there is none, and Hopper's own rung here has slices too.
  const bool splits = capability == 0 || (capability >= 80 && rung != "implicit-wgmma");
  if (splits && goes_to_gemm(problem, kGradientPointwise)) return rung_named(kFilterRungs, "pointwise-gemm");
  if (!rung.empty()) return rung_named(kFilterRungs, rung);
  if (conv_flops(problem) < kFewestFlopsForGemm) return rung_named(kFilterRungs, "direct");
  const bool implicit = problem.dtype == DType::f32 && kImplicit.takes(problem) && z.filters() >= kFewestInGroup;
  const bool can_multiply = conv_has_no_groups(problem);
  if (can_multiply && capability == 0) return rung_named(kFilterRungs, "im2col-gemm");
  if (can_multiply && !implicit) return rung_named(kFilterRungs, "im2col-tiles");
  // Where there are tiles enough split-k has one slice, and is implicit-gemm; the wide tiles would be fewer still.
  return rung_named(kFilterRungs, implicit ? "split-k" : "direct");
}

}  // namespace

const Op conv2d = {
    .name = "conv2d",
    .formula =
        "y[n,p,q,k] = relu?([scale[k]] sum_rsc x[n, p stride - pad + r dilation, q stride - pad + s dilation, c] "
        "weight[k,r,s,c] [+ bias[k]] [+ residual[n,p,q,k]]); x (N,H,W,C), weight (K,R,S,C/groups), y (N,P,Q,K)",
    .peer = "cudnn:convolution_forward",
    .extent_names = kConvExtents,
    .scalar_names = kConvScalars,
    .signature = forward_signature,
    .check = check_conv2d,
    .reference = reference::conv2d,
    .flops = conv_flops,
    .bytes = forward_bytes,
    .bound = {.c = 4, .terms = forward_terms, .unit = conv_unit_roundoff},
    .problems = kForwardProblems,
    .rungs = kForwardRungs,
    .choose = choose_forward,
    .exact_on_integers = true,
};

const Op conv2d_backward_data = {
    .name = "conv2d_backward_data",
    .formula =
        "dx[n,h,w,c] = sum_rsk dy[n,p,q,k] weight[k,r,s,c] over the p, q with (h, w) under tap (r, s) [+ "
        "other_dx[n,h,w,c]]",
    .peer = "cudnn:convolution_backward_data",
    .extent_names = kConvExtents,
    .scalar_names = {},
    .signature = data_signature,
    .check = check_conv2d,
    .reference = reference::conv2d_backward_data,
    .flops = conv_flops,
    .bytes = data_bytes,
    .bound = {.c = 4, .terms = data_terms, .unit = conv_unit_roundoff},
    .problems = kDataProblems,
    .rungs = kDataRungs,
    .gradient_of = "conv2d",
    .choose = choose_data,
    .exact_on_integers = true,
};

const Op conv2d_backward_filter = {
    .name = "conv2d_backward_filter",
    .formula =
        "dweight[k,r,s,c] = sum_npq dy[n,p,q,k] x[n, p stride - pad + r dilation, q stride - pad + s dilation, c]",
    .peer = "cudnn:convolution_backward_filter",
    .extent_names = kConvExtents,
    .scalar_names = {},
    .signature = filter_signature,
    .check = check_conv2d,
    .reference = reference::conv2d_backward_filter,
    .flops = conv_flops,
    .bytes = filter_bytes,
    .bound = {.c = 4, .terms = [](const Problem& p) { return conv_shape(p).pixels_out(); }, .unit = conv_unit_roundoff},
    .problems = kGradientProblems,
    .rungs = kFilterRungs,
    .gradient_of = "conv2d",
    .choose = choose_filter,
    .exact_on_integers = true,
};

}  // namespace weft::WEFT_TARGET
