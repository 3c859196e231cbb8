#include "core/zip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/error.h"

// The format: PKWARE's APPNOTE.TXT 6.3.10. An archive ends in a record that says where the central directory lies; each
// of the directory's entries says where its local header lies; the entry's bytes follow that.

namespace weft {

namespace {

constexpr std::uint64_t kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20, kEntryBytes = 46, kLocalBytes = 30;
constexpr std::uint64_t kMissing16 = 0xffff, kMissing32 = 0xffffffff;  // "see the Zip64 record"
// Deflate cannot do better than 1032 to 1: an entry that claims more lies.
constexpr std::uint64_t kMostRatio = 1032;

std::uint32_t checksum(std::string_view bytes) {
  uLong crc = ::crc32(0, nullptr, 0);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, 1u << 30);  // zlib counts in 32 bits
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(piece.data()), static_cast<uInt>(piece.size()));
    bytes.remove_prefix(piece.size());
  }
  return static_cast<std::uint32_t>(crc);
}

}  // namespace

ZipArchive::ZipArchive(std::string file, std::string_view bytes) : file_(std::move(file)), bytes_(bytes) {
  read_directory();
}

void ZipArchive::refuse(const std::string& why) const {
  std::string line = why;  // it may quote a name from the archive, and a name may hold anything
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  fail(file_ + " is not a sound zip archive: " + line);
}

void ZipArchive::check_range(std::uint64_t at, std::uint64_t bytes, const std::string& what) const {
  if (at > bytes_.size() || bytes > bytes_.size() - at) {
    refuse(what + " lies past its end");
  }
}

// A little-endian number; its range has been checked.
std::uint64_t ZipArchive::number(std::uint64_t at, int bytes) const {
  std::uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes_[at + static_cast<std::uint64_t>(i)]);
  }
  return value;
}

void ZipArchive::find_directory(std::uint64_t& at, std::uint64_t& bytes, std::uint64_t& count) const {
  if (bytes_.size() < kEndBytes) {
    refuse("it is too short");
  }
  // The record ends in a comment of up to 65535 bytes: the last signature wins.
  const std::size_t end = bytes_.rfind("PK\5\6", bytes_.size() - kEndBytes);
  if (end == std::string_view::npos || bytes_.size() - end > kEndBytes + kMissing16) {
    refuse("its central directory is missing: it may be cut short");
  }
  count = number(end + 10, 2);
  bytes = number(end + 12, 4);
  at = number(end + 16, 4);
  if (count != kMissing16 && bytes != kMissing32 && at != kMissing32) {
    return;
  }
  if (end < kLocatorBytes || bytes_.substr(end - kLocatorBytes, 4) != "PK\6\7") {
    refuse("its Zip64 locator is missing");
  }
  const std::uint64_t end64 = number(end - kLocatorBytes + 8, 8);
  check_range(end64, kEnd64Bytes, "its Zip64 record");
  if (bytes_.substr(end64, 4) != "PK\6\6") {
    refuse("its Zip64 record has another signature");
  }
  count = number(end64 + 32, 8);
  bytes = number(end64 + 40, 8);
  at = number(end64 + 48, 8);
}

void ZipArchive::read_directory() {
  std::uint64_t at = 0, directory_bytes = 0, count = 0;
  find_directory(at, directory_bytes, count);
  check_range(at, directory_bytes, "its central directory");
  const std::uint64_t end = at + directory_bytes;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (end - at < kEntryBytes || bytes_.substr(at, 4) != "PK\1\2") {
      refuse("entry " + std::to_string(i) + " of its central directory is malformed");
    }
    Entry entry;
    entry.flags = static_cast<std::uint16_t>(number(at + 8, 2));
    entry.method = static_cast<std::uint16_t>(number(at + 10, 2));
    entry.crc = static_cast<std::uint32_t>(number(at + 16, 4));
    entry.packed = number(at + 20, 4);
    entry.size = number(at + 24, 4);
    entry.header = number(at + 42, 4);
    const std::uint64_t name_bytes = number(at + 28, 2), extra_bytes = number(at + 30, 2);
    const std::uint64_t comment_bytes = number(at + 32, 2);
    at += kEntryBytes;
    if (end - at < name_bytes + extra_bytes + comment_bytes) {
      refuse("entry " + std::to_string(i) + " of its central directory is cut short");
    }
    const std::string name(bytes_.substr(at, name_bytes));
    read_zip64(entry, at + name_bytes, extra_bytes);
    at += name_bytes + extra_bytes + comment_bytes;
    if (!entries_.emplace(name, entry).second) {
      refuse("it has the entry " + name + " twice");
    }
  }
}

