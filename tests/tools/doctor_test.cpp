// weft_doctor weights: what a file holds, which architecture it fits, and one line for what is no file of weights.

#include <doctest/doctest.h>

#include <map>

#include "core/safetensors.h"
#include "nn/model.h"
#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft;
using namespace weft::tests;

namespace {

ProcessResult examine(const fs::path& file) {
  return run_program("weft_doctor", {"weights", file.string()});
}

void check_says(const ProcessResult& result, int status, const std::vector<std::string>& words) {
  CAPTURE(result.out);
  CAPTURE(result.err);
  CHECK(result.status == status);
  CHECK(result.err.empty());
  for (const auto& word : words) CHECK_MESSAGE(result.out.find(word) != std::string::npos, "no \"", word, "\" in it");
}

void check_refused(const ProcessResult& result, const std::vector<std::string>& words) {
  CAPTURE(result.err);
  CHECK(result.status == 1);
  CHECK(result.out.empty());
  CHECK(lines(result.err) == 1);
  for (const auto& word : words) CHECK_MESSAGE(result.err.find(word) != std::string::npos, "no \"", word, "\" in it");
}

}  // namespace

TEST_CASE("weft_doctor weights: which architecture a file fits") {
  const TemporaryFolder folder;
  const fs::path squeezenet = folder / "squeezenet.safetensors", lenet_file = folder / "lenet.safetensors";
  squeezenet1_1({"a", "b", "c"}).save(squeezenet);
  // 52 tensors: a weight and a bias of 26 convolutions. 722,496 parameters before the head, 513 for each class.
  check_says(examine(squeezenet), 0,
             {"safetensors: 52 tensors, 724.03 k parameters, f32", "fits    squeezenet1_1;", "head is for 3 classes"});

  Model grey = lenet({"a", "b"}, 1);
  grey.set_size(32, 32);
  grey.save(lenet_file);
  const auto found = examine(lenet_file);
  check_says(found, 0, {"8 tensors", "fits    lenet;", "head is for 2 classes", "32 x 32, grey"});
  CHECK(found.out.find("resnet") == std::string::npos);

  // torchvision's count for 1000 classes is 3.50 M: 2.224 M before the head, 1281 for each class.
  mobilenet_v2({"a", "b"}).save(folder / "mobilenet.safetensors");
  check_says(examine(folder / "mobilenet.safetensors"), 0,
             {"2.23 M parameters and 34.11 k running statistics", "fits    mobilenet_v2;", "head is for 2 classes"});

  auto tensors = load_safetensors(squeezenet);
  tensors.erase("classifier.1.weight");
  tensors.erase("classifier.1.bias");
  save_safetensors(folder / "trunk.safetensors", tensors);
  check_says(examine(folder / "trunk.safetensors"), 0, {"fits    squeezenet1_1;", "all but the head"});
  // Without its first layer it fits nothing, and that is what it lacks.
  tensors.erase("features.0.weight");
  save_safetensors(folder / "headless.safetensors", tensors);
  check_says(examine(folder / "headless.safetensors"), 1,
             {"fits    none of", "nearest squeezenet1_1: 49 tensors fit", "it lacks features.0.weight"});
}

TEST_CASE("weft_doctor weights: a file of something else, and files that are none") {
  const TemporaryFolder folder;
  save_safetensors(folder / "foreign.safetensors", {{"encoder.embedding", Tensor::zeros({7, 3})}});
  check_says(examine(folder / "foreign.safetensors"), 1, {"1 tensor, 21 parameters", "fits    none of", "resnet50"});

  save_safetensors(folder / "empty.safetensors", {});
  check_refused(examine(folder / "empty.safetensors"), {"empty.safetensors", "no tensors"});
  check_refused(examine(folder / "nowhere.safetensors"), {"nowhere.safetensors", "No such file"});
  check_refused(examine(folder.path()), {"directory"});
  write_all(folder / "notes.txt", "these are no weights, but some words of text");
  check_refused(examine(folder / "notes.txt"), {"notes.txt", "not a sound safetensors file"});
  write_all(folder / "cut.pth", "PK\3\4 the rest of it is missing");
  check_refused(examine(folder / "cut.pth"), {"cut.pth"});

  lenet({"a", "b"}).save(folder / "whole.safetensors");
  const std::string whole = read_all(folder / "whole.safetensors");
  write_all(folder / "cut.safetensors", whole.substr(0, whole.size() - 100));
  check_refused(examine(folder / "cut.safetensors"), {"cut.safetensors", "past the end"});

  CHECK(run_program("weft_doctor", {"weights"}).status == 2);
}
