// What a data set's items depend on, as text: features that were computed of them once are taken again where it is the
// same.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "core/hash.h"
#include "data/idx.h"
#include "data/image_folder.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

std::string describe(const Normalization& normalization) {
  return fmt::format("mean {} std {}", fmt::join(normalization.mean, " "), fmt::join(normalization.std, " "));
}

}  // namespace

std::string Dataset::identity() const {
  return {};
}

std::string Transform::describe() const {
  return {};
}

std::string Resize::describe() const {
  return fmt::format("resize {}", size_);
}

std::string CenterCrop::describe() const {
  return fmt::format("center crop {}", size_);
}

std::string Transforms::describe() const {
  std::string text;
  for (const auto& step : steps_) {
    const std::string one = step->describe();
    if (one.empty()) return {};
    text += (text.empty() ? "" : ", ") + one;
  }
  return text.empty() ? "as they are" : text;
}

std::string PictureList::identity() const {
  const std::string transform = transform_.describe();
  if (augmented_ || transform.empty()) return {};
  std::uint64_t hash = kHashStart;
  for (const Sample& sample : samples_) {
    std::error_code error;
    const fs::path path = fs::absolute(sample.path, error);
    const auto bytes = fs::file_size(path, error);
    const auto written = fs::last_write_time(path, error).time_since_epoch().count();
    if (error) return {};
    const std::string line = fmt::format("{}|{}|{}|{}\n", path.string(), bytes, written, sample.label);
    hash = hash_bytes(line.data(), line.size(), hash);
  }
  return fmt::format("{} files {:016x}, {}, {}, {} px, {}", samples_.size(), hash, transform, describe(normalization_),
                     size_, fast_decode_ ? "fast" : "exact");
}

std::string IdxDataset::identity() const {
  const std::uint64_t images = hash_bytes(images_.values.data(), images_.values.size());
  return fmt::format("{} items {:016x}, {}", size(), hash_bytes(labels_.values.data(), labels_.values.size(), images),
                     describe(normalization_));
}

}  // namespace weft
