// safetensors: what is written is read, and every malformed file is refused with its reason.
#include "core/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "core/files.h"
#include "tests/temporary_folder.h"

using namespace weft;
using weft::test::error_of;
using weft::test::TemporaryFolder;

namespace {

std::string bytes_of(std::uint64_t length, const std::string& header, std::size_t data) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data, 'x');
}

// A file of this header and so many bytes of data.
std::string file_of(const std::string& header, std::size_t data = 0) {
  return bytes_of(header.size(), header, data);
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::map<std::string, Tensor> sample() {
  std::map<std::string, Tensor> tensors;
  tensors["a.weight"] = Tensor::from<float>({2, 3}, std::vector<float>{1, -2, 3, 0.5f, 1e-40f, 3e38f});
  tensors["b"] = Tensor::from<float>({4}, std::vector<float>{1, 2, 3, 4}).to(DType::f16);
  tensors["c"] = Tensor::from<float>({2}, std::vector<float>{-1, 7}).to(DType::bf16);
  tensors["d"] = Tensor::from<std::int32_t>({1, 1}, std::vector<std::int32_t>{-5});
  tensors["e"] = Tensor::from<std::int64_t>({}, std::vector<std::int64_t>{1ll << 50});
  tensors["f"] = Tensor::from<std::uint8_t>({3}, std::vector<std::uint8_t>{0, 128, 255});
  tensors["g \"\n\xc3\xa4"] = Tensor::zeros({0, 7});
  return tensors;
}

void check_same(const std::map<std::string, Tensor>& a, const std::map<std::string, Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, tensor] : a) {
    CAPTURE(name);
    const Tensor& other = b.at(name);
    CHECK(tensor.shape() == other.shape());
    CHECK(tensor.dtype() == other.dtype());
    CHECK(std::memcmp(tensor.data(), other.data(), tensor.bytes()) == 0);
  }
}

}  // namespace

TEST_CASE("safetensors come back as they were written") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  save_safetensors(path, sample(), {{"format", "pt"}, {"note", "\xe2\x88\x9e"}});
  Metadata metadata;
  check_same(sample(), load_safetensors(path, &metadata));
  check_same(sample(), load_tensors(path));
  CHECK(metadata == Metadata{{"format", "pt"}, {"note", "\xe2\x88\x9e"}});
  const std::string file = read_file(path);
  std::uint64_t header = 0;
  std::memcpy(&header, file.data(), 8);
  CHECK(header % 8 == 0);  // so that the data is aligned
  save_safetensors(path, {});
  CHECK(load_safetensors(path).empty());
  CHECK(folder.names().size() == 1);
}

TEST_CASE("what cannot be written is refused") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  CHECK(error_of([&] { save_safetensors(path, {{"e", Tensor()}}); }).ends_with("tensor \"e\" is empty"));
  CHECK(error_of([&] {
          save_safetensors(path, {{"__metadata__", Tensor::zeros({1})}});
        }).find("keeps for itself") != std::string::npos);
  CHECK(error_of([&] { save_safetensors(path, {{"\xff", Tensor::zeros({1})}}); }).ends_with("is not UTF-8"));
  CHECK(folder.names().empty());
}

