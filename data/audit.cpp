// Which files of a folder cannot be used, or are odd.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <string_view>

#include "data/image_folder.h"
#include "data/parallel.h"
#include "kernels/error.h"

namespace weft {

namespace {

constexpr int kSmall = 32;  // pixels: below it a picture says little

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};

// Decodes the whole file to learn what is wrong with it; "" if nothing is.
std::string why_not_decoded(const std::string& path) {
  try {
    read_image(path);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string format_by_name(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (extension == ".jpg" || extension == ".jpeg" || extension == ".jpe" || extension == ".jfif") return "JPEG";
  if (extension == ".png") return "PNG";
  return extension.empty() ? "nothing" : extension;
}

// What is odd about a file that decodes, and its bytes' fingerprint.
std::string oddities(const std::string& path, uint64_t& fingerprint) {
  std::vector<uint8_t> bytes = read_file_bytes(path);
  fingerprint = 14695981039346656037u;  // 64-bit FNV-1a
  for (uint8_t byte : bytes) fingerprint = (fingerprint ^ byte) * 1099511628211u;
  ImageReader reader(std::move(bytes), path);
  reader.read();
  std::string odd;
  auto add = [&](const std::string& what) { odd += (odd.empty() ? "" : "; ") + what; };
  if (reader.warnings() > 0) add(fmt::format("damaged, but decoded: {}", reader.first_warning()));
  if (reader.width() < kSmall || reader.height() < kSmall) {
    add(fmt::format("only {} x {} pixels", reader.width(), reader.height()));
  }
  if (std::string named = format_by_name(path); named != reader.format()) {
    add(fmt::format("holds {}, is named as {}", reader.format(), named));
  }
  return odd;
}

}  // namespace

std::string why_unusable(const std::string& path) {
  std::unique_ptr<FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (!file) return fmt::format("{}: cannot be read: {}", path, std::strerror(errno));
  uint8_t head[64], tail[12];
  size_t head_size = std::fread(head, 1, sizeof head, file.get());
  std::string format = sniff_format({head, head_size});
  if (format != "JPEG" && format != "PNG") return why_not_decoded(path);
  bool has_tail = std::fseek(file.get(), -long(sizeof tail), SEEK_END) == 0 &&
                  std::fread(tail, 1, sizeof tail, file.get()) == sizeof tail;
  file.reset();
  bool ends_well = false;
  if (has_tail && format == "JPEG") ends_well = tail[10] == 0xFF && tail[11] == 0xD9;
  if (has_tail && format == "PNG") ends_well = std::memcmp(tail + 4, "IEND", 4) == 0;
  return ends_well ? "" : why_not_decoded(path);
}

std::vector<AuditFinding> audit(const std::filesystem::path& path) {
  struct Entry {
    std::string reason;
    bool usable = true;
    uint64_t fingerprint = 0;
  };
  std::vector<std::string> files = list_files(path);
  std::vector<Entry> entries(files.size());
  for_each_in_parallel(int64_t(files.size()), [&](int64_t i) {
    Entry& entry = entries[size_t(i)];
    try {
      entry.reason = oddities(files[size_t(i)], entry.fingerprint);
    } catch (const Error& error) {
      entry = {error.what(), false, 0};
      std::string prefix = files[size_t(i)] + ": ";
      if (entry.reason.starts_with(prefix)) entry.reason.erase(0, prefix.size());
    }
  });
  std::vector<AuditFinding> findings;
  std::map<uint64_t, size_t> seen;
  for (size_t i = 0; i < files.size(); ++i) {
    Entry& entry = entries[i];
    if (entry.usable) {
      auto [first, is_new] = seen.emplace(entry.fingerprint, i);
      if (!is_new) {
        entry.reason += fmt::format("{}the same bytes as {}", entry.reason.empty() ? "" : "; ", files[first->second]);
      }
    }
    if (!entry.reason.empty()) findings.push_back({files[i], entry.reason, entry.usable});
  }
  return findings;
}

}  // namespace weft
