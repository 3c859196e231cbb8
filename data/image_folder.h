#pragma once
// Folders of pictures, a folder for each class.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace weft {

/// A picture's file and its class.
struct Sample {
  std::string path;
  int label = 0;
  bool operator==(const Sample&) const = default;
};

/// Pictures listed by path, loaded through a transform. Also what `predict` runs over.
class PictureList : public Dataset {
 public:
  /// `transform` must give pictures of size x size. `augmented`: whether it draws random numbers.
  PictureList(std::vector<Sample> samples, int size, Transforms transform, Normalization normalization,
              bool augmented = false, bool fast_decode = false);
  int64_t size() const override { return int64_t(samples_.size()); }
  ItemShape shape() const override { return {size_, size_, normalization_.channels()}; }
  int label(int64_t index) const override { return samples_[size_t(index)].label; }
  std::string name(int64_t index) const override { return samples_[size_t(index)].path; }
  void load(int64_t index, Philox& random, float* item) const override;
  bool augmented() const override { return augmented_; }
  std::string identity() const override;
  /// Paths count from the deepest folder that holds all of them, so that the whole may be moved or copied.
  std::string contents() const override;
  const std::vector<Sample>& samples() const { return samples_; }

 private:
  std::vector<Sample> samples_;
  int size_;
  Transforms transform_;
  Normalization normalization_;
  bool augmented_, fast_decode_;
};

struct ImageFolderOptions {
  int size = 224;               ///< side of the square that the network sees, in pixels
  double valid_fraction = 0.2;  ///< of each class, where the folder has no valid/; 1: everything, nothing to train on
  uint64_t seed = 0;            ///< which pictures that fraction takes
  /// The classes and their order, if they are settled already (a trained model's); a folder may then lack some. Empty:
  /// the class folders' names, sorted.
  std::vector<std::string> classes;
  std::optional<Transforms> train_transform;  ///< default: training_transform(size)
  std::optional<Transforms> valid_transform;  ///< default: validation_transform(size)
  Normalization normalization = imagenet_normalization();
  /// Training alone: JPEGs at least four times too big are decoded at a fraction of their size (see render()).
  bool fast_decode = false;
  /// Gets a line for each of the first ten unusable files and one with their number. Empty: standard error.
  std::function<void(const std::string&)> warn;
};

/// DATA/train/CLASS/* and DATA/valid/CLASS/* ("val" does as well), or DATA/CLASS/* split by `valid_fraction`. Classes
/// are sorted by name and files by path, whatever the file system's order; hidden ones are passed over; folders inside
/// a class folder belong to it. A file that is no JPEG or PNG, is empty or is cut short is left out with a warning. (A
/// JPEG that ends as it should is not decoded to find out; damage further inside is met by the loader.) Throws Error:
/// no such folder, no class folders, one class only, an empty class, classes of train and valid differ.
///
///     auto data = weft::ImageFolder("dogscats", {.size = 224});
class ImageFolder : public LabelledData {
 public:
  explicit ImageFolder(const std::filesystem::path& path, ImageFolderOptions options = {});
  const std::vector<Sample>& train_samples() const { return train_samples_; }
  const std::vector<Sample>& valid_samples() const { return valid_samples_; }
  /// Files left out.
  int64_t unusable() const { return unusable_; }

 private:
  std::vector<Sample> train_samples_, valid_samples_;
  int64_t unusable_ = 0;
};

/// A file, or every file below a folder, sorted, without hidden ones. Throws Error if there is no such path.
std::vector<std::string> list_files(const std::filesystem::path& path);

/// Why a file cannot be used, or "": a quick look that reads a JPEG's or PNG's two ends, and all of it if they are odd.
std::string why_unusable(const std::string& path);

/// A file that cannot be used or is odd, and why.
struct AuditFinding {
  std::string path;
  std::string reason;
  bool usable = false;
};

/// Decodes every file below a folder, with all cores, and lists in the order of their paths those that cannot be used
/// and those that are odd: damaged, named for another format than they hold, smaller than 32 pixels, the same bytes as
/// another file.
std::vector<AuditFinding> audit(const std::filesystem::path& path);

}  // namespace weft
