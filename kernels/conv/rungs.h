#pragma once
// What the convolutions' rungs need of a call, and the sentences that say what each is for: where an op has a rung, its
// list (conv2d.cu, statistics.cu) takes both from here.

#include "kernels/conv/conv.h"
#include "kernels/launch_math.h"

namespace weft::WEFT_TARGET {

inline constexpr Needs kForwardProduct = {
    .dtypes = kFloats, .takes = conv2d_im2col_gemm_takes, .takes_what = "one group, no scale, no ceiling"};
inline constexpr Needs kGradientProduct = {.dtypes = kFloats, .takes = conv_has_no_groups, .takes_what = "one group"};

inline constexpr const char* kDirectIdea = "A thread an element of the result, its sum as the formula says.";
inline constexpr const char* kGemmIdea =
    "The loops fetched each number anew for each use; as a matrix of patches the picture goes through a matrix "
    "product's tiles, which reuse it.";

inline constexpr const char* kTilesIdea =
    "The columns of hundreds of pictures went to memory and back; a tile of them that L2 holds is multiplied while it "
    "is there, and the next written over it.";

inline constexpr const char* kImplicitIdea =
    "Each number of the columns was still written and read, nine times the picture; here patches are gathered straight "
    "into the tiles of the product.";
inline constexpr const char* kImplicitWideIdea =
    "Tiles of 64 x 64 read each operand every 64 results; tiles of 128 x 128 half as often, where there are enough.";
inline constexpr Needs kImplicit = {.dtypes = 1u << static_cast<unsigned>(DType::f32),
                                    .takes = conv2d_implicit_gemm_takes,
                                    .takes_what = "65,535 groups and 2^30 pixels at most"};

inline constexpr Needs kMma = {.min_capability = 80,
                               .dtypes = kFloats,
                               .takes = takes_implicit_mma,
                               .takes_what = "float32 where a call allows TF32; 65,535 groups and 2^30 pixels at most",
                               .alignment = 16};

inline constexpr const char* kHopperTakes = "one group, channels in eights, 2^30 pixels at most";
inline constexpr const char* kPersistentTakes = "one group, channels and filters in eights, 2^30 pixels at most";
inline constexpr const char* kPersistentDataTakes =
    "stride 1, one group, channels and filters in eights, 2^30 pixels at most";
/// Hopper's copy engine and tensor cores.
inline constexpr Needs for_hopper(bool (*takes)(const Problem&), const char* what) {
  return {.exact_capability = 90, .dtypes = bit(DType::bf16), .takes = takes, .takes_what = what, .alignment = 16};
}

inline constexpr const char* kMmaIdea =
    "The matrix of patches went through memory, R S times the picture; here a block fetches its tiles from where they "
    "lie in the picture, cp.async on the way while mma.sync multiplies.";
inline constexpr const char* kWgmmaIdea =
    "Threads spent their instructions on the patches' addresses; TMA's im2col mode brings a tile of them for one "
    "thread's word, and wgmma reads it from shared memory.";

inline constexpr const char* kPersistentIdea =
    "A block fetched, multiplied and wrote in turns; one that stays fetches the next tile's patches meanwhile, and the "
    "copy engine carries results off.";

inline constexpr const char* kPointwiseIdea =
    "A 1x1 filter's patches are the picture's pixels, which were copied, or looked up one by one; as a product of what "
    "lies there it has all of gemm's rungs.";
inline constexpr Needs kForwardPointwise = {
    .dtypes = kFloats,
    .takes = conv2d_pointwise_gemm_takes,
    .takes_what = "1x1 of stride 1, no padding, one group, no scale, no ceiling"};
inline constexpr Needs kGradientPointwise = {
    .dtypes = kFloats, .takes = conv_is_pointwise, .takes_what = "1x1 of stride 1, no padding, one group"};

inline constexpr const char* kDepthwiseIdea =
    "Groups of one channel are no product, and neighbouring threads read filters a sector apart; 32 channels' filters "
    "in shared memory, tap by tap, make every read of a warp 32 neighbours.";
inline constexpr Needs for_depthwise(bool (*takes)(const Problem&)) {
  return {.dtypes = kFloats, .takes = takes, .takes_what = "one channel a group"};
}

inline constexpr const char* kDepthwiseRollingIdea =
    "Each element was read once a tap, 2 or 4 bytes a thread; a block that walks down a picture keeps the rows under "
    "the filter in shared memory, and reads each once, 16 bytes a thread.";
inline constexpr Needs for_depthwise_rolling(bool (*takes)(const Problem&)) {
  return {.min_capability = 80,
          .dtypes = kFloats,
          .takes = takes,
          .takes_what = "one channel and one filter a group, rows within shared memory",
          .alignment = 16};
}

inline constexpr const char* kDepthwiseClusterIdea =
    "Each block read its channels' filters, or wrote its sums of them, of small pictures a tenth of all bytes or more; "
    "a cluster's blocks have them from each other's shared memory.";
inline constexpr Needs for_depthwise_cluster(bool (*takes)(const Problem&)) {
  Needs needs = for_depthwise_rolling(takes);
  needs.min_capability = 0;
  needs.exact_capability = 90;
  return needs;
}

inline constexpr const char* kStemIdea =
    "With 3 channels every float was fetched and questioned by itself, 12 times; a row's taps and channels are one "
    "run, read once for 64 pixels.";
inline constexpr Needs kStem = {.dtypes = kFloats,
                                .takes = conv2d_stem_takes,
                                .takes_what = "4 channels at most, one group, a picture's rows within shared memory"};

inline constexpr const char* kWinogradIdea =
    "36 multiplications a channel for 2 x 2 results of a 3x3 filter; transformed, 16 do, as 16 matrix products.";
inline constexpr Needs kWinograd = {
    .dtypes = bit(DType::f32), .takes = conv2d_winograd_takes, .takes_what = "3x3 of stride and dilation 1, one group"};
inline constexpr double kWinogradFactor = 8;  // its transforms subtract neighbours before they multiply

}  // namespace weft::WEFT_TARGET
