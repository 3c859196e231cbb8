#include "nn/features.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/safetensors.h"
#include "kernels/error.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_file(const fs::path& path, const char* what) {
  fail(fmt::format("{}: cannot {} features: {}", path.string(), what, std::strerror(errno)));
}

}  // namespace

FeatureCache::FeatureCache(std::string name, Shape shape, std::int64_t expected, std::size_t memory, fs::path run,
                           std::string identity)
    : name_(std::move(name)),
      shape_(std::move(shape)),
      run_(std::move(run)),
      identity_(std::move(identity)),
      row_floats_(static_cast<std::size_t>(shape_.elements())) {
  const std::size_t bytes = static_cast<std::size_t>(expected) * row_floats_ * sizeof(float);
  on_disk_ = !run_.empty() && bytes > memory;
  if (on_disk_) {
    open(false);
  } else {
    memory_.reserve(static_cast<std::size_t>(expected) * row_floats_);
  }
}

FeatureCache::~FeatureCache() {
  if (file_ >= 0) ::close(file_);
  std::error_code ignored;
  if (on_disk_ && !saved_) fs::remove(data_path(), ignored);
}

fs::path FeatureCache::data_path() const {
  return run_ / ("features-" + name_ + ".f32");
}

fs::path FeatureCache::index_path() const {
  return run_ / ("features-" + name_ + ".safetensors");
}

void FeatureCache::open(bool truncate) {
  if (file_ < 0) file_ = ::open(data_path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail_file(data_path(), "open a file for");
  if (truncate && ::ftruncate(file_, 0) != 0) fail_file(data_path(), "empty the file of");
}

void FeatureCache::write(const float* rows, std::int64_t count, std::int64_t at) {
  const char* from = reinterpret_cast<const char*>(rows);
  std::size_t left = static_cast<std::size_t>(count) * row_floats_ * sizeof(float);
  auto offset = static_cast<off_t>(static_cast<std::size_t>(at) * row_floats_ * sizeof(float));
  while (left > 0) {
    const ssize_t written = ::pwrite(file_, from, left, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_file(data_path(), "write");
    from += written;
    offset += written;
    left -= static_cast<std::size_t>(written);
  }
}

void FeatureCache::read_file(std::int64_t row, std::int64_t count, float* to) const {
  char* into = reinterpret_cast<char*>(to);
  std::size_t left = static_cast<std::size_t>(count) * row_floats_ * sizeof(float);
  auto offset = static_cast<off_t>(static_cast<std::size_t>(row) * row_floats_ * sizeof(float));
  while (left > 0) {
    const ssize_t got = ::pread(file_, into, left, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = EIO;  // shorter than it was
    if (got <= 0) fail_file(data_path(), "read");
    into += got;
    offset += got;
    left -= static_cast<std::size_t>(got);
  }
}

void FeatureCache::append(std::int64_t number, const float* rows, std::span<const std::int32_t> labels,
                          std::span<const std::int64_t> indices) {
  const auto count = static_cast<std::int64_t>(labels.size());
  if (on_disk_) {
    write(rows, count, size());
  } else {
    memory_.insert(memory_.end(), rows, rows + labels.size() * row_floats_);
  }
  labels_.insert(labels_.end(), labels.begin(), labels.end());
  indices_.insert(indices_.end(), indices.begin(), indices.end());
  batches_ = number + 1;
}

void FeatureCache::read(std::int64_t row, float* to) const {
  if (on_disk_) {
    read_file(row, 1, to);
  } else {
    const auto from = memory_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * row_floats_);
    std::copy_n(from, row_floats_, to);
  }
}

void FeatureCache::save() {
  if (run_.empty() || identity_.empty() || size() == 0) return;
  if (!on_disk_) {
    open(true);
    write(memory_.data(), size(), 0);
  }
  // The index vouches for the rows, so it comes after them.
  if (::fsync(file_) != 0) fail_file(data_path(), "keep");
  save_safetensors(index_path(),
                   {{"labels", Tensor::from<std::int32_t>({size()}, labels_)},
                    {"indices", Tensor::from<std::int64_t>({size()}, indices_)}},
                   {{"identity", identity_}, {"batches", std::to_string(batches_)}});
  saved_ = true;
}

void FeatureCache::restore() {
  if (run_.empty() || identity_.empty() || !fs::exists(index_path()) || !fs::exists(data_path())) return;
  try {
    Metadata metadata;
    const auto tensors = load_safetensors(index_path(), &metadata);
    const auto labels = tensors.at("labels").values<std::int32_t>();
    const auto indices = tensors.at("indices").values<std::int64_t>();
    if (metadata["identity"] != identity_ || labels.size() != indices.size() ||
        fs::file_size(data_path()) < labels.size() * row_floats_ * sizeof(float))
      return;
    if (!on_disk_) {
      memory_.resize(labels.size() * row_floats_);
      open(false);
      read_file(0, static_cast<std::int64_t>(labels.size()), memory_.data());
    }
    labels_.assign(labels.begin(), labels.end());
    indices_.assign(indices.begin(), indices.end());
    batches_ = std::stoll(metadata["batches"]);
  } catch (const std::exception&) {
    // A cache that cannot be read costs time, not the run: the features are computed again.
    memory_.clear();
    labels_.clear();
    indices_.clear();
    batches_ = 0;
  }
}

std::map<std::string, Tensor> FeatureCache::tensors() const {
  return {{name_ + ".rows", Tensor::from<float>({size(), shape_.elements()}, memory_)},
          {name_ + ".labels", Tensor::from<std::int32_t>({size()}, labels_)},
          {name_ + ".indices", Tensor::from<std::int64_t>({size()}, indices_)},
          {name_ + ".batches", Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{batches_})}};
}

bool FeatureCache::take(const std::map<std::string, Tensor>& tensors) {
  if (on_disk_) return false;
  const Tensor &rows = tensors.at(name_ + ".rows"), &labels = tensors.at(name_ + ".labels"),
               &indices = tensors.at(name_ + ".indices");
  const std::int64_t count = labels.shape()[0];
  if (rows.shape() != Shape{count, shape_.elements()} || indices.shape() != labels.shape()) return false;
  const auto values = rows.values<float>();
  const auto of_labels = labels.values<std::int32_t>();
  const auto of_indices = indices.values<std::int64_t>();
  batches_ = tensors.at(name_ + ".batches").values<std::int64_t>()[0];
  memory_.assign(values.begin(), values.end());
  labels_.assign(of_labels.begin(), of_labels.end());
  indices_.assign(of_indices.begin(), of_indices.end());
  return true;
}

void FeatureCache::discard() noexcept {
  if (run_.empty()) return;
  saved_ = false;
  std::error_code ignored;
  fs::remove(index_path(), ignored);
  if (!on_disk_) fs::remove(data_path(), ignored);
}

}  // namespace weft
