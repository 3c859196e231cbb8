#include "tests/nn/harness.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace weft::tests {

namespace fs = std::filesystem;

void Stripes::load(std::int64_t index, Philox& random, float* item) const {
  constexpr int kPeriod = 4;
  const int shift = augmented_ ? static_cast<int>(random.below(kPeriod)) : 0;
  Philox noise(seed_, static_cast<std::uint64_t>(index));
  for (int y = 0; y < side_; ++y)
    for (int x = 0; x < side_; ++x)
      for (int c = 0; c < channels_; ++c) {
        const int along = (label(index) == 0 ? x : y) + shift;
        *item++ = (along % kPeriod < kPeriod / 2 ? 1.0f : -1.0f) + 0.3f * noise.normal();
      }
  if (index == broken) item[-1] = std::numeric_limits<float>::quiet_NaN();
}

std::string Stripes::identity() const {
  return augmented_ ? std::string() : fmt::format("{} stripes {} {} {} {}", size_, seed_, side_, channels_, broken);
}

LearnerOptions small_options(const std::string& device, int threads) {
  LearnerOptions options;
  options.device = device;
  options.threads = threads;
  options.loader_threads = threads;
  options.batch = 8;
  options.seed = 5;
  return options;
}

Model small_model(std::uint64_t seed) {
  const Conv2d::Options same{.padding = {1, 1}, .bias = false};
  ModulePtr root = sequential({{"conv1", make<Conv2d>(8, 3, same)},
                               {"bn1", make<BatchNorm2d>()},
                               {"relu1", make<ReLU>()},
                               {"pool1", make<MaxPool2d>(ops::PoolOptions{})},
                               {"conv2", make<Conv2d>(12, 3, same)},
                               {"bn2", make<BatchNorm2d>()},
                               {"relu2", make<ReLU>()},
                               {"gap", make<GlobalAveragePool>()},
                               {"head", sequential({{"drop", make<Dropout>(0.2)}, {"fc", make<Linear>(2)}})}});
  return Model("small", std::move(root), {"upright", "lying"}, "head", 3, seed, 8);
}

void StopAfter::count(When when) {
  if (when == when_ && --left_ == 0) Learner::stop_requested() = true;
}

std::vector<std::string> devices() {
  std::vector<std::string> names;
  for (const char* name : {"simt", "cpu", "cuda"}) {
    try {
      make_device(name);
      names.emplace_back(name);
    } catch (const std::exception& error) {
      const std::string without = std::string("without ") + name + ": " + error.what();
      MESSAGE(without);
    }
  }
  return names;
}

fs::path data_folder() {
  const char* folder = std::getenv("WEFT_DATA");
  if (!folder) MESSAGE("skipped: WEFT_DATA does not say where the data lies");
  return folder ? folder : "";
}

bool same_bits(const StateDict& a, const StateDict& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& left, const auto& right) {
    return left.first == right.first && left.second.shape() == right.second.shape() &&
           std::memcmp(left.second.data(), right.second.data(), left.second.bytes()) == 0;
  });
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape().extents() == b.shape().extents());
  const auto x = a.values<float>(), y = b.values<float>();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = std::abs(static_cast<double>(x[i]) - y[i]);
    // Not max(): a NaN must not get lost.
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

}  // namespace weft::tests
