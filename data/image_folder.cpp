#include "data/image_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "data/folder_parts.h"
#include "data/parallel.h"
#include "kernels/error.h"

namespace weft {

namespace fs = std::filesystem;

namespace {

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

// The names of the folders in a folder, hidden ones aside, sorted.
std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(error) && !is_hidden(entry->path())) names.push_back(entry->path().filename().string());
    error.clear();
  }
  if (error) fail(fmt::format("{}: cannot be read: {}", path.string(), error.message()));
  std::sort(names.begin(), names.end());
  return names;
}

void check_folder(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    fail(fmt::format("{}: no such folder; wanted is one that holds train/ and valid/, or a folder for each class",
                     path.string()));
  if (!fs::is_directory(path, ignored))
    fail(fmt::format("{}: a file; wanted is a folder that holds train/ and valid/, or a folder for each class",
                     path.string()));
}

// What a folder of class folders holds: files by class, in the classes' order, unusable ones left out.
struct Scan {
  std::vector<std::string> classes;
  std::vector<std::vector<std::string>> files;
  std::vector<std::string> unusable;  // "path: reason", in order
};

// `classes` empty: the folders that are there.
Scan scan(const fs::path& path, const std::vector<std::string>& classes) {
  Scan result;
  std::vector<std::string> names = folders_in(path);
  if (names.empty()) {
    fail(fmt::format(
        "{}: holds no class folders; put each class's pictures into a folder named for it, such as {}/cats/",
        path.string(), path.string()));
  }
  if (!classes.empty()) {
    for (const std::string& name : names) {
      if (std::find(classes.begin(), classes.end(), name) == classes.end()) {
        fail(fmt::format("{}: \"{}\" is not one of the classes {}", path.string(), name, fmt::join(classes, ", ")));
      }
    }
  }
  result.classes = classes.empty() ? names : classes;
  struct Entry {
    std::string path, reason;
    size_t label;
  };
  std::vector<Entry> entries;
  for (size_t label = 0; label < result.classes.size(); ++label) {
    fs::path folder = path / result.classes[label];
    if (!std::binary_search(names.begin(), names.end(), result.classes[label])) continue;
    std::vector<std::string> files = list_files(folder);
    if (files.empty() && classes.empty()) {
      fail(fmt::format("{}: the class folder is empty; put its pictures there, or remove it", folder.string()));
    }
    for (std::string& file : files) entries.push_back({std::move(file), "", label});
  }
  for_each_in_parallel(int64_t(entries.size()),
                       [&](int64_t i) { entries[size_t(i)].reason = why_unusable(entries[size_t(i)].path); });
  result.files.resize(result.classes.size());
  for (Entry& entry : entries) {
    if (entry.reason.empty()) {
      result.files[entry.label].push_back(std::move(entry.path));
    } else {
      result.unusable.push_back(entry.reason);
    }
  }
  for (size_t label = 0; label < result.classes.size() && classes.empty(); ++label) {
    if (!result.files[label].empty()) continue;
    auto first = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.label == label; });
    fail(fmt::format("{}: none of its files can be used; the first: {}", (path / result.classes[label]).string(),
                     first->reason));
  }
  return result;
}

std::vector<Sample> samples_of(const Scan& scan) {
  std::vector<Sample> samples;
  for (size_t label = 0; label < scan.files.size(); ++label) {
    for (const std::string& file : scan.files[label]) samples.push_back({file, int(label)});
  }
  return samples;
}

// Moves `fraction` of each class to the validation part.
void split(const Scan& scan, const fs::path& root, const ImageFolderOptions& options, std::vector<Sample>& train,
           std::vector<Sample>& valid) {
  for (size_t label = 0; label < scan.files.size(); ++label) {
    const std::vector<std::string>& files = scan.files[label];
    if (files.empty()) continue;
    if (options.valid_fraction > 0 && options.valid_fraction < 1 && files.size() < 2) {
      fail(fmt::format("{}: one usable picture cannot be split into training and validation; at least 2 are needed",
                       (root / scan.classes[label]).string()));
    }
    const std::vector<size_t> list = chosen_for_validation(files, root, options);
    const std::set<size_t> chosen(list.begin(), list.end());
    for (size_t i = 0; i < files.size(); ++i) {
      (chosen.contains(i) ? valid : train).push_back({files[i], int(label)});
    }
  }
}

}  // namespace

