// batch_norm_fold: what a convolution's epilogue needs to do a batch norm's work. For y = batch_norm_eval(conv + bias):
//   scale[k] = weight[k] / sqrt(running_var[k] + eps)
//   shift[k] = (conv_bias[k] - running_mean[k]) scale[k] + bias[k]
// so that y = conv scale[k] + shift[k]. All are (K). 5 K flops and 28 K bytes: nothing beside the launch itself, and
// done again only when the numbers have moved. The filter stays as it is: multiplying the accumulator in the epilogue
// costs the same as a scaled filter, rounds once less, and leaves one filter for training and prediction.

#include "kernels/catalogue_ops.h"
#include "kernels/element.h"
#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace weft::WEFT_TARGET {
namespace {

using extents::BatchNormFold;

// Rung 1, thread-per-channel. The formula as written. There are at most a few thousand channels: no more to be had.
__global__ void batch_norm_fold_thread_per_channel(const float* __restrict__ weight, const float* __restrict__ bias,
                                                   const float* __restrict__ conv_bias,
                                                   const float* __restrict__ running_mean,
                                                   const float* __restrict__ running_var, float* __restrict__ scale,
                                                   float* __restrict__ shift, float eps, int64_t K) {
  const int64_t k = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (k >= K) return;
  const float factor = weight[k] / sqrtf(running_var[k] + eps);
  const float before = conv_bias == nullptr ? 0.0f : conv_bias[k];
  scale[k] = factor;
  shift[k] = (before - running_mean[k]) * factor + bias[k];
}

void launch_thread_per_channel(const Problem& problem, void* const* operands, void*, Stream stream) {
  const int64_t K = problem.extents[BatchNormFold::K];
  launch(batch_norm_fold_thread_per_channel, {.grid = blocks_for(K, kBlock), .block = kBlock, .stream = stream},
         as<const float>(operands[0]), as<const float>(operands[1]), as<const float>(operands[2]),
         as<const float>(operands[3]), as<const float>(operands[4]), as<float>(operands[5]), as<float>(operands[6]),
         problem.scalars[BatchNormFold::eps], K);
}

constexpr const char* kExtents[] = {"K", "has_conv_bias"};
constexpr const char* kScalars[] = {"eps"};
constexpr Problem kProblems[] = {
    {{1, 0}, {1e-5}}, {{3, 1}, {1e-3}}, {{257, 0}, {1e-5}}, {{512, 1}, {1e-5}, DType::f32, "resnet18 layer4"}};
constexpr Rung kRungs[] = {
    {"thread-per-channel", "The formula as written, a thread a channel.", {}, launch_thread_per_channel},
};

double channels(const Problem& p) {
  return static_cast<double>(p.extents[BatchNormFold::K]);
}

}  // namespace

const Op batch_norm_fold = {
    .name = "batch_norm_fold",
    .formula =
        "scale[k] = weight[k] / sqrt(running_var[k] + eps); shift[k] = (conv_bias[k] - running_mean[k]) scale[k] + "
        "bias[k]; all (K)",
    .peer = nullptr,  // a launch over C numbers, which no library has alone
    .extent_names = kExtents,
    .scalar_names = kScalars,
    .signature =
        [](const Problem& p) {
          const int64_t K = p.extents[BatchNormFold::K];
          Signature s{7,
                      {{"weight", Role::input, DType::f32, 1, {K}},
                       {"bias", Role::input, DType::f32, 1, {K}},
                       {"conv_bias", Role::input, DType::f32, 1, {K}},
                       {"running_mean", Role::input, DType::f32, 1, {K}},
                       {"running_var", Role::input, DType::f32, 1, {K}, Fill::positive},
                       {"scale", Role::output, DType::f32, 1, {K}},
                       {"shift", Role::output, DType::f32, 1, {K}}}};
          s.operands[2].present = p.extents[BatchNormFold::has_conv_bias] != 0;
          return s;
        },
    .check =
        [](const Problem& p) {
          Problem extents = p;
          extents.extents[BatchNormFold::has_conv_bias] = 1;
          require_positive("batch_norm_fold", kExtents, extents);
        },
    .reference = reference::batch_norm_fold,
    .flops = [](const Problem& p) { return 5 * channels(p); },
    .bytes = [](const Problem& p) { return (p.extents[BatchNormFold::has_conv_bias] != 0 ? 28 : 24) * channels(p); },
    .bound = {.c = 4},
    .problems = kProblems,
    .rungs = kRungs,
};

}  // namespace weft::WEFT_TARGET
