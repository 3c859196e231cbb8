#include "core/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "core/files.h"
#include "kernels/error.h"

// The format (https://huggingface.co/docs/safetensors): a little-endian 64-bit header length, the header as JSON
// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "text"}}, then
// the tensors' bytes. Offsets count from the header's end and cover what follows without a gap or an overlap.
static_assert(std::endian::native == std::endian::little, "safetensors' numbers are little-endian, and copied as such");

namespace weft {

namespace {

using nlohmann::json;

constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr std::string_view kSafetensors = "safetensors", kTorch = "torch's .pth";
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::array<std::pair<std::string_view, DType>, 6> kTypes = {{{"F32", DType::f32},
                                                                       {"F16", DType::f16},
                                                                       {"BF16", DType::bf16},
                                                                       {"I32", DType::i32},
                                                                       {"I64", DType::i64},
                                                                       {"U8", DType::u8}}};

std::string_view name_in_file(DType dtype) {
  return std::ranges::find(kTypes, dtype, &std::pair<std::string_view, DType>::second)->first;
}

// A name from a file, fit for one line of a message.
std::string quoted(const std::string& name) {
  return json(name).dump(-1, ' ', false, json::error_handler_t::replace);
}

// A regular file, read at given places.
class RandomFile {
 public:
  explicit RandomFile(const std::filesystem::path& path) : path_(path) {
    // Not blocking: opening a pipe would wait for its writer.
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file_ < 0) {
      failed(errno);
    }
    struct stat status = {};
    const int error = ::fstat(file_, &status) == 0 ? 0 : errno;
    if (error != 0 || !S_ISREG(status.st_mode)) {
      ::close(file_);
      failed(error != 0 ? error : S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ~RandomFile() { ::close(file_); }
  RandomFile(const RandomFile&) = delete;
  RandomFile& operator=(const RandomFile&) = delete;

  std::uint64_t size() const { return size_; }
  void read(void* to, std::uint64_t bytes, std::uint64_t at) const {
    for (std::uint64_t done = 0; done < bytes;) {
      const ssize_t got = ::pread(file_, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(at + done));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got < 0) {
        failed(errno);
      }
      if (got == 0) {
        fail(path_.string() + " became shorter while it was read");
      }
      done += static_cast<std::uint64_t>(got);
    }
  }

 private:
  [[noreturn]] void failed(int error) const {
    fail("cannot read " + path_.string() + ": " + std::generic_category().message(error));
  }

  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
};

// What the header says of one tensor.
struct Entry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t begin = 0, end = 0;
};

// Parses and checks a header; every complaint names the file.
class HeaderReader {
 public:
  HeaderReader(std::string file, std::uint64_t data_bytes) : file_(std::move(file)), data_bytes_(data_bytes) {}

  // The entries in the order in which they lie in the file.
  std::vector<Entry> read(std::string_view text, Metadata* metadata) const {
    const json header = parse(text);
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) {
        read_metadata(value, metadata);
      } else {
        entries.push_back(read_entry(name, value));
      }
    }
    check_cover(entries);
    return entries;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const { fail(file_ + " is not a sound safetensors file: " + why); }
  [[noreturn]] void refuse(const std::string& name, const std::string& why) const {
    refuse("tensor " + quoted(name) + " " + why);
  }

  json parse(std::string_view text) const {
    if (!text.starts_with('{')) {
      refuse("its header does not begin with {");
    }
    // JSON readers keep the last of two equal keys, and so disagree with those that keep the first: a file that depends
    // on the reader is refused.
    std::vector<std::set<std::string>> keys;
    const auto watch = [&](int, json::parse_event_t event, json& parsed) {
      if (event == json::parse_event_t::object_start) {
        keys.emplace_back();
      } else if (event == json::parse_event_t::object_end) {
        keys.pop_back();
      } else if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
        refuse("its header has the key " + quoted(parsed.get<std::string>()) + " twice");
      }
      return true;
    };
    try {
      return json::parse(text, watch);
    } catch (const json::parse_error& error) {
      refuse("its header is not JSON (at byte " + std::to_string(error.byte) + " of it)");
    } catch (const json::exception&) {
      refuse("its header has a number that does not fit");
    }
  }