TEST_CASE("every malformed safetensors file is refused with its reason") {
  const std::string one = entry("F32", "[1]", "[0,4]");
  const struct {
    const char* reason;
    std::string file;
  } cases[] = {
      {"it has 0 bytes, and the header's length alone takes 8", ""},
      {"it has 7 bytes", std::string(7, 'x')},
      {"its header would have 100000001 bytes; more than 100000000 are not accepted", bytes_of(100000001, "{}", 0)},
      {"its header would have 18446744073709551615 bytes", bytes_of(~std::uint64_t{0}, "{}", 0)},
      {"its header would have 3 bytes, but the whole file has 10", bytes_of(3, "{}", 0)},
      {"does not begin with {", bytes_of(0, "", 0)},
      {"does not begin with {", file_of("[]")},
      {"does not begin with {", file_of(" {}")},
      {"is not JSON (at byte", file_of("{\"a\":")},
      {"is not JSON (at byte", file_of("{} {}")},
      {"is not JSON (at byte", file_of("{\"\xff\":1}")},
      {"is not JSON (at byte", file_of("{\"a\":" + std::string(100000, '['))},
      {"a number that does not fit", file_of("{\"a\":" + entry("F32", "[1e999]", "[0,4]") + "}", 4)},
      {"the key \"a\" twice", file_of("{\"a\":" + one + ",\"a\":" + one + "}", 4)},
      {"the key \"dtype\" twice",
       file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4)},
      {"tensor \"a\" is not described by an object", file_of("{\"a\":3}")},
      {"tensor \"a\" has no dtype", file_of(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4)},
      {"tensor \"a\" has no shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4)},
      {"tensor \"a\" has no data_offsets", file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 4)},
      {"unsupported dtype \"F64\"; supported are", file_of("{\"a\":" + entry("F64", "[1]", "[0,8]") + "}", 8)},
      {"unsupported dtype \"BOOL\"", file_of("{\"a\":" + entry("BOOL", "[1]", "[0,1]") + "}", 1)},
      {"a dtype that is not text", file_of(R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4)},
      {"a shape that is not a list", file_of("{\"a\":" + entry("F32", "1", "[0,4]") + "}", 4)},
      {"extents are not whole numbers", file_of("{\"a\":" + entry("F32", "[1.0]", "[0,4]") + "}", 4)},
      {"the negative extent -1", file_of("{\"a\":" + entry("F32", "[-1]", "[0,4]") + "}", 4)},
      {"which 63 bits do not hold", file_of("{\"a\":" + entry("F32", "[9223372036854775808]", "[0,4]") + "}", 4)},
      {"more bytes than 64 bits count", file_of("{\"a\":" + entry("F32", "[4294967296,4294967296]", "[0,4]") + "}", 4)},
      {"not two numbers from 0 on", file_of("{\"a\":" + entry("F32", "[1]", "[0]") + "}", 4)},
      {"not two numbers from 0 on", file_of("{\"a\":" + entry("F32", "[1]", "[-4,0]") + "}", 4)},
      {"reversed data_offsets [4, 0]", file_of("{\"a\":" + entry("F32", "[1]", "[4,0]") + "}", 4)},
      {"data_offsets [0, 4] past the end: 3 bytes follow", file_of("{\"a\":" + one + "}", 3)},
      {"of shape (2) and dtype F32 needs 8 bytes, but its data_offsets [0, 4] span 4",
       file_of("{\"a\":" + entry("F32", "[2]", "[0,4]") + "}", 4)},
      {"overlaps tensor \"a\"", file_of("{\"a\":" + one + ",\"b\":" + entry("F32", "[1]", "[2,6]") + "}", 6)},
      {"overlaps tensor", file_of("{\"a\":" + one + ",\"b\":" + one + "}", 4)},
      {"no tensor covers its bytes 4 to 8",
       file_of("{\"a\":" + one + ",\"b\":" + entry("U8", "[1]", "[8,9]") + "}", 9)},
      {"no tensor covers its bytes 0 to 4", file_of("{\"a\":" + entry("F32", "[1]", "[4,8]") + "}", 8)},
      {"2 bytes trail after its last tensor", file_of("{\"a\":" + one + "}", 6)},
      {"1 bytes trail after its last tensor", file_of("{}", 1)},
      {"__metadata__ is not an object", file_of(R"({"__metadata__":[]})")},
      {"entry \"k\" of its __metadata__ is not text", file_of(R"({"__metadata__":{"k":1}})")},
  };
  const TemporaryFolder folder;
  const auto path = folder / "bad.safetensors";
  for (const auto& [reason, file] : cases) {
    CAPTURE(reason);
    write_file_atomically(path, file);
    const std::string error = error_of([&] { load_safetensors(path); });
    CAPTURE(error);
    CHECK(error.find(reason) != std::string::npos);
    CHECK(error.starts_with(path.string()));
    CHECK(error.find('\n') == std::string::npos);
  }
  CHECK(error_of([&] { load_safetensors(folder / "none"); }).ends_with("No such file or directory"));
  CHECK(error_of([&] { load_tensors(folder.path()); }).ends_with("Is a directory"));
  CHECK(error_of([&] { load_safetensors("/dev/null"); }).ends_with("Invalid argument"));
}

TEST_CASE("damaged safetensors load or are refused, and never crash") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  save_safetensors(path, sample(), {{"k", "v"}});
  const std::string sound = read_file(path);
  std::uint64_t header = 0;
  std::memcpy(&header, sound.data(), 8);
  std::mt19937 random(11);
  const std::string_view alphabet = "{}[]\",:0123456789-.eF\\ ";
  int loaded = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = sound;
    if (round % 16 == 0) {
      damaged.resize(random() % damaged.size());
    } else if (round % 16 == 1) {
      damaged.insert(random() % damaged.size(), 1 + random() % 20, static_cast<char>(random()));
    }
    for (unsigned flips = 1 + random() % 3; flips > 0 && !damaged.empty(); --flips) {
      // Mostly the header, with characters that keep it nearly JSON.
      const std::size_t at = random() % std::min<std::size_t>(damaged.size(), 8 + header);
      damaged[at] = random() % 4 == 0 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
    }
    write_file_atomically(path, damaged);
    const std::string error = error_of([&] { load_tensors(path); });
    ++(error.empty() ? loaded : refused);
    CHECK(error.find('\n') == std::string::npos);
  }
  MESSAGE("safetensors damaged at random: " << loaded << " loaded, " << refused << " refused");
  CHECK(refused > 1000);
}