// The extra field 0x0001 holds, in this order, those of the three numbers that the entry itself gave as missing.
void ZipArchive::read_zip64(Entry& entry, std::uint64_t extra, std::uint64_t extra_bytes) const {
  const std::uint64_t end = extra + extra_bytes;
  while (end - extra >= 4) {
    const std::uint64_t id = number(extra, 2), bytes = number(extra + 2, 2);
    extra += 4;
    if (bytes > end - extra) {
      refuse("an extra field is cut short");
    }
    if (id == 1) {
      std::uint64_t field = extra;
      for (std::uint64_t* value : {&entry.size, &entry.packed, &entry.header}) {
        if (*value == kMissing32) {
          if (extra + bytes - field < 8) {
            refuse("a Zip64 field is cut short");
          }
          *value = number(field, 8);
          field += 8;
        }
      }
    }
    extra += bytes;
  }
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) {
    names.push_back(name);
  }
  return names;
}

std::string ZipArchive::inflate(const std::string& name, std::string_view packed, std::uint64_t size) const {
  if (size / kMostRatio > packed.size() + 1 || packed.size() > std::numeric_limits<uInt>::max() ||
      size >= std::numeric_limits<uInt>::max()) {
    refuse("entry " + name + " claims " + std::to_string(size) + " bytes, packed into " +
           std::to_string(packed.size()));
  }
  std::string out(size + 1, '\0');  // one byte more, so that too long a stream shows
  z_stream stream = {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) {  // negative: a raw stream, without zlib's header
    fail("cannot read " + file_ + ": zlib could not start");
  }
  const int result = ::inflate(&stream, Z_FINISH);
  const uLong produced = stream.total_out;
  ::inflateEnd(&stream);
  if (result != Z_STREAM_END || produced != size) {
    refuse("entry " + name + " does not inflate to its " + std::to_string(size) + " bytes");
  }
  out.resize(size);
  return out;
}

std::string_view ZipArchive::read(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    refuse("it has no entry " + name);
  }
  if (const auto ready = inflated_.find(name); ready != inflated_.end()) {
    return ready->second;
  }
  Entry& entry = found->second;
  if ((entry.flags & 1u) != 0) {
    refuse("entry " + name + " is encrypted");
  }
  check_range(entry.header, kLocalBytes, "entry " + name);
  if (bytes_.substr(entry.header, 4) != "PK\3\4") {
    refuse("entry " + name + " has no local header");
  }
  const std::uint64_t data = entry.header + kLocalBytes + number(entry.header + 26, 2) + number(entry.header + 28, 2);
  check_range(data, entry.packed, "entry " + name);
  std::string_view contents = bytes_.substr(data, entry.packed);
  if (entry.method == 8) {
    contents = inflated_.emplace(name, inflate(name, contents, entry.size)).first->second;
  } else if (entry.method != 0) {
    refuse("entry " + name + " is compressed by method " + std::to_string(entry.method) + ", not stored or deflated");
  } else if (entry.packed != entry.size) {
    refuse("entry " + name + " is stored but has two sizes");
  }
  if (!entry.checked && checksum(contents) != entry.crc) {
    refuse("entry " + name + " has another checksum than the archive says");
  }
  entry.checked = true;
  return contents;
}

}  // namespace weft
