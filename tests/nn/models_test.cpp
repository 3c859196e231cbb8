// The architectures are torchvision's: names, shapes, number of parameters; and their parts work as they should.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/device.h"
#include "core/memory_plan.h"
#include "core/passes.h"
#include "core/problem.h"
#include "kernels/error.h"
#include "kernels/philox.h"
#include "kernels/targets.h"
#include "tests/nn/harness.h"

using namespace weft;

namespace {

Classes thousand() {
  Classes classes;
  for (int i = 0; i < 1000; ++i) classes.push_back("class" + std::to_string(i));
  return classes;
}

/// "conv1.weight [64, 3, 7, 7]\n", torch's order, sorted: what fixtures/names.py hashes.
std::string listing(const Model& model) {
  std::string text;
  for (const auto& [name, shape] : model.shapes()) {
    std::vector<std::int64_t> extents = shape.extents();
    if (extents.size() == 4) extents = {extents[0], extents[3], extents[1], extents[2]};
    text += name + " [";
    for (std::size_t i = 0; i < extents.size(); ++i) text += (i ? ", " : "") + std::to_string(extents[i]);
    text += "]\n";
  }
  return text;
}

struct Truth {
  const char* arch;
  std::int64_t parameters;
  std::size_t tensors;  // num_batches_tracked aside
  std::uint64_t names;  // 64-bit FNV-1a of the listing (torchvision 0.14.1, fixtures/names.py)
};

constexpr Truth kTruth[] = {
    {"resnet18", 11689512, 102, 0x18b056aa6aa6fea6},    {"resnet34", 21797672, 182, 0xd3f20fb1a6ebec98},
    {"resnet50", 25557032, 267, 0xd296b015caae1553},    {"squeezenet1_1", 1235496, 52, 0xb3e214f6c5863cf2},
    {"mobilenet_v2", 3504872, 262, 0xaf557b53cb3d00c9},
};

TEST_CASE("Xavier's uniform fills all of its bounds, by the fans of a matrix and of a filter") {
  for (const auto& [shape, fans] : {std::pair{Shape{40, 60}, 100.0}, {Shape{8, 3, 3, 4}, 9.0 * (4 + 8)}}) {
    Tensor weight(shape, DType::f32);
    Philox random(7, 1);
    xavier_uniform()(weight, random);
    const double bound = std::sqrt(6 / fans);
    double least = 0, most = 0, sum = 0, squares = 0;
    for (float value : weight.values<float>()) {
      least = std::min<double>(least, value);
      most = std::max<double>(most, value);
      sum += value;
      squares += double{value} * value;
    }
    const auto count = static_cast<double>(weight.values<float>().size());
    CHECK(most <= bound);
    CHECK(most > 0.95 * bound);
    CHECK(least >= -bound);
    CHECK(least < -0.95 * bound);
    CHECK(std::abs(sum / count) < 4 * bound / std::sqrt(3 * count));
    CHECK(squares / count == doctest::Approx(bound * bound / 3).epsilon(0.15));
  }
}

}  // namespace

TEST_CASE("names, shapes and parameters are torchvision's") {
  for (const Truth& truth : kTruth) {
    CAPTURE(truth.arch);
    const Model model = make_model(truth.arch, thousand());
    CHECK(model.parameter_count() == truth.parameters);
    CHECK(model.shapes().size() == truth.tensors);
    CHECK(subsequence_of(listing(model).c_str()) == truth.names);
  }
}

TEST_CASE("every architecture gives logits at every size, and a training graph with all gradients") {
  for (const std::string& arch : model_names()) {
    for (const std::int64_t size : {64, 97}) {
      CAPTURE(arch);
      CAPTURE(size);
      const Model model = make_model(arch, {"a", "b", "c"});
      const Graph graph = model.graph({.batch = 2, .height = size, .width = size, .training = true});
      CHECK(graph.value(graph.find("logits")).shape.extents() == std::vector<std::int64_t>{2, 3});
      for (const Value& value : graph.values())
        if (value.kind == ValueKind::parameter) CHECK_MESSAGE(graph.contains("grad." + value.name), value.name);
    }
  }
}

