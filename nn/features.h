#pragma once
// What a frozen trunk makes of each picture, computed once and kept: fast.ai's "precompute". In memory, or, beyond a
// budget, in RUN/features-NAME.f32 (rows of float32 in the order in which they were computed). When training stops they
// are left in RUN with an index beside them (features-NAME.safetensors), so that --resume need not compute them again.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/shape.h"
#include "core/tensor.h"

namespace weft {

class FeatureCache {
 public:
  /// Rows of `shape`, `expected` of them. They go to disk where they take more than `memory` bytes and there is a
  /// `run`. `identity` says what they depend on: what another trunk or other pictures left in RUN is not taken. Empty:
  /// unknown, and nothing is left in RUN or taken from it.
  FeatureCache(std::string name, Shape shape, std::int64_t expected, std::size_t memory, std::filesystem::path run,
               std::string identity);
  /// Nothing stays in RUN but what save() left.
  ~FeatureCache();
  FeatureCache(const FeatureCache&) = delete;
  FeatureCache& operator=(const FeatureCache&) = delete;

  const Shape& shape() const { return shape_; }
  std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }
  std::int32_t label(std::int64_t row) const { return labels_[static_cast<std::size_t>(row)]; }
  /// The picture's index in its data set.
  std::int64_t index(std::int64_t row) const { return indices_[static_cast<std::size_t>(row)]; }
  /// Batches of the data set whose rows are here, from the first on.
  std::int64_t batches() const { return batches_; }
  bool on_disk() const { return on_disk_; }
  /// That all rows will take in memory.
  std::size_t bytes_expected() const { return memory_.capacity() * sizeof(float); }

  /// Adds batch `number`: a row for each label. Throws Error where the disk is full.
  void append(std::int64_t number, const float* rows, std::span<const std::int32_t> labels,
              std::span<const std::int64_t> indices);
  void read(std::int64_t row, float* to) const;

  /// Leaves all rows in RUN, for restore(). Without a RUN nothing happens.
  void save();
  /// Takes what save() left in RUN, if it is of the same identity and whole.
  void restore();
  /// All rows, labels and indices under this cache's name, of one that is in memory; and back, where they are as many
  /// as expected.
  std::map<std::string, Tensor> tensors() const;
  bool take(const std::map<std::string, Tensor>& tensors);
  /// Takes back what save() left.
  void discard() noexcept;

 private:
  void open(bool truncate);
  void write(const float* rows, std::int64_t count, std::int64_t at);
  void read_file(std::int64_t row, std::int64_t count, float* to) const;
  std::filesystem::path data_path() const;
  std::filesystem::path index_path() const;

  std::string name_;
  Shape shape_;
  std::filesystem::path run_;
  std::string identity_;
  std::size_t row_floats_;
  bool on_disk_, saved_ = false;
  std::int64_t batches_ = 0;
  std::vector<std::int32_t> labels_;
  std::vector<std::int64_t> indices_;
  std::vector<float> memory_;
  int file_ = -1;
};

}  // namespace weft
