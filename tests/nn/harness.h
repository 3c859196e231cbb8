#pragma once
// Small data and small models for the tests of nn/.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "nn/learner.h"
#include "tests/temporary_folder.h"

namespace weft::tests {

using test::TemporaryFolder;

/// Noisy stripes: upright for class 0, lying for class 1. `augmented` ones are shifted anew each time.
class Stripes : public Dataset {
 public:
  Stripes(std::int64_t size, std::uint64_t seed, bool augmented = false, int side = 8, int channels = 3)
      : size_(size), seed_(seed), augmented_(augmented), side_(side), channels_(channels) {}
  std::int64_t size() const override { return size_; }
  ItemShape shape() const override { return {side_, side_, channels_}; }
  int label(std::int64_t index) const override { return static_cast<int>(index % 2); }
  std::string name(std::int64_t index) const override { return "stripes/" + std::to_string(index); }
  void load(std::int64_t index, Philox& random, float* item) const override;
  bool augmented() const override { return augmented_; }
  std::string identity() const override;
  /// load() writes a NaN into this item; below 0: into none.
  std::int64_t broken = -1;

 private:
  std::int64_t size_;
  std::uint64_t seed_;
  bool augmented_;
  int side_, channels_;
};

/// conv1, bn1, relu1, pool1, conv2, bn2, relu2, gap, drop, fc: everything that has a say in the bits.
Model small_model(std::uint64_t seed = 0);

/// The cpu device, or simt in a build without it: for a test that asks for no device in particular.
#if WEFT_WITH_CPU
inline constexpr const char* kAnyDevice = "cpu";
#else
inline constexpr const char* kAnyDevice = "simt";
#endif

/// For it: `device`, batches of 8, seed 5, and so many threads that compute and that load.
LearnerOptions small_options(const std::string& device = kAnyDevice, int threads = 2);

/// Requests a stop after so many calls, over all of them.
class StopAfter : public Callback {
 public:
  enum class When { step, features, epoch };
  StopAfter(When when, int calls) : when_(when), left_(calls) {}
  void on_features(std::int64_t, std::int64_t) override { count(When::features); }
  void on_step(const StepResult&) override { count(When::step); }
  void on_epoch(const EpochResult&) override { count(When::epoch); }

 private:
  void count(When when);
  When when_;
  int left_;
};

/// "simt", "cpu" where it is built in, and "cuda" where there is a GPU.
std::vector<std::string> devices();
/// The environment's WEFT_DATA, or nothing, which is said.
std::filesystem::path data_folder();

/// Whether two states are the same names with the same bits.
bool same_bits(const StateDict& a, const StateDict& b);
/// Largest |a - b| over the elements.
double largest_difference(const Tensor& a, const Tensor& b);

}  // namespace weft::tests
