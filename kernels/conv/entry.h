#pragma once
// What the catalogue's entries of the convolution ops have in common.

#include "kernels/catalogue.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

inline constexpr const char* kConvExtents[] = {
    "N",     "H",     "W",          "C",          "K",      "R",        "S",         "stride_h",     "stride_w",
    "pad_h", "pad_w", "dilation_h", "dilation_w", "groups", "has_bias", "has_scale", "has_residual", "relu",
    "tf32"};

inline constexpr const char* kConvScalars[] = {"ceiling"};

inline constexpr Needs kConvNeeds = {.dtypes = 1u << static_cast<unsigned>(DType::f32) |
                                               1u << static_cast<unsigned>(DType::bf16)};

/// The shapes worth testing. N, H, W, C, K, R, S, stride (h, w), pad (h, w), dilation (h, w), groups, has_bias,
/// has_scale, has_residual, relu. First those of one group, then the grouped, then those with an epilogue.
inline constexpr Problem kConvProblems[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "one of everything"},
    {{2, 1, 1, 7, 3, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}, {}, DType::f32, "pictures of one pixel"},
    {{3, 1, 1, 5, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "one pixel under 3x3"},
    {{2, 2, 3, 3, 2, 5, 7, 1, 1, 2, 3, 1, 1, 1, 0}, {}, DType::f32, "a filter larger than the picture"},
    {{2, 3, 4, 2, 3, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1}, {}, DType::f32, "1x1 with padding: patches of padding alone"},
    {{1, 7, 9, 4, 5, 2, 3, 1, 2, 0, 1, 1, 1, 1, 1}, {}, DType::f32, "oblong in everything"},
    {{2, 9, 7, 3, 4, 2, 2, 3, 3, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "a stride larger than the filter"},
    {{1, 11, 13, 3, 5, 3, 3, 1, 1, 2, 2, 2, 2, 1, 1}, {}, DType::f32, "dilation 2"},
    {{2, 13, 11, 2, 3, 3, 2, 2, 1, 3, 1, 2, 3, 1, 0}, {}, DType::f32, "stride, padding and dilation, each its own"},
    {{1, 17, 19, 31, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "prime picture, ragged channels"},
    {{2, 5, 5, 65, 7, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}, {}, DType::f32, "1x1: the picture is the columns"},
    {{2, 8, 8, 16, 24, 1, 1, 2, 2, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "1x1 stride 2, as resnet's downsample"},
    {{1, 10, 10, 1, 64, 5, 5, 1, 1, 0, 0, 1, 1, 1, 1}, {}, DType::f32, "lenet's first"},
    {{1, 32, 32, 3, 64, 7, 7, 2, 2, 3, 3, 1, 1, 1, 0}, {}, DType::f32, "resnet's stem at 32 px"},
    {{1, 14, 14, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "resnet18 layer1 at 56 px"},
    {{1, 7, 7, 64, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "resnet18 layer2.0.conv1 at 28 px"},
    {{5, 14, 14, 32, 8, 5, 5, 1, 1, 2, 2, 1, 1, 1, 1}, {}, DType::f32, "columns in several parts on simt"},
    {{5, 16, 16, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "five pictures, three to a tile on simt"},
    // For the tensor cores' rungs: channels in eights, of which copies of 16 bytes are made.
    {{5, 1, 1, 16, 8, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "1x1 pictures in eights"},
    {{3, 5, 4, 8, 72, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "stride 2: every class has other taps"},
    {{1, 9, 7, 72, 16, 3, 2, 2, 1, 3, 0, 1, 2, 1, 0}, {}, DType::f32, "more padding than the filter needs"},
    {{2, 13, 11, 8, 16, 3, 3, 3, 2, 2, 1, 2, 3, 1, 0}, {}, DType::f32, "six classes, dilation 2 and 3"},
    {{1, 9, 10, 16, 8, 3, 2, 2, 2, 2, 1, 2, 2, 1, 0}, {}, DType::f32, "stride and dilation 2: classes without taps"},
    {{1, 12, 12, 136, 136, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "two tiles each way, ragged"},
    {{2, 24, 24, 8, 8, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "pixels enough for two slices"},
    {{2, 9, 8, 20, 12, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, channels in fours"},
    {{1, 6, 7, 5, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, ragged channels"},
    // For Winograd: padding more than a filter less one, and none; odd results; channels in fours.
    {{2, 4, 5, 6, 7, 3, 3, 1, 1, 3, 0, 1, 1, 1, 0}, {}, DType::f32, "3x3 with padding 3 and 0"},
    {{3, 6, 6, 12, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "3x3, tiles of 2x2 whole"},
    {{1, 16, 32, 4, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "3x3, a whole wide tile of tiles"},
    {{1, 3, 70, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "few channels, rows longer than a stem's run"},
    {{1, 15, 15, 3, 16, 3, 3, 2, 2, 0, 0, 1, 1, 1, 1}, {}, DType::f32, "squeezenet's first at 15 px"},
    {{2, 6, 6, 16, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "squeezenet's expand3x3 at 6 px"},
    {{1, 7, 7, 24, 144, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "mobilenet_v2's expansion at 7 px"},
    {{1, 4, 4, 256, 64, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "resnet50 layer1.1.conv1 at 4 px"},
    {{1, 4, 4, 64, 256, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "resnet50 layer1.0.conv3 at 4 px"},
    {{1, 4, 4, 256, 512, 1, 1, 2, 2, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "resnet18 layer4.0.downsample at 4 px"},
    {{1, 4, 4, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "resnet18 layer2 at 4 px: Winograd is chosen"},
    {{1, 4, 4, 128, 256, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "resnet18 layer3.0.conv1 at 4 px"},
    {{1, 6, 6, 128, 16, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}, {}, DType::f32, "squeezenet's fire3.squeeze at 6 px"},
    {{2, 6, 6, 16, 64, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1}, {}, DType::f32, "squeezenet's fire3.expand1x1 at 6 px"},
    {{1, 7, 7, 144, 24, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "mobilenet_v2's projection at 7 px"},
    {{1, 5, 4, 63, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "63 channels, 17 filters"},
    {{1, 6, 5, 5, 63, 3, 3, 2, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "5 channels, 63 filters"},
    {{1, 4, 5, 17, 63, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "17 channels, 63 filters"},
    {{1, 4, 3, 8, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "channels in eights, 3 filters"},
    {{1, 4, 3, 8, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "channels in eights, 5 filters"},
    {{1, 4, 3, 16, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "channels in eights, 17 filters"},
    {{1, 4, 3, 16, 63, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "channels in eights, 63 filters"},
    {{1, 2, 2, 16, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "3x3 larger than the picture, in eights"},
    {{3, 1, 1, 16, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "one pixel under 3x3, in eights"},
    {{2, 1, 1, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "one pixel of 3 channels under 3x3"},
    {{1, 3, 4, 4, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0}, {}, DType::f32, "4 channels, 17 filters"},
    {{1, 3, 4, 3, 63, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "1x1, 3 channels, 63 filters"},
    {{1, 3, 4, 5, 17, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "1x1, 5 channels, 17 filters"},
    {{1, 3, 4, 17, 3, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "1x1, 17 channels, 3 filters"},
    {{1, 3, 4, 63, 5, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, {}, DType::f32, "1x1, 63 channels, 5 filters"},
    {{1, 9, 10, 16, 24, 3, 2, 1, 1, 2, 1, 2, 3, 1, 0}, {}, DType::f32, "stride 1, oblong and dilated, in eights"},
    // For the tensor cores' TF32. Rungs without it take these too, within TF32's bound: so each has its like above.
    {{2, 1, 1, 17, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, one pixel under 3x3"},
    {{1, 2, 2, 3, 63, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, larger than the picture"},
    {{1, 8, 8, 63, 17, 2, 2, 3, 3, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, stride larger than filter"},
    {{1, 9, 10, 12, 20, 3, 2, 1, 1, 2, 1, 2, 3, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, oblong and dilated"},
    {{1, 4, 5, 136, 136, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, two tiles each way"},
    {{2, 24, 24, 8, 72, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, pixels for two slices"},
    {{2, 7, 6, 6, 9, 3, 3, 1, 1, 1, 1, 1, 1, 3, 0}, {}, DType::f32, "three groups of 2 channels and 3 filters"},
    {{1, 9, 8, 32, 16, 3, 2, 2, 1, 1, 1, 1, 2, 2, 0}, {}, DType::f32, "two groups, oblong in everything"},
    {{2, 5, 5, 8, 12, 1, 1, 1, 1, 0, 0, 1, 1, 4, 0}, {}, DType::f32, "1x1 in groups"},
    {{1, 7, 6, 12, 10, 3, 2, 2, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 1}, {}, DType::f32, "tf32, two groups"},
    {{2, 9, 10, 33, 33, 3, 3, 1, 1, 1, 1, 1, 1, 33, 0}, {}, DType::f32, "depthwise"},
    {{2, 11, 9, 40, 40, 3, 3, 2, 2, 1, 1, 1, 1, 40, 0}, {}, DType::f32, "depthwise stride 2, as mobilenet_v2's"},
    {{1, 7, 8, 5, 15, 5, 3, 1, 2, 2, 1, 1, 1, 5, 0}, {}, DType::f32, "depthwise, three filters a channel"},
    {{2, 1, 1, 17, 17, 3, 3, 1, 1, 1, 1, 1, 1, 17, 0}, {}, DType::f32, "depthwise, one pixel under 3x3"},
    {{1, 2, 2, 63, 63, 3, 3, 1, 1, 1, 1, 1, 1, 63, 0}, {}, DType::f32, "depthwise, larger than the picture"},
    {{1, 5, 7, 3, 3, 2, 2, 3, 3, 0, 0, 1, 1, 3, 0}, {}, DType::f32, "depthwise, a stride larger than the filter"},
    {{1, 4, 5, 5, 5, 3, 3, 1, 1, 1, 1, 1, 1, 5, 0}, {}, DType::f32, "depthwise, 5 channels"},
    {{1, 19, 29, 72, 72, 3, 2, 1, 2, 2, 1, 2, 3, 72, 0}, {}, DType::f32, "depthwise, dilated, in steps of rows"},
    {{17, 14, 14, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8, 0}, {}, DType::f32, "depthwise, pictures for two clusters"},
    {{2, 6, 7, 20, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1}, {}, DType::f32, "bias and relu"},
    {{2, 6, 7, 20, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0}, {}, DType::f32, "scale"},
    {{1, 9, 9, 17, 63, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "a whole residual block's end"},
    {{2, 5, 5, 64, 32, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1}, {}, DType::f32, "1x1, bias, residual and relu"},
    {{2, 5, 6, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8, 1, 1, 1, 1}, {}, DType::f32, "depthwise with all of it"},
    {{1, 4, 5, 6, 4, 3, 3, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1}, {}, DType::f32, "two groups with all of it"},
    {{1, 9, 9, 16, 63, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "all of it, channels in eights"},
    {{1, 5, 6, 32, 48, 3, 3, 1, 1, 1, 1, 1, 1, 2, 0, 1, 1, 1}, {}, DType::f32, "all of it but bias, groups of 16"},
    {{2, 6, 5, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1}, {2}, DType::f32, "scale and relu with a ceiling"},
    {{2, 5, 7, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16, 1, 1, 1, 1}, {1.5}, DType::f32, "depthwise, all of it, a ceiling"},
    // More filters than a tile of each rung has columns.
    {{1, 5, 6, 8, 264, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1.5}, DType::f32, "all of it, three tiles of filters"},
    {{1, 5, 4, 16, 136, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1}, {}, DType::f32, "1x1, gemm's epilogue, two tiles"},
    {{1, 4, 5, 8, 136, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1.5}, DType::f32, "tf32, all of it, two tiles"},
    {{1, 5, 6, 3, 72, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {1.5}, DType::f32, "few channels, all of it, 72 filters"},
    {{1, 4, 5, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40, 1, 1, 1, 1}, {1.5}, DType::f32, "depthwise, all of it, 40 channels"},
};
inline constexpr std::size_t kGroupedProblems = 13, kEpilogueProblems = 15;
inline constexpr std::span<const Problem> kForwardProblems = kConvProblems;
inline constexpr std::span<const Problem> kGradientProblems =
    kForwardProblems.first(kForwardProblems.size() - kEpilogueProblems);
inline constexpr std::span<const Problem> kUngroupedProblems =
    kGradientProblems.first(kGradientProblems.size() - kGroupedProblems);

/// Throws weft::Error, with the extents in it, for a convolution that makes no sense.
void check_conv2d(const Problem& problem);
/// The same for im2col and col2im, which know no groups.
void check_im2col(const Problem& problem);

inline double conv_element_bytes(const Problem& problem) {
  return problem.dtype == DType::f32 ? 4 : 2;
}

}  // namespace weft::WEFT_TARGET