TEST_CASE("the trunk ends where the head begins") {
  const auto features = [](const char* arch) {
    const Graph graph = make_model(arch, {"a", "b"}).trunk_graph({.batch = 3});
    CHECK_FALSE(graph.contains("logits"));
    for (const Value& value : graph.values()) {
      CHECK(value.name.find("fc.") != 0);
      CHECK(value.name.find("classifier.") != 0);
    }
    return graph.value(graph.find("features")).shape.extents();
  };
  CHECK(features("resnet18") == std::vector<std::int64_t>{3, 512});
  CHECK(features("resnet50") == std::vector<std::int64_t>{3, 2048});
  CHECK(features("mobilenet_v2") == std::vector<std::int64_t>{3, 1280});
  CHECK(features("squeezenet1_1") == std::vector<std::int64_t>{3, 13, 13, 512});

  const Model model = make_model("squeezenet1_1", {"a", "b"});
  const Graph head = model.head_graph({.batch = 3, .training = true});
  CHECK(head.contains("grad.classifier.1.weight"));
  CHECK(head.value(head.find("logits")).shape.extents() == std::vector<std::int64_t>{3, 2});
  int dropouts = 0;
  for (const Node& node : head.nodes()) dropouts += node.definition->name == "dropout";
  CHECK(dropouts == 1);
  CHECK(model.in_head("classifier.1.weight"));
  CHECK_FALSE(model.in_head("features.3.squeeze.weight"));
}

TEST_CASE("frozen layers: no gradient, batch norm by its running statistics") {
  const Model model = make_model("resnet18", {"a", "b"});
  const Graph graph =
      model.graph({.batch = 2, .height = 64, .width = 64, .training = true, .frozen = [](const std::string& name) {
                     return !name.starts_with("layer4");
                   }});
  CHECK_FALSE(graph.contains("grad.conv1.weight"));
  CHECK_FALSE(graph.contains("grad.fc.weight"));
  CHECK(graph.contains("grad.layer4.0.conv1.weight"));
  for (const Node& node : graph.nodes()) {
    if (node.definition->name == "batch_norm_train") CHECK(node.name.starts_with("layer4"));
    if (node.definition->name == "batch_norm_eval") CHECK_FALSE(node.name.starts_with("layer4"));
  }
}

TEST_CASE("first numbers") {
  const Model model = make_model("resnet18", {"a", "b"}, 3, 7);
  const StateDict& state = model.state();
  const auto deviation = [&](const std::string& name) {
    double sum = 0;
    for (float value : state.at(name).values<float>()) sum += static_cast<double>(value) * value;
    return std::sqrt(sum / static_cast<double>(state.at(name).elements()));
  };
  // Kaiming's normal over fan_out: sqrt(2 / (64 * 3 * 3)).
  CHECK(std::abs(deviation("layer1.0.conv1.weight") - std::sqrt(2.0 / 576)) < 0.01 * std::sqrt(2.0 / 576));
  // Uniform within b has deviation b / sqrt(3).
  const double bound = 1 / std::sqrt(512.0);
  CHECK(std::abs(deviation("fc.weight") - bound / std::sqrt(3.0)) < 0.05 * bound);
  for (float value : state.at("fc.weight").values<float>()) CHECK(std::abs(value) <= bound);
  for (float value : state.at("bn1.weight").values<float>()) CHECK(value == 1);
  for (float value : state.at("bn1.running_var").values<float>()) CHECK(value == 1);
  // The same seed gives the same numbers, another one others; a layer's do not depend on its neighbours.
  CHECK(tests::same_bits(state, make_model("resnet18", {"a", "b"}, 3, 7).state()));
  CHECK(tests::largest_difference(state.at("conv1.weight"),
                                  make_model("resnet18", {"a", "b"}, 3, 8).state().at("conv1.weight")) > 0);
  CHECK(tests::largest_difference(state.at("conv1.weight"),
                                  make_model("resnet34", {"a", "b"}, 3, 7).state().at("conv1.weight")) == 0);
}

TEST_CASE("mobilenet_v2: depthwise filters, six times as wide inside, ReLU6 but behind what narrows") {
  const Model model = mobilenet_v2({"a", "b"}, 3);
  const auto shapes = model.shapes();
  CHECK(shapes.at("features.3.conv.1.0.weight").extents() == std::vector<std::int64_t>{144, 3, 3, 1});
  CHECK(shapes.at("features.3.conv.2.weight").extents() == std::vector<std::int64_t>{24, 1, 1, 144});
  const Graph graph = model.graph({.batch = 1});
  int convolutions = 0, sums = 0, ceilings = 0;
  for (const Node& node : graph.nodes()) {
    convolutions += node.definition->name == "conv2d";
    sums += node.definition->name == "add";
    if (node.definition->name == "relu") ceilings += node.attributes.real("ceiling") == 6;
  }
  CHECK(convolutions == 52);
  CHECK(sums == 10);
  CHECK(ceilings == 35);
  // Devices of kernels compute them along with a convolution, or in training with a batch norm.
  for (const bool training : {false, true}) {
    const Graph fused = make_device("simt")->prepare(model.graph({.batch = 2, .training = training}), {});
    int fused_ceilings = 0;
    for (const Node& node : fused.nodes()) {
      CHECK(node.definition->name != "relu");
      CHECK(node.definition->name != "relu_backward");
      fused_ceilings += node.attributes.has("ceiling") && node.attributes.real("ceiling") == 6;
    }
    CHECK(fused_ceilings == (training ? 70 : 35));
  }
  // torchvision's first numbers: the depthwise filter's fan_out is 144 3 3, the last layer's deviation 0.01.
  double sum = 0;
  const Tensor& filter = model.state().at("features.3.conv.1.0.weight");
  for (const float value : filter.values<float>()) sum += double(value) * value;
  CHECK(std::sqrt(sum / double(filter.elements())) == doctest::Approx(std::sqrt(2.0 / (144 * 9))).epsilon(0.08));
  sum = 0;
  for (const float value : model.state().at("classifier.1.weight").values<float>()) sum += double(value) * value;
  CHECK(std::sqrt(sum / (2 * 1280)) == doctest::Approx(0.01).epsilon(0.08));
}

