#include "nn/losses.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "core/ops.h"
#include "kernels/error.h"

namespace weft {

Loss soft_cross_entropy_loss() {
  return [](Graph& graph, ValueId logits, ValueId targets) {
    return ops::cross_entropy_soft(graph, "loss", logits, targets);
  };
}

Loss binary_cross_entropy_loss() {
  return [](Graph& graph, ValueId logits, ValueId targets) {
    return ops::binary_cross_entropy(graph, "loss", logits, targets);
  };
}

Loss weighted_binary_cross_entropy_loss() {
  return [](Graph& graph, ValueId logits, ValueId pairs) {
    const std::int64_t answers = graph.value(logits).shape.elements();
    const ValueId is = ops::reshape(graph, "loss.is", logits, {answers, 1});
    const ValueId is_not = ops::fill(graph, "loss.is_not", {answers, 1}, 0);
    return ops::cross_entropy_soft(graph, "loss", ops::concat(graph, "loss.pairs", {is_not, is}),
                                   ops::reshape(graph, "loss.shares", pairs, {answers, 2}));
  };
}

namespace {

void check(const TargetOptions& options, std::int64_t classes) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    fail(fmt::format("label smoothing lies between 0 and 1, not {}", options.label_smoothing));
  const auto& weights = options.class_weights;
  if (weights.empty()) return;
  if (static_cast<std::int64_t>(weights.size()) != classes)
    fail(fmt::format("{} class weights for {} classes", weights.size(), classes));
  for (const float weight : weights)
    if (!(weight > 0 && std::isfinite(weight))) fail(fmt::format("a class weight is above 0, not {}", weight));
}

}  // namespace

Tensor targets_of(const std::vector<std::vector<int>>& labels, std::int64_t classes, const TargetOptions& options,
                  const Mixture* mixture) {
  check(options, classes);
  const auto C = static_cast<std::size_t>(classes), N = labels.size();
  const auto weight = [&](std::size_t c) { return options.class_weights.empty() ? 1.0 : options.class_weights[c]; };
  std::vector<double> shares(N * C, 0.0);
  double total_weight = 0;
  for (std::size_t n = 0; n < N; ++n) {
    for (const int label : labels[n]) {
      if (label < 0 || label >= classes)
        fail(fmt::format("a picture has label {}, and the model knows {} classes", label, classes));
      shares[n * C + static_cast<std::size_t>(label)] = 1;
      total_weight += weight(static_cast<std::size_t>(label));
    }
  }
  if (mixture) {
    const std::vector<double> own = shares;
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t c = 0; c < C; ++c)
        shares[n * C + c] = mixture->share * own[n * C + c] +
                            (1 - mixture->share) * own[static_cast<std::size_t>(mixture->partner[n]) * C + c];
  }
  const double smoothing = options.label_smoothing;
  const double spread = smoothing / (options.multi_label ? 2.0 : static_cast<double>(classes));
  for (double& share : shares) share = (1 - smoothing) * share + spread;
  const bool pairs = options.multi_label && !options.class_weights.empty();
  Tensor targets({static_cast<std::int64_t>(N), pairs ? 2 * classes : classes});
  float* to = targets.values<float>().data();
  if (pairs) {
    for (std::size_t i = 0; i < shares.size(); ++i) {
      to[2 * i] = static_cast<float>(1 - shares[i]);
      to[2 * i + 1] = static_cast<float>(weight(i % C) * shares[i]);
    }
    return targets;
  }
  const double scale = mixture || options.multi_label ? 1 : static_cast<double>(N) / total_weight;
  for (std::size_t i = 0; i < shares.size(); ++i) to[i] = static_cast<float>(shares[i] * weight(i % C) * scale);
  return targets;
}

std::vector<float> balanced_weights(const Dataset& data, std::int64_t classes) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes), 0);
  for (std::int64_t i = 0; i < data.size(); ++i)
    for (const int label : data.labels(i)) ++counts.at(static_cast<std::size_t>(label));
  std::vector<float> weights;
  for (const std::int64_t with : counts) {
    const double without = static_cast<double>(data.size() - with);
    const double share = static_cast<double>(data.size()) / static_cast<double>(classes);
    const double wanted = data.multi_label() ? without : share;
    weights.push_back(with > 0 && wanted > 0 ? static_cast<float>(wanted / static_cast<double>(with)) : 1.0f);
  }
  return weights;
}

std::vector<float> parse_class_weights(const std::string& text, const Dataset& data, std::int64_t classes) {
  if (text.empty()) return {};
  if (text == "balanced") return balanced_weights(data, classes);
  std::vector<float> weights;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    float weight = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, weight);
    if (error != std::errc() || rest != text.data() + end || !(weight > 0) || !std::isfinite(weight))
      throw UsageError(
          fmt::format("--class-weights {}: \"{}\" is not a number above 0; give \"balanced\", or one for "
                      "each class with commas between",
                      text, text.substr(begin, end - begin)));
    weights.push_back(weight);
    begin = end + 1;
  }
  if (static_cast<std::int64_t>(weights.size()) != classes)
    throw UsageError(
        fmt::format("--class-weights {}: {} weights, and there are {} classes", text, weights.size(), classes));
  return weights;
}

}  // namespace weft
