#include "nn/layers.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace weft {
namespace {

/// Throws Error where x has another rank than the layer takes.
void check_rank(const Builder& builder, const char* layer, ValueId x, int rank, const char* takes) {
  if (builder.shape(x).rank() != rank)
    fail(fmt::format("{}: {} takes {}, not {}", builder.path(), layer, takes, to_string(builder.shape(x))));
}

Initialise bias_or_default(const Initialise& chosen, std::int64_t fan_in) {
  return chosen ? chosen : kaiming_uniform(static_cast<double>(fan_in));
}

}  // namespace

ValueId Linear::forward(Builder& builder, ValueId x) const {
  check_rank(builder, "Linear", x, 2, "(N, C); put a Flatten before it");
  const std::int64_t in = builder.shape(x)[1];
  const ValueId weight = builder.parameter("weight", {out_, in}, options_.weight);
  ValueId bias;
  if (options_.bias) bias = builder.parameter("bias", {out_}, bias_or_default(options_.first_bias, in));
  return ops::gemm(builder.graph(), builder.path(), x, weight, bias, false, true);
}

ValueId Conv2d::forward(Builder& builder, ValueId x) const {
  check_rank(builder, "Conv2d", x, 4, "(N, H, W, C)");
  const std::int64_t channels = builder.shape(x)[3], groups = options_.groups;
  if (groups < 1 || channels % groups != 0 || out_ % groups != 0)
    fail(fmt::format("{}: {} groups must divide the {} channels that come in and the {} that go out", builder.path(),
                     groups, channels, out_));
  const std::int64_t in = channels / groups;
  const ValueId weight = builder.parameter("weight", {out_, kernel_[0], kernel_[1], in}, options_.weight);
  ValueId bias;
  if (options_.bias)
    bias = builder.parameter("bias", {out_}, bias_or_default(options_.first_bias, kernel_[0] * kernel_[1] * in));
  return ops::conv2d(builder.graph(), builder.path(), x, weight, bias,
                     {options_.stride, options_.padding, options_.dilation, options_.groups});
}

ValueId BatchNorm2d::forward(Builder& builder, ValueId x) const {
  const std::int64_t channels = builder.shape(x)[-1];
  const ValueId weight = builder.parameter("weight", {channels}, constant(1));
  const ValueId bias = builder.parameter("bias", {channels}, constant(0));
  const ValueId mean = builder.state("running_mean", {channels}, 0);
  const ValueId variance = builder.state("running_var", {channels}, 1);
  if (builder.training && !builder.fixed_batch_norm && !builder.is_frozen(builder.path()))
    return ops::batch_norm(builder.graph(), builder.path(), x, weight, bias, mean, variance, eps_, momentum_);
  return ops::batch_norm_eval(builder.graph(), builder.path(), x, weight, bias, mean, variance, eps_);
}

ValueId ReLU::forward(Builder& builder, ValueId x) const {
  return ops::relu(builder.graph(), builder.path(), x, ceiling_);
}

ValueId MaxPool2d::forward(Builder& builder, ValueId x) const {
  return ops::max_pool(builder.graph(), builder.path(), x, options_);
}

ValueId AvgPool2d::forward(Builder& builder, ValueId x) const {
  return ops::avg_pool(builder.graph(), builder.path(), x, options_);
}

ValueId GlobalAveragePool::forward(Builder& builder, ValueId x) const {
  return ops::global_avg_pool(builder.graph(), builder.path(), x);
}

Dropout::Dropout(double p) : p_(p) {
  if (!(p >= 0 && p < 1)) fail(fmt::format("dropout's probability is at least 0 and below 1, not {}", p));
}

ValueId Dropout::forward(Builder& builder, ValueId x) const {
  if (p_ == 0 || !builder.training || builder.is_frozen(builder.path())) return x;
  return ops::dropout(builder.graph(), builder.path(), x, p_, builder.seed());
}

ValueId Flatten::forward(Builder& builder, ValueId x) const {
  const Shape& shape = builder.shape(x);
  const std::int64_t rows = shape[0];
  return ops::reshape(builder.graph(), builder.path(), x, {rows, shape.elements() / rows});
}

Sequential::Sequential(std::vector<Named> layers) : layers_(std::move(layers)) {}

Sequential::Sequential(std::vector<ModulePtr> layers) {
  for (ModulePtr& layer : layers) layers_.emplace_back(std::to_string(layers_.size()), std::move(layer));
}

ValueId Sequential::forward(Builder& builder, ValueId x) const {
  for (const auto& [name, layer] : layers_) x = builder.child(name, *layer, x);
  return x;
}

Residual::Residual(ModulePtr body, ModulePtr shortcut, bool relu)
    : body_(std::move(body)), shortcut_(std::move(shortcut)), relu_(relu) {}

ValueId Residual::forward(Builder& builder, ValueId x) const {
  const ValueId body = body_->forward(builder, x);
  const ValueId shortcut = shortcut_ ? builder.child("downsample", *shortcut_, x) : x;
  const ValueId sum = ops::add(builder.graph(), builder.path("add"), body, shortcut);
  return relu_ ? ops::relu(builder.graph(), builder.path("relu"), sum) : sum;
}

Concat::Concat(std::vector<ModulePtr> branches) : branches_(std::move(branches)) {}

ValueId Concat::forward(Builder& builder, ValueId x) const {
  std::vector<ValueId> outputs;
  for (const ModulePtr& branch : branches_) outputs.push_back(branch->forward(builder, x));
  return ops::concat(builder.graph(), builder.path("concat"), outputs);
}

}  // namespace weft
