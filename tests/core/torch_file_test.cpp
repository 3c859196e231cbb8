// torch's .pth: fixtures/*.pth come from make_torch_fixture.py.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "core/files.h"
#include "core/pickle.h"
#include "core/safetensors.h"
#include "tests/temporary_folder.h"

using namespace weft;
using weft::test::error_of;
using weft::test::TemporaryFolder;

namespace {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(WEFT_FIXTURES) / name;
}

// What loading the fixture says, without the file's name.
std::string refusal(const std::string& name) {
  const std::string error = error_of([&] { load_tensors(fixture(name)); });
  const std::string prefix = fixture(name).string();
  return error.starts_with(prefix) ? error.substr(prefix.size()) : error;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<float> floats(const Tensor& tensor) {
  const Tensor x = tensor.to(DType::f32);
  return {x.values<float>().begin(), x.values<float>().end()};
}

void check_plain(const std::map<std::string, Tensor>& tensors) {
  REQUIRE(tensors.size() == 12);
  const Tensor& conv = tensors.at("conv.weight");
  CHECK(conv.shape() == Shape{2, 3, 2, 2});
  for (int i = 0; i < 24; ++i) {  // strided in the file, dense here
    CHECK(conv.values<float>()[static_cast<std::size_t>(i)] == static_cast<float>(i));
  }
  CHECK(tensors.at("fc.weight").shape() == Shape{4, 3});
  CHECK(floats(tensors.at("fc.weight")) == std::vector<float>{50, 54, 58, 51, 55, 59, 52, 56, 60, 53, 57, 61});
  CHECK(floats(tensors.at("fc.bias")) == std::vector<float>{7, 8, 9});
  CHECK(floats(tensors.at("head")) == std::vector<float>{100, 101, 102, 103});
  CHECK(floats(tensors.at("tail")) == std::vector<float>{106, 107, 108, 109, 110, 111});
  CHECK(floats(tensors.at("expanded")) == std::vector<float>{9, 10, 9, 10, 9, 10});
  CHECK(tensors.at("half").dtype() == DType::f16);
  CHECK(floats(tensors.at("half")) == std::vector<float>{0.5f, 1.0f, 1.5f});
  CHECK(tensors.at("bfloat").dtype() == DType::bf16);
  CHECK(floats(tensors.at("bfloat")) == std::vector<float>{0.25f, 0.5f, 0.75f});
  CHECK(tensors.at("int").values<std::int32_t>()[0] == -1);
  CHECK(tensors.at("bn.num_batches_tracked").shape() == Shape{});
  CHECK(tensors.at("bn.num_batches_tracked").values<std::int64_t>()[0] == std::int64_t{1} << 40);
  CHECK(tensors.at("byte").values<std::uint8_t>()[2] == 255);
  CHECK(tensors.at("nothing").shape() == Shape{0, 5});
}

}  // namespace

TEST_CASE("torch files load: types, strides, shared storages, parameters") {
  check_plain(load_torch(fixture("plain.pth")));
  check_plain(load_tensors(fixture("plain.pth")));
  check_plain(load_torch(fixture("deflated.pth")));
  CHECK(floats(load_torch(fixture("protocol4.pth")).at("fc.bias")) == std::vector<float>{7, 8, 9});
  CHECK(floats(load_torch(fixture("little.pth")).at("fc.bias")) == std::vector<float>{7, 8, 9});
}

TEST_CASE("a checkpoint's state_dict is found") {
  const std::map<std::string, Tensor> tensors = load_torch(fixture("checkpoint.pth"));
  REQUIRE(tensors.size() == 2);
  CHECK(floats(tensors.at("fc.weight")) == std::vector<float>{3, 4});
  CHECK(floats(tensors.at("fc.bias")) == std::vector<float>{5});
}

TEST_CASE("torch files that are not for Weft are refused by name") {
  CHECK(contains(refusal("evil2.pth"), "it wants the global posix.system"));
  CHECK(contains(refusal("evil4.pth"), "it wants the global posix.system"));
  CHECK(contains(refusal("newobj.pth"), "opcode NEWOBJ (0x81)"));
  CHECK(contains(refusal("big.pth"), "big-endian"));
  CHECK(contains(refusal("double.pth"), "tensor wide lies in a torch.DoubleStorage, a type that is not supported"));
  CHECK(contains(refusal("tensor.pth"), "holds an object, not a dictionary of tensors"));
  CHECK(contains(refusal("legacy.pth"), "from before version 1.6"));
  CHECK_FALSE(std::filesystem::exists("pwned"));
}

