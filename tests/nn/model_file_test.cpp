// Weights in files: what is written is read, torch's order, heads of other classes, and files that do not fit.

#include <doctest/doctest.h>

#include <string>

#include "core/safetensors.h"
#include "kernels/error.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::TemporaryFolder;

namespace {

std::string refusal(Model model, const std::filesystem::path& path) {
  try {
    model.load(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("save and load") {
  const TemporaryFolder folder;
  const Model model = squeezenet1_1({"a", "b"}, 3);
  model.save(folder / "model.safetensors");

  Metadata metadata;
  const auto tensors = load_safetensors(folder / "model.safetensors", &metadata);
  CHECK(metadata["format"] == "pt");
  // (K, C, R, S) in the file, (K, R, S, C) here.
  const Tensor& in_file = tensors.at("features.0.weight");
  const Tensor& here = model.state().at("features.0.weight");
  CHECK(in_file.shape().extents() == std::vector<std::int64_t>{64, 3, 3, 3});
  CHECK(in_file.values<float>()[1 * 9 + 2 * 3 + 0] == here.values<float>()[(2 * 3 + 0) * 3 + 1]);

  Model other = squeezenet1_1({"a", "b"}, 4);
  CHECK_FALSE(tests::same_bits(other.state(), model.state()));
  other.load(folder / "model.safetensors");
  CHECK(tests::same_bits(other.state(), model.state()));
  CHECK(other.notes().empty());
}

TEST_CASE("16-bit floats, counters, and a head for other classes") {
  const TemporaryFolder folder;
  const Model model = resnet18({"a", "b", "c"}, 3);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : model.state())
    tensors[name] = (tensor.shape().rank() == 4 ? filter_to_torch(tensor) : tensor).to(DType::f16);
  tensors["bn1.num_batches_tracked"] = Tensor::zeros({1}, DType::i64);
  save_safetensors(folder / "half.safetensors", tensors);

  Model same = resnet18({"x", "y", "z"}, 4);
  same.load(folder / "half.safetensors");
  CHECK(same.notes().empty());
  CHECK(tests::largest_difference(same.state().at("conv1.weight"), model.state().at("conv1.weight")) < 1e-3);
  CHECK(tests::largest_difference(same.state().at("fc.weight"), model.state().at("fc.weight")) < 1e-4);

  const Model fewer = resnet18({"x", "y"}, 4).load(folder / "half.safetensors");
  REQUIRE(fewer.notes().size() == 1);
  CHECK(contains(fewer.notes()[0], "3 classes"));
  CHECK(contains(fewer.notes()[0], "fc.weight"));
  CHECK(tests::largest_difference(fewer.state().at("conv1.weight"), model.state().at("conv1.weight")) < 1e-3);
  CHECK(tests::same_bits({{"fc", fewer.state().at("fc.weight")}},
                         {{"fc", resnet18({"x", "y"}, 4).state().at("fc.weight")}}));

  tensors.erase("fc.weight");
  tensors.erase("fc.bias");
  save_safetensors(folder / "trunk.safetensors", tensors);
  const Model trunk = resnet18({"x", "y"}, 4).load(folder / "trunk.safetensors");
  REQUIRE(trunk.notes().size() == 1);
  CHECK(contains(trunk.notes()[0], "none"));
}

TEST_CASE("files that do not fit are refused, and say what they look like") {
  const TemporaryFolder folder;
  resnet34({"a", "b", "c"}).save(folder / "resnet34.safetensors");
  const std::string deeper = refusal(resnet18({"a", "b"}), folder / "resnet34.safetensors");
  CAPTURE(deeper);
  CHECK(contains(deeper, "looks like resnet34"));
  CHECK(contains(deeper, "layer1.2.bn1.bias"));
  CHECK(contains(deeper, "more"));
  const std::string shallower = refusal(resnet50({"a", "b"}), folder / "resnet34.safetensors");
  CHECK(contains(shallower, "looks like resnet34"));
  CHECK(contains(shallower, "lacks layer1.0.bn3.bias"));

  lenet({"a", "b"}).save(folder / "lenet.safetensors");
  CHECK(contains(refusal(squeezenet1_1({"a", "b"}), folder / "lenet.safetensors"), "looks like lenet"));

  auto tensors = load_safetensors(folder / "resnet34.safetensors");
  tensors["conv1.weight"] = Tensor::zeros({64, 1, 7, 7});
  save_safetensors(folder / "grey.safetensors", tensors);
  const std::string grey = refusal(resnet34({"a", "b"}), folder / "grey.safetensors");
  CAPTURE(grey);
  CHECK(contains(grey, "conv1.weight is (64, 7, 7, 1) in the file, (64, 7, 7, 3) in resnet34"));

  // A head of another kind is no head for other classes.
  tensors["conv1.weight"] = Tensor::zeros({64, 3, 7, 7});
  tensors["fc.weight"] = Tensor::zeros({3, 100});
  save_safetensors(folder / "head.safetensors", tensors);
  CHECK(contains(refusal(resnet34({"a", "b"}), folder / "head.safetensors"), "fc.weight"));
}

TEST_CASE("the downloaded weights load") {
  const std::filesystem::path data = tests::data_folder();
  if (data.empty()) return;
  const Model resnet = resnet18({"cats", "dogs"}).load(data / "weights/resnet18_ktb_recalbn.f16.safetensors");
  CHECK(resnet.notes().size() == 1);
  const Model squeezenet = squeezenet1_1({"cats", "dogs"}).load(data / "weights/squeezenet1_1.f16.safetensors");
  CHECK(squeezenet.notes().size() == 1);
  CHECK(contains(refusal(resnet50({"a", "b"}), data / "weights/squeezenet1_1.f16.safetensors"),
                 "looks like squeezenet1_1"));
}

TEST_CASE("numbers that do not fit a model are refused by name") {
  Model model = resnet18({"a", "b"});
  CHECK_THROWS_WITH_AS(model.set_state({{"fc.wait", Tensor::zeros({2, 512})}}), doctest::Contains("fc.wait"), Error);
  CHECK_THROWS_WITH_AS(model.set_state({{"fc.weight", Tensor::zeros({3, 512})}}), doctest::Contains("(2, 512)"), Error);
}
