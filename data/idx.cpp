#include "data/idx.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "data/parallel.h"
#include "data/sheet.h"
#include "kernels/error.h"

namespace weft {

namespace fs = std::filesystem;

namespace {

// Inflates a whole gzip file (zlib.h, "inflateInit2": 15 + 16 asks for the gzip wrapper).
std::vector<uint8_t> gunzip(const std::vector<uint8_t>& packed, const std::string& path) {
  struct Stream : z_stream {
    Stream() : z_stream{} {}
    ~Stream() { inflateEnd(this); }
  } stream;
  if (inflateInit2(&stream, 15 + 16) != Z_OK) fail(fmt::format("{}: no memory to unpack it", path));
  stream.next_in = const_cast<uint8_t*>(packed.data());
  stream.avail_in = uInt(packed.size());
  std::vector<uint8_t> bytes(std::max<size_t>(4 * packed.size(), 4096));
  size_t used = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    if (used == bytes.size()) bytes.resize(2 * used);
    stream.next_out = bytes.data() + used;
    uInt room = uInt(std::min<size_t>(bytes.size() - used, 1u << 30));
    stream.avail_out = room;
    status = inflate(&stream, Z_NO_FLUSH);
    used += room - stream.avail_out;
  }
  if (status == Z_BUF_ERROR) fail(fmt::format("{}: the gzip file is cut short (truncated)", path));
  if (status != Z_STREAM_END) {
    fail(fmt::format("{}: broken gzip file: {}", path, stream.msg ? stream.msg : "it ends in the wrong place"));
  }
  bytes.resize(used);
  return bytes;
}

const char* const kParts[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                              "t10k-labels-idx1-ubyte"};

// The part's file, plain or .gz; empty if it is not there.
std::string find_part(const fs::path& folder, const std::string& part) {
  std::error_code ignored;
  for (const char* suffix : {"", ".gz"}) {
    fs::path file = folder / (part + suffix);
    if (fs::is_regular_file(file, ignored)) return file.string();
  }
  return "";
}

}  // namespace

IdxArray read_idx(const std::string& path) {
  std::vector<uint8_t> bytes = read_file_bytes(path);
  if (bytes.size() >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B) bytes = gunzip(bytes, path);
  if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0) {
    fail(fmt::format("{}: not an IDX file: it does not begin with two zero bytes, a type and a rank", path));
  }
  if (bytes[2] != 0x08) {
    fail(fmt::format("{}: IDX values of type 0x{:02x}; only unsigned bytes (0x08) are read", path, bytes[2]));
  }
  size_t rank = bytes[3], header = 4 + 4 * rank;
  if (rank < 1 || rank > 8) fail(fmt::format("{}: an IDX array of rank {}; 1 to 8 are read", path, rank));
  if (bytes.size() < header) fail(fmt::format("{}: the IDX header is cut short (truncated)", path));
  IdxArray array;
  uint64_t values = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    const uint8_t* size = bytes.data() + 4 + 4 * axis;
    uint64_t extent = uint64_t(size[0]) << 24 | uint64_t(size[1]) << 16 | uint64_t(size[2]) << 8 | size[3];
    array.shape.push_back(int64_t(extent));
    if (extent != 0 && values > UINT64_MAX / extent)
      fail(fmt::format("{}: the IDX header's sizes are impossible", path));
    values *= extent;
  }
  if (values != bytes.size() - header) {
    fail(fmt::format("{}: the IDX header promises {} ({} values), the file holds {}", path,
                     fmt::join(array.shape, " x "), values, bytes.size() - header));
  }
  bytes.erase(bytes.begin(), bytes.begin() + std::ptrdiff_t(header));
  array.values = std::move(bytes);
  return array;
}

IdxDataset::IdxDataset(const std::string& images_path, const std::string& labels_path, Normalization normalization)
    : path_(images_path),
      images_(read_idx(images_path)),
      labels_(read_idx(labels_path)),
      normalization_(std::move(normalization)) {
  const auto& shape = images_.shape;
  constexpr int64_t kLargest = 65536;
  if (shape.size() != 3 || shape[1] < 1 || shape[2] < 1 || shape[1] > kLargest || shape[2] > kLargest) {
    fail(fmt::format("{}: an array of {}; pictures are (count, rows, columns)", images_path, fmt::join(shape, " x ")));
  }
  if (labels_.shape.size() != 1) {
    fail(fmt::format("{}: an array of {}; labels are (count)", labels_path, fmt::join(labels_.shape, " x ")));
  }
  if (shape[0] != labels_.shape[0]) {
    fail(fmt::format("{}: {} pictures, but {} holds {} labels", images_path, shape[0], labels_path, labels_.shape[0]));
  }
  if (shape[0] < 1) fail(fmt::format("{}: holds no pictures", images_path));
  if (normalization_.channels() != 1 || normalization_.std.size() != 1) {
    fail(fmt::format("{}: IDX pictures have one channel, so one mean and one deviation are needed", images_path));
  }
}

