// Fusing for kernel devices (core/fusion.h): the same numbers by fewer nodes, nothing fused away that somebody wants.

#include "core/fusion.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "core/ops.h"
#include "core/passes.h"
#include "tests/core/harness_nets.h"

namespace weft::test {
namespace {

std::shared_ptr<Device> simt_device() {
  static const std::shared_ptr<Device> device = make_device("simt");
  return device;
}

std::string_view takes_all(const Node&, std::span<const Value>, std::span<const Value>) {
  return "any";
}

TEST_CASE("fusion: prediction folds batch norm, the shortcut and ReLU into the convolutions") {
  const Graph graph = for_inference(residual_net(8), {"logits"});
  const Graph folded = fused(graph, takes_all);
  CHECK(has_node(folded, "conv + bn + relu: conv2d"));
  CHECK(has_node(folded, "layer1.conv2 + bn2 + add + relu2: conv2d"));
  CHECK(has_node(folded, "bn: batch_norm_fold"));
  CHECK(count_of(folded, "batch_norm_eval") == 0);
  CHECK(count_of(folded, "add") == 0);
  CHECK(count_of(folded, "relu") == 0);
  for (const bool fuse : {true, false}) check_run(simt_device(), graph, {.fuse = fuse}, 1e-4);

  const std::string text = to_text(folded), dot = to_dot(folded);
  CHECK(text.find("layer1.conv2 + bn2 + add + relu2") != std::string::npos);
  CHECK(dot.find("label=\"conv2 + bn2 + add + relu2: conv2d\"") != std::string::npos);
  CHECK(dot.find("subgraph \"cluster_layer1\"") != std::string::npos);
}

TEST_CASE("fusion: a training step fuses batch norm, the sum and ReLU in both directions") {
  const Graph graph = with_gradients(residual_net(8), "loss");
  const Graph folded = fused(graph, takes_all);
  CHECK(has_node(folded, "bn + relu: batch_norm_train"));
  CHECK(has_node(folded, "layer1.bn2 + add + relu2: batch_norm_train"));
  CHECK(has_node(folded, "bn + relu: batch_norm_train_backward"));
  CHECK(count_of(folded, "relu") == 0);
  CHECK(count_of(folded, "relu_backward") == 0);
  CHECK(folded.node_count() < graph.node_count());
  CHECK(folded.outputs().size() == graph.outputs().size());
  for (const bool fuse : {true, false}) check_run(simt_device(), graph, {.fuse = fuse}, 5e-4);
}

/// Of each box in a Graphviz picture its label, in the order of the file.
std::vector<std::string> boxes_of(const std::string& dot) {
  std::vector<std::string> labels;
  for (std::size_t at = dot.find(", style=filled"); at != std::string::npos; at = dot.find(", style=filled", at + 1)) {
    const std::size_t begin = dot.rfind("[label=\"", at) + 8;
    labels.push_back(dot.substr(begin, at - 1 - begin));
  }
  return labels;
}

TEST_CASE("fusion: the picture names every node, by its op and by what was fused into it") {
  Graph graph;
  ValueId x = graph.input("input", {2, 6, 6, 4});
  for (const std::string block : {"stem", "layer1"}) {
    x = norm(graph, block + ".bn", conv(graph, block + ".conv", x, 4, 3));
    x = ops::relu(graph, block + ".relu", x);
  }
  graph.mark_output(ops::sum(graph, "total", x), "loss");
  const auto boxes = [](const Graph& drawn) {
    std::vector<std::string> labels = boxes_of(to_dot(drawn));
    std::ranges::sort(labels);
    return labels;
  };
  using Labels = std::vector<std::string>;
  const Graph predicting = for_inference(graph, {"loss"});
  CHECK(boxes(predicting) == Labels{"bn: batch_norm_eval", "bn: batch_norm_eval", "conv: conv2d", "conv: conv2d",
                                    "relu", "relu", "total: sum"});
  CHECK(boxes(fused(predicting, takes_all)) == Labels{"bn: batch_norm_fold", "bn: batch_norm_fold",
                                                      "conv + bn + relu: conv2d", "conv + bn + relu: conv2d",
                                                      "total: sum"});
  const Graph training = with_gradients(graph, "loss"), folded = fused(training, takes_all);
  const std::string dot = to_dot(folded);
  const Labels labels = boxes(folded);
  CHECK(labels.size() == static_cast<std::size_t>(folded.node_count()));
  for (const char* both : {"bn + relu: batch_norm_train", "bn + relu: batch_norm_train_backward"})
    CHECK(std::ranges::count(labels, std::string(both)) == 2);
  CHECK(std::ranges::none_of(labels, [](const std::string& label) { return label.starts_with("relu"); }));
  for (const char* block : {"stem", "layer1"})
    CHECK(dot.find(fmt::format("subgraph \"cluster_{}\"", block)) != std::string::npos);
  // Forward and backward are told apart by colour.
  const std::size_t backward = dot.find("bn + relu: batch_norm_train_backward\"");
  REQUIRE(backward != std::string::npos);
  CHECK(dot.substr(backward, 90).find("#fbe3d4") != std::string::npos);
}

TEST_CASE("fusion: fewer steps, and fewer bytes that they make") {
  for (const bool train : {false, true}) {
    const Graph net = residual_net(8), graph = train ? with_gradients(net, "loss") : for_inference(net, {"logits"});
    Executor whole(simt_device(), graph), apart(simt_device(), graph, {.compile = {.fuse = false}});
    fmt::print("{}: fused {} steps, {} bytes of values, {} of them at once; apart {}, {}, {}\n",
               train ? "training" : "predicting", whole.program().steps.size(), whole.memory().unshared,
               whole.memory().arena, apart.program().steps.size(), apart.memory().unshared, apart.memory().arena);
    CHECK(whole.program().steps.size() + 4 < apart.program().steps.size());
    CHECK(static_cast<double>(whole.memory().unshared) <
          (train ? 0.85 : 0.55) * static_cast<double>(apart.memory().unshared));
  }
}

TEST_CASE("fusion: the profile and the plan name what was fused") {
  const Graph graph = with_gradients(residual_net(8), "loss");
  const Executor whole(simt_device(), graph);
  const std::vector<StepProfile> profile = whole.profile();
  CHECK(std::ranges::any_of(profile, [](const StepProfile& p) { return p.name == "layer1.bn2 + add + relu2"; }));
  CHECK(whole.program().plan.find("layer1.bn2 + add + relu2/batch_norm_train ") != std::string::npos);
  // The plan of a run is taken again.
  Executor again(simt_device(), graph, {.compile = {.plan = whole.program().plan}});
  CHECK(again.program().plan == whole.program().plan);
}

TEST_CASE("fusion: biases, branches, dropout and linear layers") {
  const Graph graph = with_gradients(fire_net(5, 10), "loss");
  const Graph folded = fused(graph, takes_all);
  CHECK(has_node(folded, "fc1.relu: relu"));  // it has a ceiling, which gemm's epilogue has not
  CHECK(has_node(folded, "expand3 + expand3.relu: conv2d"));
  CHECK(has_node(folded, "squeeze + squeeze.relu: conv2d"));
  check_run(simt_device(), graph, {}, 5e-4);
}

TEST_CASE("fusion: a MobileNetV2 block with ReLU6, predicting and training") {
  const auto ceiling_of_node = [](const Graph& graph, const std::string& name, const std::string& op) {
    for (const Node& node : graph.nodes())
      if (node.name == name && node.definition->name == op) return node.attributes.real("ceiling");
    return 0.0;
  };
  // A ceiling so low that a quarter of what is positive reaches it; the fused nodes have the model's own.
  const Graph net = inverted_residual_net(8, 1.5), predicting = for_inference(net, {"logits"});
  const Graph folded = fused(predicting, takes_all), trained = fused(with_gradients(net, "loss"), takes_all);
  for (const char* layer : {"expand", "depthwise"}) {
    const std::string name = std::string("block.") + layer;
    CHECK(ceiling_of_node(folded, name + " + " + layer + "_bn + " + layer + "_relu", "conv2d") == 1.5);
    for (const char* op : {"batch_norm_train", "batch_norm_train_backward"})
      CHECK(ceiling_of_node(trained, name + "_bn + " + layer + "_relu", op) == 1.5);
  }
  for (const Graph& graph : {folded, trained}) {
    CHECK(count_of(graph, "relu") == 0);
    CHECK(count_of(graph, "relu_backward") == 0);
  }
  CHECK(count_of(folded, "batch_norm_eval") == 0);
  for (const bool fuse : {true, false}) {
    check_run(simt_device(), predicting, {.fuse = fuse}, 1e-4);
    check_run(simt_device(), with_gradients(net, "loss"), {.fuse = fuse}, 5e-4);
  }
}

TEST_CASE("fusion: a linear layer takes the sum and ReLU behind it") {
  Graph graph;
  const ValueId x = graph.input("input", {5, 7});
  const ValueId y =
      ops::gemm(graph, "mlp.fc", x, graph.parameter("fc.weight", {7, 7}), graph.parameter("fc.bias", {7}), false, true);
  graph.mark_output(ops::relu(graph, "mlp.relu", ops::add(graph, "mlp.add", x, y)), "y");
  CHECK(nodes_of(fused(graph, takes_all)) == std::vector<std::string>{"mlp.fc + add + relu: gemm"});
  for (const bool fuse : {true, false}) check_run(simt_device(), graph, {.fuse = fuse}, 1e-5);
}

TEST_CASE("fusion: a value that somebody else reads, or that is marked, is made") {
  Graph graph;
  const ValueId x = graph.input("input", {2, 6, 6, 4});
  const ValueId y = conv(graph, "conv", x, 4, 3);
  const ValueId z = ops::relu(graph, "relu", y);
  const ValueId w = conv(graph, "marked", z, 4, 1);
  graph.mark_output(w, "before");
  graph.mark_output(ops::add(graph, "add", y, z), "sum");
  graph.mark_output(ops::relu(graph, "relu2", w), "after");
  CHECK(nodes_of(fused(graph, takes_all)) == nodes_of(graph));
  check_run(simt_device(), graph, {}, 1e-5);
  // A masked gradient that goes to a shortcut as well, or is marked, is the backward's dresidual.
  const Graph folded = fused(with_gradients(residual_net(4), "loss"), takes_all);
  int residuals = 0;
  for (const Node& node : folded.nodes())
    residuals += node.definition->name == "batch_norm_train_backward" && node.outputs.size() == 4;
  CHECK(residuals == 2);
}

TEST_CASE("fusion: what a device has no kernel for stays as it is, link by link") {
  const Graph graph = for_inference(residual_net(4), {"logits"});
  const Graph none = fused(graph, [](const Node&, auto, auto) { return std::string_view(); });
  CHECK(nodes_of(none) == nodes_of(graph));
  const Graph some = fused(graph, [](const Node& node, std::span<const Value>, std::span<const Value>) {
    return std::string_view(node.attributes.has("relu") && node.attributes.integer("relu") != 0 ? "" : "any");
  });
  CHECK(has_node(some, "layer1.conv2 + bn2 + add: conv2d"));
  CHECK(has_node(some, "layer1.relu2: relu"));
}

TEST_CASE("fusion: folded statistics follow the parameters and the states") {
  const Graph graph = for_inference(residual_net(4), {"logits"});
  Executor executor(simt_device(), graph, {.poison = true});
  StateDict leaves = scaled_leaves(graph);
  feed(executor, leaves);
  for (const char* moved : {"", "", "bn.running_var", "layer1.bn1.scale", "layer2.bn2.running_mean"}) {
    CAPTURE(moved);
    if (*moved != '\0') {
      for (float& number : leaves.at(moved).values<float>()) number = 1.5f * number + 0.25f;
      executor.store()->set(moved, leaves.at(moved));
    }
    executor.run();
    CHECK(differences(executor, graph, reference_run(graph, to_doubles(leaves)), 1e-4) == "");
  }
}

TEST_CASE("fusion: the first NaN is found in a fused node, under its name") {
  const Graph graph = for_inference(residual_net(4), {"logits"});
  Executor executor(simt_device(), graph);
  StateDict leaves = scaled_leaves(graph);
  for (float& number : leaves.at("layer1.conv2.weight").values<float>()) number = 3e38f;
  feed(executor, leaves);
  executor.run();
  const std::optional<NonFinite> found = executor.find_nonfinite();
  REQUIRE(found);
  CHECK(found->layer == "layer1.conv2 + bn2 + add + relu2");
  CHECK(found->op == "conv2d");
}

}  // namespace
}  // namespace weft::test
