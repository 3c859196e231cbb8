#pragma once
// Inside nn/: what an executor is fed with, batch after batch: pictures, or features kept of them.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "data/loader.h"
#include "nn/features.h"

namespace weft {

/// One batch. Where batches are padded, x has the full size and only its first `count` rows mean something. Its memory
/// is used again by the next call of Batches::next().
struct Fed {
  Tensor x;
  Tensor labels;                      ///< (count), int32
  std::vector<std::int64_t> indices;  ///< (count), into the data set
  std::int64_t number = 0;            ///< which batch of its epoch this is
  std::int64_t count() const { return static_cast<std::int64_t>(indices.size()); }
};

class Batches {
 public:
  virtual ~Batches();
  /// The graph's input: "input" or "features".
  virtual const char* input() const = 0;
  virtual std::int64_t batches() const = 0;
  virtual void start(std::int64_t epoch, std::int64_t first) = 0;
  /// False at the epoch's end.
  virtual bool next(Fed& fed) = 0;
};

struct BatchesOptions {
  std::int64_t batch = 64;
  bool training = false;  ///< shuffled, ragged at the end; else in order, padded to one size
  int threads = 0;
  std::uint64_t seed = 0;
  int ahead = 0;  ///< LoaderOptions::ahead; State::loader_ahead() knows
};

/// Pictures through a Loader. In training a last batch of a single picture is left out of its epoch: batch
/// normalisation has no variance of one value, and the next epoch's order leaves out another one.
class PictureBatches : public Batches {
 public:
  PictureBatches(std::shared_ptr<const Dataset> dataset, const BatchesOptions& options);
  const char* input() const override { return "input"; }
  std::int64_t batches() const override { return batches_; }
  void start(std::int64_t epoch, std::int64_t first) override;
  bool next(Fed& fed) override;

 private:
  Shape item_;
  BatchesOptions options_;
  Loader loader_;
  Batch batch_;
  Tensor padded_;
  std::int64_t batches_;
};

/// Rows of a FeatureCache, in the order in which a Loader would visit them.
class FeatureBatches : public Batches {
 public:
  FeatureBatches(const FeatureCache& cache, const BatchesOptions& options);
  const char* input() const override { return "features"; }
  std::int64_t batches() const override { return batches_; }
  void start(std::int64_t epoch, std::int64_t first) override;
  bool next(Fed& fed) override;

 private:
  const FeatureCache& cache_;
  BatchesOptions options_;
  std::vector<std::int64_t> order_;
  Tensor rows_;
  std::int64_t next_ = 0, batches_;
};

}  // namespace weft