  void read_metadata(const json& value, Metadata* metadata) const {
    if (!value.is_object()) {
      refuse("its __metadata__ is not an object");
    }
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) {
        refuse("the entry " + quoted(key) + " of its __metadata__ is not text");
      }
      if (metadata != nullptr) {
        (*metadata)[key] = text.get<std::string>();
      }
    }
  }

  Entry read_entry(const std::string& name, const json& value) const {
    if (!value.is_object()) {
      refuse(name, "is not described by an object");
    }
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!value.contains(key)) {
        refuse(name, std::string("has no ") + key);
      }
    }
    Entry entry;
    entry.name = name;
    entry.dtype = read_dtype(name, value["dtype"]);
    entry.shape = read_shape(name, value["shape"]);
    const std::uint64_t bytes = bytes_of(entry);
    const json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      refuse(name, "has data_offsets that are not two numbers from 0 on");
    }
    entry.begin = offsets[0].get<std::uint64_t>();
    entry.end = offsets[1].get<std::uint64_t>();
    const std::string range = "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
    if (entry.begin > entry.end) {
      refuse(name, "has reversed data_offsets " + range);
    }
    if (entry.end > data_bytes_) {
      refuse(name, "has data_offsets " + range + " past the end: " + std::to_string(data_bytes_) +
                       " bytes follow the header");
    }
    if (entry.end - entry.begin != bytes) {
      refuse(name, "of shape " + to_string(entry.shape) + " and dtype " + std::string(name_in_file(entry.dtype)) +
                       " needs " + std::to_string(bytes) + " bytes, but its data_offsets " + range + " span " +
                       std::to_string(entry.end - entry.begin));
    }
    return entry;
  }

  DType read_dtype(const std::string& name, const json& value) const {
    if (!value.is_string()) {
      refuse(name, "has a dtype that is not text");
    }
    const std::string wanted = value.get<std::string>();
    const auto* found = std::ranges::find(kTypes, wanted, &std::pair<std::string_view, DType>::first);
    if (found == kTypes.end()) {
      fail(file_ + ": tensor " + quoted(name) + " has the unsupported dtype " + quoted(wanted) +
           "; supported are F32, F16, BF16, I32, I64 and U8");
    }
    return found->second;
  }

  Shape read_shape(const std::string& name, const json& value) const {
    if (!value.is_array()) {
      refuse(name, "has a shape that is not a list");
    }
    std::vector<std::int64_t> extents;
    for (const json& extent : value) {
      if (!extent.is_number_integer()) {
        refuse(name, "has a shape whose extents are not whole numbers");
      }
      if (!extent.is_number_unsigned()) {
        refuse(name, "has the negative extent " + extent.dump() + " in its shape");
      }
      if (extent.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
        refuse(name, "has the extent " + extent.dump() + " in its shape, which 63 bits do not hold");
      }
      extents.push_back(extent.get<std::int64_t>());
    }
    return Shape(std::move(extents));
  }

  std::uint64_t bytes_of(const Entry& entry) const {
    std::uint64_t bytes = size_of(entry.dtype);
    for (const std::int64_t extent : entry.shape.extents()) {
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
        refuse(entry.name, "has a shape " + to_string(entry.shape) + " of more bytes than 64 bits count");
      }
    }
    return bytes;
  }

  void check_cover(std::vector<Entry>& entries) const {
    std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
    std::uint64_t covered = 0;
    const std::string* before = nullptr;
    for (const Entry& entry : entries) {
      if (entry.begin < covered) {
        refuse(entry.name, "overlaps tensor " + quoted(*before));
      }
      if (entry.begin > covered) {
        refuse("no tensor covers its bytes " + std::to_string(covered) + " to " + std::to_string(entry.begin) +
               ", before tensor " + quoted(entry.name));
      }
      covered = entry.end;
      before = &entry.name;
    }
    if (covered != data_bytes_) {
      refuse(std::to_string(data_bytes_ - covered) + " bytes trail after its last tensor");
    }
  }

  std::string file_;
  std::uint64_t data_bytes_;
};

}  // namespace

