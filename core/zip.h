#pragma once
// Reads the entries of a zip archive held in memory, as far as torch's files need it: stored and deflated ones, Zip64,
// checksums. Everything in the archive is distrusted: offsets and sizes are checked before use.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

class ZipArchive {
 public:
  /// `bytes` must outlive the archive. Throws Error, beginning with `file`, where the archive is malformed.
  ZipArchive(std::string file, std::string_view bytes);

  /// Names of all entries, in order.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.contains(name); }
  /// The bytes of an entry, valid as long as the archive. Throws Error where there is no such entry, it is encrypted or
  /// compressed in another way, or its checksum differs.
  std::string_view read(const std::string& name);

 private:
  struct Entry {
    std::uint16_t flags = 0, method = 0;
    std::uint32_t crc = 0;
    std::uint64_t packed = 0, size = 0, header = 0;
    bool checked = false;
  };

  [[noreturn]] void refuse(const std::string& why) const;
  std::uint64_t number(std::uint64_t at, int bytes) const;
  void check_range(std::uint64_t at, std::uint64_t bytes, const std::string& what) const;
  void find_directory(std::uint64_t& at, std::uint64_t& bytes, std::uint64_t& count) const;
  void read_directory();
  void read_zip64(Entry& entry, std::uint64_t extra, std::uint64_t extra_bytes) const;
  std::string inflate(const std::string& name, std::string_view packed, std::uint64_t size) const;

  std::string file_;
  std::string_view bytes_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> inflated_;
};

}  // namespace weft
