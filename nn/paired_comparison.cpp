#include "nn/paired_comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numbers>

#include "kernels/error.h"
#include "nn/metrics.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

/// The deepest folder that holds all of them.
fs::path common_folder(const std::vector<Prediction>& predictions) {
  fs::path common = fs::path(predictions.front().path).lexically_normal().parent_path();
  for (const Prediction& one : predictions) {
    const fs::path folder = fs::path(one.path).lexically_normal().parent_path();
    fs::path shared;
    auto there = folder.begin();
    for (auto here = common.begin(); here != common.end() && there != folder.end() && *here == *there; ++here, ++there)
      shared /= *here;
    common = shared;
  }
  return common;
}

/// By their paths below that folder.
std::map<std::string, const Prediction*> by_name(const Predictions& run, const std::string& name) {
  if (run.predictions.empty()) fail(fmt::format("{}: its predictions are of no picture", name));
  const fs::path folder = common_folder(run.predictions);
  std::map<std::string, const Prediction*> pictures;
  for (const Prediction& one : run.predictions) {
    const fs::path path = fs::path(one.path).lexically_normal();
    const std::string below = folder.empty() ? path.string() : path.lexically_relative(folder).string();
    if (!pictures.emplace(below, &one).second) fail(fmt::format("{}: has {} twice", name, one.path));
    if (!run.multi_label && one.label < 0)
      fail(fmt::format("{}: does not know the class of {}: evaluate it over class folders", name, one.path));
  }
  return pictures;
}

bool right(const Prediction& prediction, const Predictions& run) {
  return run.multi_label ? labels_above(prediction, run.threshold) == prediction.labels
                         : most_probable(prediction) == prediction.label;
}

}  // namespace

PairedComparison compare(const Predictions& a, const Predictions& b, const std::string& name_a,
                         const std::string& name_b) {
  if (a.multi_label != b.multi_label)
    fail(fmt::format("{} says {} of a picture, {} {}: they cannot be compared", name_a,
                     a.multi_label ? "several labels" : "one class", name_b,
                     b.multi_label ? "several labels" : "one class"));
  if (a.classes != b.classes)
    fail(fmt::format("{} and {} tell other classes apart ({} and {}): they cannot be compared", name_a, name_b,
                     fmt::join(a.classes, ", "), fmt::join(b.classes, ", ")));
  const auto pictures_a = by_name(a, name_a), pictures_b = by_name(b, name_b);
  const auto want_all = [](const auto& pictures, const std::string& here, const auto& others,
                           const std::string& there) {
    for (const auto& [name, one] : pictures)
      if (!others.contains(name))
        fail(fmt::format("{} has {}, and {} does not: evaluate both over the same pictures", here, one->path, there));
  };
  want_all(pictures_a, name_a, pictures_b, name_b);
  want_all(pictures_b, name_b, pictures_a, name_a);

  std::map<const Prediction*, const Prediction*> partner;  // of B's, A's
  for (const auto& [name, one] : pictures_b) partner[one] = pictures_a.at(name);
  PairedComparison result;
  for (const Prediction& in_b : b.predictions) {
    const Prediction& in_a = *partner.at(&in_b);
    if (in_a.label != in_b.label || in_a.labels != in_b.labels)
      fail(fmt::format("{} and {} know {} as something else: evaluate both over the same pictures", name_a, name_b,
                       in_b.path));
    const bool right_a = right(in_a, a), right_b = right(in_b, b);
    ++result.pictures;
    result.right_a += right_a;
    result.right_b += right_b;
    result.right_in_both += right_a && right_b;
    if (right_b && !right_a) result.mended.push_back(in_b.path);
    if (right_a && !right_b) result.broken.push_back(in_b.path);
  }
  result.p = sign_test(std::ssize(result.mended), std::ssize(result.broken));
  return result;
}

double sign_test(std::int64_t mended, std::int64_t broken) {
  const double n = static_cast<double>(mended + broken);
  double tail = 0;
  // In logarithms: C(n, i) and 2^n leave a double's range beyond n = 1023.
  for (double i = 0; i <= static_cast<double>(std::min(mended, broken)); ++i)
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1) - std::lgamma(n - i + 1) - n * std::numbers::ln2);
  return std::min(1.0, 2 * tail);
}

}  // namespace weft