TEST_CASE("pickles are plain data or an error") {
  const auto read = [](std::string_view bytes) {
    return error_of([&] { pickle::read("p", bytes, [](std::string_view name) { return name == "a.b"; }); });
  };
  using namespace std::string_view_literals;
  CHECK(read("\x80\x02N."sv).empty());
  CHECK(read("\x80\x02"
             "ca\nb\n)R}b."sv)
            .empty());
  CHECK(contains(read(""sv), "protocol number"));
  CHECK(contains(read("\x80\x01N."sv), "protocol 1 is none of 2 to 5"));
  CHECK(contains(read("\x80\x02N"sv), "ends too early"));
  CHECK(contains(read("\x80\x02X\xff\xff\xff\xffz"sv), "ends too early"));
  CHECK(contains(read("\x80\x02."sv), "stack is empty"));
  CHECK(contains(read("\x80\x02Nt."sv), "no mark"));
  CHECK(contains(read("\x80\x02(N\x85("sv
                      "a."sv),
                 "stack is empty"));  // APPEND across a mark
  CHECK(contains(read("\x80\x02h\x07."sv), "recalls object 7"));
  CHECK(contains(read("\x80\x02NNa."sv), "appends to None"));
  CHECK(contains(read("\x80\x02}(Nu."sv), "a key without a value"));
  CHECK(contains(read("\x80\x02N)R."sv), "it calls None"));
  CHECK(contains(read("\x80\x02"
                      "ca\nc\n."sv),
                 "global a.c"));
  CHECK(contains(read("\x80\x02"
                      "ca\nb\x1b\n."sv),
                 "global a.b?"));
  CHECK(contains(read("\x80\x02i."sv), "opcode INST (0x69)"));
  CHECK(contains(read("\x80\x02\x8a\x09         ."sv), "number of 9 bytes"));
  // A list that holds itself: the document owns both, nothing is followed and nothing leaks.
  CHECK(read("\x80\x02]q\x00h\x00"
             "a."sv)
            .empty());
  const pickle::Document numbers =
      pickle::read("p", "\x80\x02(J\xfe\xff\xff\xffK\xffM\x01\x02\x8a\x01\x80G\x3f\xe0\0\0\0\0\0\0\x88t."sv,
                   [](std::string_view) { return false; });
  REQUIRE(numbers.root->items.size() == 6);
  CHECK(numbers.root->items[0]->integer == -2);
  CHECK(numbers.root->items[1]->integer == 255);
  CHECK(numbers.root->items[2]->integer == 513);
  CHECK(numbers.root->items[3]->integer == -128);
  CHECK(numbers.root->items[4]->real == 0.5);
  CHECK(numbers.root->items[5]->integer == 1);
}

TEST_CASE("damaged torch files load or are refused, and never crash") {
  const TemporaryFolder folder;
  std::mt19937 random(7);
  int loaded = 0, refused = 0;
  for (const char* name : {"plain.pth", "deflated.pth", "protocol4.pth", "checkpoint.pth"}) {
    const std::string sound = read_file(fixture(name));
    for (int round = 0; round < 400; ++round) {
      std::string damaged = sound;
      if (round % 8 == 0) {
        damaged.resize(random() % damaged.size());
      }
      for (unsigned flips = 1 + random() % 4; flips > 0 && !damaged.empty(); --flips) {
        // Half of the damage goes to the end, where the directory is.
        const std::size_t range = random() % 2 == 0 ? damaged.size() : std::min<std::size_t>(damaged.size(), 300);
        damaged[damaged.size() - 1 - random() % range] = static_cast<char>(random());
      }
      write_file_atomically(folder / "x.pth", damaged);
      const std::string error = error_of([&] { load_torch(folder / "x.pth"); });
      ++(error.empty() ? loaded : refused);
      CHECK(error.find('\n') == std::string::npos);
    }
  }
  MESSAGE("torch files damaged at random: " << loaded << " loaded, " << refused << " refused");
  CHECK(refused > 100);
}
