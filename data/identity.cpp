// What a data set's items depend on, as text: features that were computed of them once are taken again where it is the
// same. And which items they are, so that a training goes on with those that it began with.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <system_error>

#include "core/hash.h"
#include "data/idx.h"
#include "data/image_folder.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

std::string describe(const Normalization& normalization) {
  return fmt::format("mean {} std {}", fmt::join(normalization.mean, " "), fmt::join(normalization.std, " "));
}

std::string whole_path(const Sample& sample) {
  std::error_code error;
  return fs::absolute(sample.path, error).lexically_normal().string();
}

/// How many characters of their whole paths are the deepest folder that holds all of them, with its slash.
std::size_t common_folder(const std::vector<Sample>& samples) {
  std::string folder;
  for (const Sample& sample : samples) {
    const std::string path = whole_path(sample);
    if (folder.empty()) folder = path.substr(0, path.rfind('/') + 1);
    while (!path.starts_with(folder)) folder.erase(folder.rfind('/', folder.size() - 2) + 1);
  }
  return folder.size();
}

}  // namespace

std::string Dataset::identity() const {
  return {};
}

std::string Dataset::contents() const {
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

std::string PictureList::contents() const {
  const std::size_t below = common_folder(samples_);
  std::uint64_t hash = kHashStart;
  for (std::int64_t i = 0; i < size(); ++i) {
    std::error_code error;
    const Sample& sample = samples_[static_cast<std::size_t>(i)];
    const auto bytes = fs::file_size(sample.path, error);
    if (error) return {};
    const std::string line =
        fmt::format("{}|{}|{}\n", whole_path(sample).substr(below), bytes, fmt::join(labels(i), " "));
    hash = hash_bytes(line.data(), line.size(), hash);
  }
  return fmt::format("{} files {:016x}", samples_.size(), hash);
}

std::string IdxDataset::identity() const {
  return contents() + ", " + describe(normalization_);
}

std::string IdxDataset::contents() const {
  const std::uint64_t images = hash_bytes(images_.values.data(), images_.values.size());
  return fmt::format("{} items {:016x}", size(), hash_bytes(labels_.values.data(), labels_.values.size(), images));
}

}  // namespace weft
