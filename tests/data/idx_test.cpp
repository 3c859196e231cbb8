// IDX files: read plain and gzipped, and refused with the reason when malformed.

#include "data/idx.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>

#include "tests/data/pictures.h"

namespace weft::test {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes gzipped(const Bytes& bytes) {
  Bytes out(bytes.size() + 200);
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = const_cast<uint8_t*>(bytes.data());
  stream.avail_in = uInt(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = uInt(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// `count` pictures of 2 x 3; value = 10 * picture + position.
Bytes images(uint8_t count) {
  Bytes bytes = {0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 3};
  for (int i = 0; i < count; ++i) {
    for (int p = 0; p < 6; ++p) bytes.push_back(uint8_t(10 * i + p));
  }
  return bytes;
}

Bytes labels(const Bytes& values) {
  Bytes bytes = {0, 0, 8, 1, 0, 0, 0, uint8_t(values.size())};
  for (uint8_t value : values) bytes.push_back(value);
  return bytes;
}

void write_folder(const TemporaryFolder& folder) {
  folder.write("train-images-idx3-ubyte.gz", gzipped(images(4)));
  folder.write("train-labels-idx1-ubyte", labels({0, 2, 1, 0}));
  folder.write("t10k-images-idx3-ubyte", images(2));
  folder.write("t10k-labels-idx1-ubyte.gz", gzipped(labels({1, 2})));
}

TEST_CASE("a folder of IDX files, plain and gzipped, opens as data") {
  TemporaryFolder folder;
  CHECK_FALSE(is_idx_folder(folder.path()));
  write_folder(folder);
  CHECK(is_idx_folder(folder.path()));
  LabelledData data = open_dataset(folder.path().string());
  CHECK(data.classes() == std::vector<std::string>{"0", "1", "2"});
  CHECK(data.shape() == ItemShape{2, 3, 1});
  CHECK(data.train()->size() == 4);
  CHECK(data.valid()->size() == 2);
  CHECK(data.train()->label(1) == 2);
  CHECK_FALSE(data.train()->augmented());
  CHECK(data.valid()->name(1) == folder / "t10k-images-idx3-ubyte[1]");
  CHECK(data.normalization().channels() == 1);
  float item[6];
  Philox random(0, 0);
  data.train()->load(3, random, item);
  for (int p = 0; p < 6; ++p) CHECK(std::abs(item[p] - ((30 + p) / 255.0 - 0.1307) / 0.3081) < 1e-6);
}

TEST_CASE("malformed IDX files are refused with the reason") {
  TemporaryFolder folder;
  auto says = [&](const Bytes& bytes, const std::string& reason) {
    std::string path = folder.write("x", bytes), error = error_of([&] { read_idx(path); });
    CAPTURE(error);
    CHECK(error.starts_with(path + ": "));
    CHECK(contains(error, reason));
  };
  says({}, "not an IDX file");
  says({0, 0, 8}, "not an IDX file");
  says({'h', 'e', 'l', 'l', 'o'}, "not an IDX file");
  says({0, 0, 0x0D, 1, 0, 0, 0, 0}, "values of type 0x0d");
  says({0, 0, 8, 0, 1}, "rank 0");
  says({0, 0, 8, 200, 1}, "rank 200");
  says({0, 0, 8, 3, 0, 0, 0, 1}, "header is cut short");
  says({0, 0, 8, 1, 0, 0, 0, 5, 1, 2, 3}, "promises 5 (5 values), the file holds 3");
  says({0, 0, 8, 1, 0, 0, 0, 2, 1, 2, 3}, "promises 2 (2 values), the file holds 3");
  says({0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, "impossible");
  Bytes packed = gzipped(images(20));
  says(Bytes(packed.begin(), packed.end() - 9), "gzip file is cut short");
  Bytes broken = packed;
  for (size_t i = 20; i < 30; ++i) broken[i] ^= 0x5A;
  says(broken, "gzip");
  CHECK(read_idx(folder.write("x", packed)).values.size() == 120);
}

TEST_CASE("IDX folders whose parts do not fit are refused") {
  TemporaryFolder folder;
  auto error = [&] { return error_of([&] { open_idx_folder(folder.path()); }); };
  write_folder(folder);
  CHECK(error().empty());
  folder.write("train-labels-idx1-ubyte", labels({0, 2, 1}));
  CHECK(contains(error(), "4 pictures, but " + (folder / "train-labels-idx1-ubyte").string() + " holds 3 labels"));
  folder.write("train-labels-idx1-ubyte", labels({0, 0, 0, 0}));
  CHECK(contains(error(), "does not occur in training"));
  folder.write("train-labels-idx1-ubyte", images(4));
  CHECK(contains(error(), "labels are (count)"));
  folder.write("train-labels-idx1-ubyte", labels({0, 1, 2, 0}));
  folder.write("t10k-images-idx3-ubyte", Bytes{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 7});
  CHECK(contains(error(), "training pictures are 2 x 3, test pictures 1 x 1"));
  folder.write("t10k-images-idx3-ubyte", labels({1, 2}));
  CHECK(contains(error(), "pictures are (count, rows, columns)"));
  std::filesystem::remove(folder / "t10k-labels-idx1-ubyte.gz");
  CHECK(contains(error(), "neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz is there"));
}

TEST_CASE("IDX files unpacked into class folders open as pictures of the same values") {
  TemporaryFolder idx, folder;
  write_folder(idx);
  CHECK(unpack_idx_folder(idx.path(), folder.path()) == 6);
  CHECK(std::filesystem::exists(folder.path() / "train" / "2" / "00001.png"));
  const Image image = read_image((folder.path() / "valid" / "2" / "00001.png").string());
  REQUIRE(image.width == 3);
  REQUIRE(image.height == 2);
  for (int p = 0; p < 6; ++p)
    for (int channel = 0; channel < 3; ++channel) CHECK(image.rgb[size_t(3 * p + channel)] == 10 + p);
  TemporaryFolder fewer;
  CHECK(unpack_idx_folder(idx.path(), fewer.path(), 3) == 5);
  CHECK(contains(error_of([&] { unpack_idx_folder(fewer.path(), folder.path()); }), "train-images-idx3-ubyte"));
}

TEST_CASE("some of the digits of an IDX folder are some of each class, the same ones each time") {
  TemporaryFolder idx, folder, again, third;
  // Sorted by class, so that its beginning is of one class alone; of class 2 there is but one.
  std::vector<uint8_t> train, valid;
  for (int i = 0; i < 9; ++i) train.push_back(i < 5 ? 0 : i < 8 ? 1 : 2);
  for (int i = 0; i < 6; ++i) valid.push_back(uint8_t(i / 2));
  idx.write("train-images-idx3-ubyte", images(9));
  idx.write("train-labels-idx1-ubyte", labels(train));
  idx.write("t10k-images-idx3-ubyte", images(6));
  idx.write("t10k-labels-idx1-ubyte", labels(valid));
  const auto names = [](const std::filesystem::path& below) {
    std::set<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(below))
      if (entry.is_regular_file()) files.insert(entry.path().lexically_relative(below).generic_string());
    return files;
  };
  CHECK(unpack_idx_folder(idx.path(), folder.path(), 6) == 6 + 3);  // a quarter of 6 is 1, and there are three classes
  CHECK(names(folder.path() / "train") == std::set<std::string>{"0/00000.png", "0/00001.png", "0/00002.png",
                                                                "1/00005.png", "1/00006.png", "2/00008.png"});
  CHECK(names(folder.path() / "valid") == std::set<std::string>{"0/00000.png", "1/00002.png", "2/00004.png"});
  unpack_idx_folder(idx.path(), again.path(), 6);
  CHECK(names(again.path()) == names(folder.path()));
  CHECK(contains(error_of([&] { unpack_idx_folder(idx.path(), third.path(), 2); }), "take at least 3"));
}

}  // namespace
}  // namespace weft::test
