#pragma once
// Inside nn/: a folder of features that frozen trunks computed, for the next training with the same trunk and pictures.

#include <filesystem>
#include <string>

#include "nn/features.h"

namespace weft {

class FeatureStore {
 public:
  /// `identity` says all that the features depend on: weights, files, transform, device. Empty, or no folder: nothing
  /// is kept and nothing found.
  FeatureStore(std::filesystem::path folder, const std::string& identity);
  /// Where the features of this identity lie, or would.
  const std::filesystem::path& path() const { return path_; }
  /// Fills both with what was kept; false where there is nothing whole of this identity.
  bool take(FeatureCache& train, FeatureCache& valid) const;
  /// Keeps both, where they are in memory, and lets go of what was used longest ago beyond 2 GiB in the folder. A
  /// folder that cannot be written costs the next training time, not this one.
  void keep(const FeatureCache& train, const FeatureCache& valid) const;

 private:
  std::string identity_;
  std::filesystem::path folder_, path_;
};

}  // namespace weft