PictureList::PictureList(std::vector<Sample> samples, int size, Transforms transform, Normalization normalization,
                         bool augmented, bool fast_decode)
    : samples_(std::move(samples)),
      size_(size),
      transform_(std::move(transform)),
      normalization_(std::move(normalization)),
      augmented_(augmented),
      fast_decode_(fast_decode) {}

void PictureList::load(int64_t index, Philox& random, float* item) const {
  const std::string& path = samples_[size_t(index)].path;
  ImageReader reader(path);
  Image image = transform_.apply(reader, random, fast_decode_);
  if (image.width != size_ || image.height != size_) {
    fail(fmt::format("{}: the transforms made it {} x {} pixels; {} x {} are wanted", path, image.width, image.height,
                     size_, size_));
  }
  to_floats(image, normalization_, item);
}

std::vector<std::string> list_files(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) fail(fmt::format("{}: no such file or folder", path.string()));
  if (!fs::is_directory(path, error)) return {path.string()};
  std::vector<std::string> files;
  fs::recursive_directory_iterator entry(path, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (is_hidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (!entry->is_directory(ignored)) {
      files.push_back(entry->path().string());
    }
  }
  if (error) fail(fmt::format("{}: cannot be read: {}", path.string(), error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

ImageFolder::ImageFolder(const fs::path& path, ImageFolderOptions options) {
  check_folder(path);
  check_options(options);
  std::error_code ignored;
  fs::path train_path = path / "train", valid_path = path / "valid";
  if (!fs::is_directory(valid_path, ignored) && fs::is_directory(path / "val", ignored)) valid_path = path / "val";
  bool has_train = fs::is_directory(train_path, ignored), has_valid = fs::is_directory(valid_path, ignored);
  if (has_train && has_valid) {
    Scan train = scan(train_path, options.classes), valid = scan(valid_path, options.classes);
    if (train.classes != valid.classes) {
      fail(fmt::format("{}: train/ and valid/ hold different classes: {} and {}", path.string(),
                       fmt::join(train.classes, ", "), fmt::join(valid.classes, ", ")));
    }
    classes_ = train.classes;
    train_samples_ = samples_of(train);
    valid_samples_ = samples_of(valid);
    std::vector<std::string> unusable = std::move(train.unusable);
    unusable.insert(unusable.end(), valid.unusable.begin(), valid.unusable.end());
    warn_of_unusable(options, path, unusable);
    unusable_ = int64_t(unusable.size());
  } else {
    std::vector<std::string> names = folders_in(path);
    const std::set<std::string> parts = {"train", "valid", "val", "test"};
    if (!names.empty() && std::all_of(names.begin(), names.end(), [&](auto& name) { return parts.contains(name); })) {
      fail(fmt::format(
          "{}: holds {}/ but not both train/ and valid/; add the other, or give the folder whose folders are "
          "the classes",
          path.string(), fmt::join(names, "/, ")));
    }
    Scan all = scan(path, options.classes);
    classes_ = all.classes;
    split(all, path, options, train_samples_, valid_samples_);
    warn_of_unusable(options, path, all.unusable);
    unusable_ = int64_t(all.unusable.size());
  }
  if (classes_.size() < 2) {
    fail(fmt::format("{}: holds one class only, \"{}\"; a classifier needs at least two class folders", path.string(),
                     classes_[0]));
  }
  Transforms training = options.train_transform.value_or(training_transform(options.size));
  Transforms validation = options.valid_transform.value_or(validation_transform(options.size));
  normalization_ = options.normalization;
  train_ =
      std::make_shared<PictureList>(train_samples_, options.size, training, normalization_, true, options.fast_decode);
  train_plain_ = std::make_shared<PictureList>(train_samples_, options.size, validation, normalization_);
  valid_ = std::make_shared<PictureList>(valid_samples_, options.size, validation, normalization_);
}

}  // namespace weft