TEST_CASE(
    "models, fused: nothing of the gradients' sums, masks and biases is left, in no more memory and fewer bytes") {
  const std::shared_ptr<Device> device = make_device("simt");
  const auto bytes_moved = [](const Graph& graph) {
    double bytes = 0;
    for (const Node& node : graph.nodes())
      if (const Op* op = find_op(simt::target().catalogue(), node.definition->name); op != nullptr)
        bytes += op->bytes(problem_of(graph, node));
    return bytes;
  };
  const auto count = [](const Graph& graph, std::string_view op) {
    return std::ranges::count_if(graph.nodes(), [op](const Node& node) { return node.definition->name == op; });
  };
  fmt::print("{:<14}{:<6}{:<9}{:>22}{:>26}\n", "model, N=4", "type", "", "memory, fused / apart",
             "moved, fused / apart");
  struct Expected {
    const char* arch;
    int biases;  ///< of convolutions, each with a ReLU behind it
    int linear;  ///< biases of linear layers
  };
  for (const Expected& expected : {Expected{"resnet18", 0, 1}, Expected{"resnet50", 0, 1},
                                   Expected{"squeezenet1_1", 26, 0}, Expected{"mobilenet_v2", 0, 1}})
    for (const bool training : {true, false})
      for (const bool rounded : {false, true}) {
        CAPTURE(expected.arch);
        CAPTURE(training);
        CAPTURE(rounded);
        const Graph plain =
            make_model(expected.arch, {"a", "b"}, 3)
                .graph({.batch = 4, .height = 64, .width = 64, .training = training, .bfloat16 = rounded});
        const Graph whole = device->prepare(plain, {});
        const auto memory = [&](const Graph& graph) { return plan_memory(graph, device->compile(graph, {})).arena; };
        const double moved = bytes_moved(whole), moved_apart = bytes_moved(plain);
        const std::size_t most = memory(whole), most_apart = memory(plain);
        fmt::print("{:<14}{:<6}{:<9}{:>9.2f} / {:>5.2f} MiB{:>11.1f} / {:>6.1f} MB\n", expected.arch,
                   rounded ? "bf16" : "f32", training ? "step" : "predict", static_cast<double>(most) / 1048576,
                   static_cast<double>(most_apart) / 1048576, moved / 1e6, moved_apart / 1e6);
        CHECK(moved < 0.97 * moved_apart);  // casts of the weights, large here, are as they were
        // A hundredth more where a masked gradient that a shortcut wants too is made while dy and y are still there.
        CHECK(static_cast<double>(most) <= (training ? 1.01 : 1.0) * static_cast<double>(most_apart));
        for (const char* gone : {"relu", "relu_backward", "add", "batch_norm_eval", "cross_entropy_backward"})
          CHECK_MESSAGE(count(whole, gone) == 0, std::string(gone));
        if (!training) continue;
        CHECK(count(whole, "relu_bias_backward") == expected.biases);
        CHECK(count(whole, "bias_backward") == expected.linear);
        CHECK(count(whole, "cross_entropy_forward_backward") == 1);
      }
}

TEST_CASE("lenet and mlp follow the pictures' size until they hold weights for one") {
  Model model = lenet({"a", "b"});
  model.set_size(40, 32);
  CHECK(model.state().at("fc1.weight").shape().extents() == std::vector<std::int64_t>{500, 7 * 5 * 50});
  CHECK_THROWS_WITH_AS(model.set_size(28, 28), doctest::Contains("fc1.weight"), Error);
  Model resnet = resnet18({"a", "b"});
  resnet.state();
  CHECK_NOTHROW(resnet.set_size(64, 64));
}

TEST_CASE("unknown architectures, too few classes") {
  CHECK_THROWS_WITH_AS(make_model("vgg16", {"a", "b"}), doctest::Contains("squeezenet1_1"), UsageError);
  CHECK_THROWS_AS(make_model("resnet18", {"a"}), Error);
}
