// The architectures, layer by layer, under torchvision's names.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "kernels/error.h"
#include "nn/layers.h"
#include "nn/model.h"

namespace weft {
namespace {

ops::PoolOptions pool(std::int64_t window, std::int64_t stride, std::int64_t padding = 0, bool ceil_mode = false) {
  return {{window, window}, {stride, stride}, {padding, padding}, ceil_mode};
}

/// A convolution as ResNets have it: no bias (batch norm follows), Kaiming's normal over fan_out.
ModulePtr residual_conv(std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  const std::int64_t padding = kernel / 2;
  return make<Conv2d>(
      out, kernel,
      Conv2d::Options{
          .stride = {stride, stride}, .padding = {padding, padding}, .bias = false, .weight = kaiming_normal()});
}

/// What the shortcut needs where the body changes the shape.
ModulePtr downsample(std::int64_t out, std::int64_t stride) {
  return sequential({{"0", residual_conv(out, 1, stride)}, {"1", make<BatchNorm2d>()}});
}

using Block = ModulePtr (*)(std::int64_t width, std::int64_t stride, bool projects);

/// Two 3x3: resnet18 and 34.
ModulePtr basic_block(std::int64_t width, std::int64_t stride, bool projects) {
  return make<Residual>(sequential({{"conv1", residual_conv(width, 3, stride)},
                                    {"bn1", make<BatchNorm2d>()},
                                    {"relu1", make<ReLU>()},
                                    {"conv2", residual_conv(width, 3, 1)},
                                    {"bn2", make<BatchNorm2d>()}}),
                        projects ? downsample(width, stride) : nullptr);
}

/// 1x1 down, 3x3, 1x1 up to four times the width: resnet50.
ModulePtr bottleneck(std::int64_t width, std::int64_t stride, bool projects) {
  return make<Residual>(sequential({{"conv1", residual_conv(width, 1, 1)},
                                    {"bn1", make<BatchNorm2d>()},
                                    {"relu1", make<ReLU>()},
                                    {"conv2", residual_conv(width, 3, stride)},
                                    {"bn2", make<BatchNorm2d>()},
                                    {"relu2", make<ReLU>()},
                                    {"conv3", residual_conv(4 * width, 1, 1)},
                                    {"bn3", make<BatchNorm2d>()}}),
                        projects ? downsample(4 * width, stride) : nullptr);
}

/// `count` blocks, the first of which may halve the picture and change the channels.
ModulePtr stage(Block block, int count, std::int64_t width, std::int64_t stride, bool projects) {
  std::vector<ModulePtr> blocks;
  for (int i = 0; i < count; ++i) blocks.push_back(block(width, i == 0 ? stride : 1, i == 0 && projects));
  return make<Sequential>(std::move(blocks));
}

ModulePtr resnet(Block block, const std::array<int, 4>& counts, std::int64_t classes) {
  // Only basic blocks' first stage keeps both the picture and the 64 channels.
  const bool first_projects = block == bottleneck;
  return sequential(
      {{"conv1",
        make<Conv2d>(64, 7,
                     Conv2d::Options{.stride = {2, 2}, .padding = {3, 3}, .bias = false, .weight = kaiming_normal()})},
       {"bn1", make<BatchNorm2d>()},
       {"relu", make<ReLU>()},
       {"maxpool", make<MaxPool2d>(pool(3, 2, 1))},
       {"layer1", stage(block, counts[0], 64, 1, first_projects)},
       {"layer2", stage(block, counts[1], 128, 2, true)},
       {"layer3", stage(block, counts[2], 256, 2, true)},
       {"layer4", stage(block, counts[3], 512, 2, true)},
       {"avgpool", make<GlobalAveragePool>()},
       {"fc", make<Linear>(classes)}});
}

ModulePtr squeezenet_conv(std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  return make<Conv2d>(out, kernel,
                      Conv2d::Options{.stride = {stride, stride},
                                      .padding = {padding, padding},
                                      .weight = kaiming_uniform_relu(),
                                      .first_bias = constant(0)});
}

/// SqueezeNet's Fire: a 1x1 that squeezes, then a 1x1 and a 3x3 side by side that expand.
ModulePtr fire(std::int64_t squeeze, std::int64_t expand) {
  return sequential(
      {{"squeeze", squeezenet_conv(squeeze, 1, 1, 0)},
       {"squeeze_activation", make<ReLU>()},
       {"",
        make<Concat>(std::vector<ModulePtr>{
            sequential({{"expand1x1", squeezenet_conv(expand, 1, 1, 0)}, {"expand1x1_activation", make<ReLU>()}}),
            sequential({{"expand3x3", squeezenet_conv(expand, 3, 1, 1)}, {"expand3x3_activation", make<ReLU>()}})})}});
}

ModulePtr squeezenet(std::int64_t classes) {
  const ModulePtr halve = make<MaxPool2d>(pool(3, 2, 0, true));
  const ModulePtr features = make<Sequential>(std::vector<ModulePtr>{
      squeezenet_conv(64, 3, 2, 0), make<ReLU>(), halve, fire(16, 64), fire(16, 64), halve, fire(32, 128),
      fire(32, 128), halve, fire(48, 192), fire(48, 192), fire(64, 256), fire(64, 256)});
  const ModulePtr classifier = make<Sequential>(std::vector<ModulePtr>{
      make<Dropout>(0.5),
      make<Conv2d>(classes, 1, Conv2d::Options{.weight = normal(0, 0.01), .first_bias = constant(0)}), make<ReLU>(),
      make<GlobalAveragePool>()});
  return sequential({{"features", features}, {"classifier", classifier}});
}

constexpr double kReLU6 = 6;

/// Convolution, batch norm, ReLU6: torchvision's Conv2dNormActivation. `groups` = `out`: depthwise.
ModulePtr mobilenet_conv(std::int64_t out, std::int64_t kernel, std::int64_t stride = 1, std::int64_t groups = 1) {
  const std::int64_t padding = kernel / 2;
  return make<Sequential>(std::vector<ModulePtr>{make<Conv2d>(out, kernel,
                                                              Conv2d::Options{.stride = {stride, stride},
                                                                              .padding = {padding, padding},
                                                                              .groups = groups,
                                                                              .bias = false,
                                                                              .weight = kaiming_normal()}),
                                                 make<BatchNorm2d>(), make<ReLU>(kReLU6)});
}

/// MobileNet V2's block: a 1x1 that widens `in` channels by `expand`, a depthwise 3x3, a 1x1 that narrows and ends
/// without a ReLU; x is added where the shape stays.
ModulePtr inverted_residual(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t expand) {
  const std::int64_t wide = in * expand;
  std::vector<ModulePtr> layers;
  if (expand > 1) layers.push_back(mobilenet_conv(wide, 1));
  layers.push_back(mobilenet_conv(wide, 3, stride, wide));
  layers.push_back(make<Conv2d>(out, 1, Conv2d::Options{.bias = false, .weight = kaiming_normal()}));
  layers.push_back(make<BatchNorm2d>());
  ModulePtr body = sequential({{"conv", make<Sequential>(std::move(layers))}});
  return stride == 1 && in == out ? make<Residual>(std::move(body), nullptr, false) : body;
}

ModulePtr mobilenet(std::int64_t classes) {
  struct Stage {
    std::int64_t expand, channels;
    int count;
    std::int64_t stride;  // of the first of `count` blocks
  };
  constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                               {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  std::int64_t channels = 32;
  std::vector<ModulePtr> features = {mobilenet_conv(channels, 3, 2)};
  for (const Stage& stage : kStages)
    for (int i = 0; i < stage.count; ++i) {
      features.push_back(inverted_residual(channels, stage.channels, i == 0 ? stage.stride : 1, stage.expand));
      channels = stage.channels;
    }
  features.push_back(mobilenet_conv(1280, 1));
  return sequential(
      {{"features", make<Sequential>(std::move(features))},
       {"avgpool", make<GlobalAveragePool>()},
       {"classifier", make<Sequential>(std::vector<ModulePtr>{
                          make<Dropout>(0.2), make<Linear>(classes, Linear::Options{.weight = normal(0, 0.01),
                                                                                    .first_bias = constant(0)})})}});
}

std::int64_t count(const Classes& classes) {
  return static_cast<std::int64_t>(classes.size());
}

Model make_mlp(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = sequential({{"flatten", make<Flatten>()},
                               {"fc1", make<Linear>(512)},
                               {"relu1", make<ReLU>()},
                               {"fc2", make<Linear>(512)},
                               {"relu2", make<ReLU>()},
                               {"fc3", make<Linear>(count(classes))}});
  return Model("mlp", std::move(root), std::move(classes), "fc3", channels, seed, 28);
}

Model make_lenet(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = sequential({{"conv1", make<Conv2d>(20, 5)},
                               {"pool1", make<MaxPool2d>(pool(2, 2))},
                               {"conv2", make<Conv2d>(50, 5)},
                               {"pool2", make<MaxPool2d>(pool(2, 2))},
                               {"flatten", make<Flatten>()},
                               {"fc1", make<Linear>(500)},
                               {"relu1", make<ReLU>()},
                               {"fc2", make<Linear>(count(classes))}});
  return Model("lenet", std::move(root), std::move(classes), "fc2", channels, seed, 28);
}

Model make_resnet18(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = resnet(basic_block, {2, 2, 2, 2}, count(classes));
  return Model("resnet18", std::move(root), std::move(classes), "fc", channels, seed);
}

Model make_resnet34(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = resnet(basic_block, {3, 4, 6, 3}, count(classes));
  return Model("resnet34", std::move(root), std::move(classes), "fc", channels, seed);
}

Model make_resnet50(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = resnet(bottleneck, {3, 4, 6, 3}, count(classes));
  return Model("resnet50", std::move(root), std::move(classes), "fc", channels, seed);
}

Model make_squeezenet1_1(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = squeezenet(count(classes));
  return Model("squeezenet1_1", std::move(root), std::move(classes), "classifier", channels, seed);
}

Model make_mobilenet_v2(Classes classes, std::int64_t channels, std::uint64_t seed) {
  ModulePtr root = mobilenet(count(classes));
  return Model("mobilenet_v2", std::move(root), std::move(classes), "classifier", channels, seed);
}

struct Architecture {
  const char* name;
  Model (*make)(Classes classes, std::int64_t channels, std::uint64_t seed);
};

constexpr Architecture kArchitectures[] = {
    {"mlp", make_mlp},
    {"lenet", make_lenet},
    {"resnet18", make_resnet18},
    {"resnet34", make_resnet34},
    {"resnet50", make_resnet50},
    {"squeezenet1_1", make_squeezenet1_1},
    {"mobilenet_v2", make_mobilenet_v2},
};

}  // namespace

Model mlp(Classes classes, std::int64_t channels, std::uint64_t seed) {
  return make_mlp(std::move(classes), channels, seed);
}
Model lenet(Classes classes, std::int64_t channels, std::uint64_t seed) {
  return make_lenet(std::move(classes), channels, seed);
}
Model resnet18(Classes classes, std::uint64_t seed) {
  return make_resnet18(std::move(classes), 3, seed);
}
Model resnet34(Classes classes, std::uint64_t seed) {
  return make_resnet34(std::move(classes), 3, seed);
}
Model resnet50(Classes classes, std::uint64_t seed) {
  return make_resnet50(std::move(classes), 3, seed);
}
Model squeezenet1_1(Classes classes, std::uint64_t seed) {
  return make_squeezenet1_1(std::move(classes), 3, seed);
}
Model mobilenet_v2(Classes classes, std::uint64_t seed) {
  return make_mobilenet_v2(std::move(classes), 3, seed);
}

Model make_model(const std::string& arch, Classes classes, std::int64_t channels, std::uint64_t seed) {
  for (const Architecture& known : kArchitectures)
    if (arch == known.name) return known.make(std::move(classes), channels, seed);
  throw UsageError(fmt::format("there is no architecture '{}'; there are {}", arch, fmt::join(model_names(), ", ")));
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Architecture& known : kArchitectures) names.emplace_back(known.name);
  return names;
}

}  // namespace weft
