#pragma once
// The layers. Each is a Module whose options are torch's under the same names; what it is fed says how many channels
// come in. An own layer is a class like these (tests/nn/user_extensions_test.cpp has one).

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace weft {

/// make<Conv2d>(64, 3) for a ModulePtr.
template <class Layer, class... Arguments>
ModulePtr make(Arguments&&... arguments) {
  return std::make_shared<const Layer>(std::forward<Arguments>(arguments)...);
}

/// y (N, out) = x (N, in) weight^T + bias, weight (out, in).
class Linear : public Module {
 public:
  struct Options {
    bool bias = true;
    Initialise weight = kaiming_uniform();
    Initialise first_bias = nullptr;  ///< empty: torch's, uniform within 1 / sqrt(in)
  };
  explicit Linear(std::int64_t out) : Linear(out, Options{}) {}
  Linear(std::int64_t out, Options options) : out_(out), options_(std::move(options)) {}
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  std::int64_t out_;
  Options options_;
};

/// x (N, H, W, C) -> y (N, P, Q, out), weight (out, R, S, C / groups). groups = C is a depthwise convolution.
class Conv2d : public Module {
 public:
  struct Options {
    std::array<std::int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
    std::int64_t groups = 1;
    bool bias = true;
    Initialise weight = kaiming_uniform();
    Initialise first_bias = nullptr;  ///< empty: torch's, uniform within 1 / sqrt(R S C / groups)
  };
  Conv2d(std::int64_t out, std::int64_t kernel) : Conv2d(out, kernel, Options{}) {}
  Conv2d(std::int64_t out, std::int64_t kernel, Options options)
      : Conv2d(out, std::array<std::int64_t, 2>{kernel, kernel}, std::move(options)) {}
  Conv2d(std::int64_t out, std::array<std::int64_t, 2> kernel, Options options)
      : out_(out), kernel_(kernel), options_(std::move(options)) {}
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  std::int64_t out_;
  std::array<std::int64_t, 2> kernel_;
  Options options_;
};

/// Over the last axis, weight from 1 and bias from 0. Ioffe and Szegedy, 2015. In a graph that is not for training, and
/// where the layer is frozen, the running statistics serve and stay as they are.
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(double eps = 1e-5, double momentum = 0.1) : eps_(eps), momentum_(momentum) {}
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  double eps_, momentum_;
};

/// y = min(max(x, 0), ceiling). A ceiling of 0 is none; make<ReLU>(6) is torch's ReLU6.
class ReLU : public Module {
 public:
  explicit ReLU(double ceiling = 0) : ceiling_(ceiling) {}
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  double ceiling_;
};

class MaxPool2d : public Module {
 public:
  explicit MaxPool2d(ops::PoolOptions options) : options_(options) {}
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  ops::PoolOptions options_;
};

class AvgPool2d : public Module {
 public:
  explicit AvgPool2d(ops::PoolOptions options) : options_(options) {}
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  ops::PoolOptions options_;
};

/// (N, H, W, C) -> (N, C): torch's AdaptiveAvgPool2d(1) and flatten in one.
class GlobalAveragePool : public Module {
 public:
  ValueId forward(Builder& builder, ValueId x) const override;
};

/// Nothing in a graph that is not for training, and where the layer is frozen.
class Dropout : public Module {
 public:
  /// Throws Error unless 0 <= p < 1.
  explicit Dropout(double p = 0.5);
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  double p_;
};

/// (N, H, W, C) -> (N, H W C). The order within a row is that of NHWC, where torch's is that of NCHW: a Linear behind
/// it has the columns of its weight in another order than torch's.
class Flatten : public Module {
 public:
  ValueId forward(Builder& builder, ValueId x) const override;
};

/// Layers one after another, each under its name; an empty name adds nothing to the path.
class Sequential : public Module {
 public:
  using Named = std::pair<std::string, ModulePtr>;
  explicit Sequential(std::vector<Named> layers);
  /// Under their numbers, "0", "1", ...
  explicit Sequential(std::vector<ModulePtr> layers);
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  std::vector<Named> layers_;
};

/// sequential({{"conv1", make<Conv2d>(64, 3)}, {"relu", make<ReLU>()}}).
inline ModulePtr sequential(std::vector<Sequential::Named> layers) {
  return std::make_shared<const Sequential>(std::move(layers));
}

/// relu(body(x) + shortcut(x)), or without `relu` the sum alone. The body's layers stand directly under the block's
/// path; the shortcut under "downsample", and where there is none it is x itself. He et al., "Deep Residual Learning",
/// 2015.
class Residual : public Module {
 public:
  explicit Residual(ModulePtr body, ModulePtr shortcut = nullptr, bool relu = true);
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  ModulePtr body_, shortcut_;
  bool relu_;
};

/// Branches fed with the same x and joined along the channels. Each names its layers itself, directly under the path.
class Concat : public Module {
 public:
  explicit Concat(std::vector<ModulePtr> branches);
  ValueId forward(Builder& builder, ValueId x) const override;

 private:
  std::vector<ModulePtr> branches_;
};

}  // namespace weft