std::string IdxDataset::name(int64_t index) const {
  return fmt::format("{}[{}]", path_, index);
}

void IdxDataset::load(int64_t index, Philox&, float* item) const {
  int64_t size = images_.shape[1] * images_.shape[2];
  const uint8_t* pixels = images_.values.data() + index * size;
  float scale = 1.0f / (255.0f * normalization_.std[0]), shift = -normalization_.mean[0] / normalization_.std[0];
  for (int64_t i = 0; i < size; ++i) item[i] = float(pixels[i]) * scale + shift;
}

bool is_idx_folder(const fs::path& path) {
  return !find_part(path, kParts[0]).empty() || !find_part(path, kParts[2]).empty();
}

LabelledData open_idx_folder(const fs::path& path) {
  std::string files[4];
  for (int i = 0; i < 4; ++i) {
    files[i] = find_part(path, kParts[i]);
    if (files[i].empty()) fail(fmt::format("{}: neither {} nor {}.gz is there", path.string(), kParts[i], kParts[i]));
  }
  auto train = std::make_shared<IdxDataset>(files[0], files[1]);
  auto valid = std::make_shared<IdxDataset>(files[2], files[3]);
  if (!(train->shape() == valid->shape())) {
    fail(fmt::format("{}: training pictures are {} x {}, test pictures {} x {}", path.string(), train->shape().height,
                     train->shape().width, valid->shape().height, valid->shape().width));
  }
  int classes = 0;
  for (int64_t i = 0; i < train->size(); ++i) classes = std::max(classes, train->label(i) + 1);
  for (int64_t i = 0; i < valid->size(); ++i) {
    if (valid->label(i) >= classes) {
      fail(fmt::format("{}: label {} at item {} does not occur in training", files[3], valid->label(i), i));
    }
  }
  if (classes < 2) fail(fmt::format("{}: one class only; a classifier needs at least two", files[1]));
  std::vector<std::string> names;
  for (int i = 0; i < classes; ++i) names.push_back(std::to_string(i));
  return LabelledData(std::move(names), mnist_normalization(), train, train, valid);
}

namespace {

/// `count` items, ascending: the first of each class, then the second of each, and so on.
std::vector<int64_t> evenly_by_class(const Dataset& part, int64_t count) {
  std::map<int, int64_t> seen;
  std::vector<std::pair<int64_t, int64_t>> order;  // which one of its class, index
  for (int64_t i = 0; i < part.size(); ++i) order.emplace_back(seen[part.label(i)]++, i);
  std::sort(order.begin(), order.end());
  std::vector<int64_t> items;
  for (int64_t k = 0; k < std::min(count, part.size()); ++k) items.push_back(order[size_t(k)].second);
  std::sort(items.begin(), items.end());
  return items;
}

}  // namespace

int64_t unpack_idx_folder(const fs::path& path, const fs::path& folder, int64_t count) {
  const LabelledData data = open_idx_folder(path);
  const int64_t classes = std::ssize(data.classes());
  if (count != 0 && count < classes)
    fail(fmt::format("{}: {} pictures cannot show all of its {} classes; take at least {}", path.string(), count,
                     classes, classes));
  int64_t written = 0;
  for (const bool train : {true, false}) {
    const auto part = train ? data.train() : data.valid();
    const std::vector<int64_t> items = evenly_by_class(*part, count == 0 ? part->size()
                                                              : train    ? count
                                                                         : std::max(classes, count / 4));
    for (const std::string& name : data.classes()) {
      std::error_code error;
      const fs::path place = folder / (train ? "train" : "valid") / name;
      fs::create_directories(place, error);
      if (error) fail(fmt::format("{}: cannot be made: {}", place.string(), error.message()));
    }
    for_each_in_parallel(std::ssize(items), [&](int64_t k) {
      const int64_t i = items[size_t(k)];
      std::vector<float> item(size_t(part->shape().size()));
      Philox random(0, 0);
      part->load(i, random, item.data());
      const fs::path file =
          folder / (train ? "train" : "valid") / data.classes()[size_t(part->label(i))] / fmt::format("{:05}.png", i);
      write_png(file.string(), from_floats(item.data(), part->shape(), data.normalization()));
    });
    written += std::ssize(items);
  }
  return written;
}

}  // namespace weft