std::map<std::string, Tensor> load_safetensors(const std::filesystem::path& path, Metadata* metadata) {
  const RandomFile file(path);
  const auto refuse = [&](const std::string& why) { fail(path.string() + " is not a sound safetensors file: " + why); };
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) {
    refuse("it has " + std::to_string(file.size()) + " bytes, and the header's length alone takes 8");
  }
  file.read(&header_bytes, sizeof(header_bytes), 0);
  if (header_bytes > kMostHeaderBytes) {
    refuse("its header would have " + std::to_string(header_bytes) + " bytes; more than " +
           std::to_string(kMostHeaderBytes) + " are not accepted");
  }
  if (header_bytes > file.size() - sizeof(header_bytes)) {
    refuse("its header would have " + std::to_string(header_bytes) + " bytes, but the whole file has " +
           std::to_string(file.size()));
  }
  std::string text(header_bytes, '\0');
  file.read(text.data(), header_bytes, sizeof(header_bytes));
  const std::uint64_t data_at = sizeof(header_bytes) + header_bytes;

  std::map<std::string, Tensor> tensors;
  for (const Entry& entry : HeaderReader(path.string(), file.size() - data_at).read(text, metadata)) {
    Tensor tensor(entry.shape, entry.dtype);
    file.read(tensor.data(), tensor.bytes(), data_at + entry.begin);
    tensors.emplace(entry.name, std::move(tensor));
  }
  return tensors;
}

void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                      const Metadata& metadata) {
  // Wide types first, as the reference implementation does, so that every tensor is aligned for its type.
  std::vector<const std::pair<const std::string, Tensor>*> order;
  for (const auto& item : tensors) {
    if (item.second.empty() || item.first == kMetadata) {
      fail("cannot write " + path.string() + ": tensor " + quoted(item.first) +
           (item.second.empty() ? " is empty" : " has the name that the format keeps for itself"));
    }
    order.push_back(&item);
  }
  std::ranges::stable_sort(order, std::greater<>(), [](const auto* item) { return size_of(item->second.dtype()); });

  json header = json::object();
  if (!metadata.empty()) {
    header[kMetadata] = metadata;
  }
  std::uint64_t offset = 0;
  for (const auto* item : order) {
    const Tensor& tensor = item->second;
    header[item->first] = {{"dtype", name_in_file(tensor.dtype())},
                           {"shape", tensor.shape().extents()},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string head(sizeof(std::uint64_t), '\0');
  try {
    head += header.dump();
  } catch (const json::exception&) {
    fail("cannot write " + path.string() + ": a tensor's name or the metadata is not UTF-8");
  }
  head.resize((head.size() + 7) / 8 * 8, ' ');
  const std::uint64_t header_bytes = head.size() - sizeof(header_bytes);
  if (header_bytes > kMostHeaderBytes) {
    fail("cannot write " + path.string() + ": its header would have " + std::to_string(header_bytes) + " bytes");
  }
  std::memcpy(head.data(), &header_bytes, sizeof(header_bytes));

  std::vector<std::string_view> pieces = {head};
  for (const auto* item : order) {
    pieces.emplace_back(static_cast<const char*>(item->second.data()), item->second.bytes());
  }
  write_file_atomically(path, pieces);
}

std::string_view tensor_format(const std::filesystem::path& path) {
  const RandomFile file(path);
  std::array<char, 4> first = {};
  file.read(first.data(), std::min<std::uint64_t>(first.size(), file.size()), 0);
  const std::string_view start(first.data(), first.size());
  if (start == "PK\3\4") {
    return kTorch;
  }
  if (start == "\x80\x02\x8a\x0a") {
    fail(path.string() + " is in torch's format from before version 1.6; load it with torch and save it again");
  }
  return kSafetensors;
}

std::map<std::string, Tensor> load_tensors(const std::filesystem::path& path) {
  return tensor_format(path) == kTorch ? load_torch(path) : load_safetensors(path);
}

}  // namespace weft
