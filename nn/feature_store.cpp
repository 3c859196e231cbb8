#include "nn/feature_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/hash.h"
#include "core/safetensors.h"
#include "kernels/error.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

const char* const kPrefix = "features-";

/// Removes files, the one used longest ago first, until the others take no more than this.
void shrink(const fs::path& folder, std::uintmax_t most) {
  struct File {
    fs::file_time_type used;
    fs::path path;
    std::uintmax_t bytes;
  };
  std::vector<File> files;
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    files.push_back({entry.last_write_time(), entry.path(), entry.file_size()});
    bytes += files.back().bytes;
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used < b.used; });
  for (std::size_t i = 0; i < files.size() && bytes > most; ++i) {
    fs::remove(files[i].path);
    bytes -= files[i].bytes;
  }
}

}  // namespace

FeatureStore::FeatureStore(fs::path folder, const std::string& identity)
    : identity_(folder.empty() ? "" : identity), folder_(std::move(folder)) {
  path_ = folder_ / fmt::format("{}{:016x}.safetensors", kPrefix, hash_bytes(identity.data(), identity.size()));
}

bool FeatureStore::take(FeatureCache& train, FeatureCache& valid) const {
  std::error_code ignored;
  if (identity_.empty() || !fs::exists(path_, ignored)) return false;
  try {
    Metadata metadata;
    const auto tensors = load_safetensors(path_, &metadata);
    if (metadata["identity"] != identity_) return false;
    if (!train.take(tensors) || !valid.take(tensors)) return false;
    fs::last_write_time(path_, fs::file_time_type::clock::now(), ignored);  // what is used is kept longest
    return true;
  } catch (const std::exception&) {
    return false;  // not whole: computed again, and written over
  }
}

void FeatureStore::keep(const FeatureCache& train, const FeatureCache& valid) const {
  constexpr std::uintmax_t kMost = std::uintmax_t{2} << 30;
  if (identity_.empty() || train.on_disk() || valid.on_disk()) return;
  try {
    fs::create_directories(folder_);
    auto tensors = train.tensors();
    tensors.merge(valid.tensors());
    save_safetensors(path_, tensors, {{"identity", identity_}});
    shrink(folder_, kMost);
  } catch (const std::exception&) {
  }
}

}  // namespace weft
