#include "core/passes.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "core/ops.h"
#include "kernels/error.h"
#include "kernels/philox.h"
#include "kernels/targets.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

std::set<std::string> ops_of(const Graph& graph) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes()) names.insert(node.definition->name);
  return names;
}

int count_ops(const Graph& graph, const std::string& op) {
  return static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(),
                                        [&](const Node& node) { return node.definition->name == op; }));
}

/// Compares the graph's gradients with central differences of its loss, all in double precision. The step is small, so
/// that hardly any ReLU or maximum changes sides.
void check_gradients(const Graph& graph, const std::vector<std::string>& names, double step = 1e-6,
                     double tolerance = 1e-5) {
  std::map<std::string, Doubles> leaves = to_doubles(random_leaves(graph, 5, 3));
  const auto at = [&](const std::string& name) { return static_cast<std::size_t>(graph.find(name).index); };
  const std::vector<Doubles> values = reference_run(graph, leaves);
  const std::size_t loss = at("loss");
  int compared = 0;
  for (const std::string& name : names) {
    const Doubles gradient = values[at("grad." + name)];
    double largest = 0;
    for (const double g : gradient) largest = std::max(largest, std::fabs(g));
    CHECK_MESSAGE(largest > 0, name, ": no gradient");
    Philox random(1, subsequence_of(name.c_str()));
    for (int k = 0; k < 6; ++k) {
      const std::size_t i = random.below(static_cast<std::uint32_t>(gradient.size()));
      double& element = leaves.at(name)[i];
      const double kept = element;
      element = kept + step;
      const double above = reference_run(graph, leaves)[loss][0];
      element = kept - step;
      const double below = reference_run(graph, leaves)[loss][0];
      element = kept;
      const double difference = (above - below) / (2 * step);
      CHECK_MESSAGE(std::fabs(difference - gradient[i]) <= tolerance * std::max(largest, 1e-3), name, "[", i,
                    "]: gradient ", gradient[i], ", central difference ", difference);
      ++compared;
    }
  }
  CHECK(compared > 0);
}

TEST_CASE("with_gradients: a whole net agrees with central differences") {
  const Graph graph = with_gradients(small_net(), "loss", {"input"});
  check_gradients(graph, {"input", "conv1.weight", "bn1.weight", "bn1.bias", "block.conv.weight", "block.bn.weight",
                          "block.bn.bias", "fc.weight", "fc.bias"});
  // The input of the residual block is read twice: its gradients are summed by one add.
  int sums = 0;
  for (const Node& node : graph.nodes())
    if (node.definition->name == "add" && node.pass == Pass::backward) ++sums;
  CHECK(sums == 1);
}

TEST_CASE("with_gradients: frozen batch norm and dropout in the middle") {
  SmallNet options;
  options.frozen_trunk = true;
  options.dropout = 0.4;
  const Graph graph = with_gradients(small_net(options), "loss", {"input"});
  CHECK(ops_of(graph).contains("batch_norm_eval_backward"));
  check_gradients(graph, {"input", "block.conv.weight", "fc.weight"});
}

/// An op whose gradient is made of other ops, so that the catalogue has none of its own
/// (tests/kernels/gradient_test.cpp checks those), alone in a graph.
struct Alone {
  const char* op;
  std::vector<std::string> inputs;  ///< each (3, 5)
  ValueId (*add)(Graph&, const std::vector<ValueId>& inputs);
  double step = 1e-6, tolerance = 1e-5;
};

const std::vector<Alone>& ops_alone() {
  // A cast rounds, so that the difference is one of staircases: of steps so wide that 2^-9 of a number is little of
  // one.
  static const std::vector<Alone> all = {
      {"add", {"a", "b"}, [](Graph& g, const std::vector<ValueId>& in) { return ops::add(g, "add", in[0], in[1]); }},
      {"scale", {"x"}, [](Graph& g, const std::vector<ValueId>& in) { return ops::scale(g, "scale", in[0], -1.7); }},
      {"sum", {"x"}, [](Graph& g, const std::vector<ValueId>& in) { return ops::sum(g, "sum", in[0]); }},
      {"cast",
       {"x"},
       [](Graph& g, const std::vector<ValueId>& in) {
         return ops::cast(g, "back", ops::cast(g, "cast", in[0], DType::bf16), DType::f32);
       },
       4,
       0.01},
      {"reshape",
       {"x"},
       [](Graph& g, const std::vector<ValueId>& in) {
         return ops::reshape(g, "view", in[0], {5, 3});
       }},
      {"gemm",
       {"a", "b"},
       [](Graph& g, const std::vector<ValueId>& in) {
         return ops::gemm(g, "gemm", in[0], in[1], g.parameter("bias", {3}), false, true);
       }},
  };
  return all;
}

TEST_CASE("with_gradients: an op without a backward op of its own agrees with central differences") {
  for (const Alone& test : ops_alone()) {
    CAPTURE(std::string(test.op));
    Graph graph;
    std::vector<ValueId> inputs;
    for (const std::string& name : test.inputs) inputs.push_back(graph.input(name, {3, 5}));
    const ValueId y = test.add(graph, inputs);
    CHECK(count_ops(graph, test.op) >= 1);
    // The loss weighs each element of y by a number of its own.
    const std::int64_t n = graph.value(y).shape.elements();
    const ValueId weighed = ops::gemm(graph, "weigh", ops::reshape(graph, "row", y, {1, n}),
                                      graph.input("weights", {1, n}), {}, false, true);
    graph.mark_output(ops::reshape(graph, "loss", weighed, {1}), "loss");
    check_gradients(with_gradients(graph, "loss", test.inputs), test.inputs, test.step, test.tolerance);
  }
}

TEST_CASE("with_gradients: every op with a gradient has a gradient check") {
  const auto catalogue = simt::target().catalogue();
  for (const std::string& name : ops::names()) {
    if (!ops::definition(name)->differentiate) continue;
    const bool in_catalogue = std::any_of(catalogue.begin(), catalogue.end(), [&](const Op* op) {
      return op->gradient_of != nullptr && name == op->gradient_of;
    });
    const bool alone =
        std::any_of(ops_alone().begin(), ops_alone().end(), [&](const Alone& a) { return name == a.op; });
    CHECK_MESSAGE((in_catalogue || alone), name, ": neither the catalogue nor ops_alone() checks its gradient");
  }
}

TEST_CASE("with_gradients: nothing is computed below the lowest trained parameter") {
  SmallNet options;
  options.frozen_trunk = true;
  const Graph graph = with_gradients(small_net(options), "loss");
  CHECK(!graph.contains("grad.conv1.weight"));
  CHECK(!graph.contains("grad.bn1.weight"));
  CHECK(graph.contains("grad.block.conv.weight"));
  CHECK(count_ops(graph, "conv2d_backward_filter") == 1);
  CHECK(count_ops(graph, "conv2d_backward_data") == 0);
  CHECK(count_ops(graph, "batch_norm_eval_backward") == 0);
  for (const Node& node : graph.nodes())
    if (node.pass == Pass::backward) CHECK(node.name != "conv1");
}

TEST_CASE("with_gradients: an op without a gradient on the way is an error, beside the way it is none") {
  auto square = std::make_shared<OpDefinition>();
  square->name = "square";
  square->infer = [](const Node&, std::span<const Value> inputs) { return std::vector<Value>{inputs[0]}; };
  square->run_on_host = [](const Node&, std::span<const HostOperand>, std::span<HostOperand>) {};
  Graph graph;
  const ValueId x = graph.input("x", {2, 3}), w = graph.parameter("w", {3});
  const ValueId squared = graph.apply("sq", square, {x});
  const ValueId y = ops::bias_add(graph, "bias", squared, w);
  graph.mark_output(ops::sum(graph, "sum", y), "loss");
  CHECK_NOTHROW(with_gradients(graph, "loss"));
  CHECK_THROWS_WITH_AS(with_gradients(graph, "loss", {"x"}),
                       "sq: square has no gradient, and the loss is computed through it", Error);
  CHECK_THROWS_AS(with_gradients(graph, "x"), Error);
}

TEST_CASE("with_gradients: each parameter's gradient is a value of its own") {
  // add hands one gradient to both of its inputs, and here both are parameters.
  Graph graph;
  const ValueId a = graph.parameter("a", {2, 3}), b = graph.parameter("b", {2, 3}), c = graph.parameter("c", {6});
  const ValueId y = ops::add(graph, "add", ops::add(graph, "ab", a, b), ops::reshape(graph, "view", c, {2, 3}));
  graph.mark_output(ops::sum(graph, "sum", ops::relu(graph, "relu", y)), "loss");
  const Graph all = with_gradients(graph, "loss");
  std::set<ValueId> gradients;
  for (const char* name : {"grad.a", "grad.b", "grad.c"}) {
    const ValueId gradient = all.find(name);
    CHECK(gradients.insert(gradient).second);
    CHECK(all.node(all.producer(gradient)).definition->name != "reshape");
  }
  check_gradients(all, {"a", "b", "c"});
}

TEST_CASE("for_inference: running statistics, no dropout, nothing that is not needed") {
  SmallNet options;
  options.dropout = 0.5;
  const Graph training = with_gradients(small_net(options), "loss");
  const Graph graph = for_inference(training, {"logits"});
  const std::set<std::string> ops = ops_of(graph);
  CHECK(ops.contains("batch_norm_eval"));
  for (const char* gone : {"batch_norm_train", "dropout", "cross_entropy", "fill"}) CHECK(!ops.contains(gone));
  CHECK(!graph.contains("labels"));
  CHECK(!graph.contains("loss"));
  CHECK(graph.value(graph.find("logits")).shape == Shape{4, 3});
  CHECK_THROWS_AS(for_inference(training, {"grad.fc.weight"}), Error);
}

TEST_CASE("without_dead_nodes keeps what moves a state") {
  Graph graph;
  const ValueId x = graph.input("x", {8, 4}), w = graph.parameter("w", {4}), b = graph.parameter("b", {4});
  ops::batch_norm(graph, "bn", x, w, b, graph.state("mean", {4}), graph.state("var", {4}));
  ops::relu(graph, "dead", x);
  graph.parameter("unread", {9});
  graph.mark_output(ops::scale(graph, "scale", x, 2), "y");
  const Graph live = without_dead_nodes(graph);
  CHECK(ops_of(live) == std::set<std::string>{"batch_norm_train", "scale"});
  CHECK(!live.contains("unread"));
}

TEST_CASE("with_batch: all that follows the batch follows") {
  Graph net = small_net();
  const ValueId flat = ops::reshape(net, "flat", net.find("input"), {4, 192});
  net.mark_output(ops::sum(net, "sum", ops::relu(net, "flat_relu", flat)), "total");
  const Graph graph = with_gradients(net, "total", {"input"});
  const Graph larger = with_batch(graph, 7);
  CHECK(batch_of(larger) == 7);
  CHECK(larger.node_count() == graph.node_count());
  CHECK(larger.value(larger.find("grad.input")).shape == Shape{7, 8, 8, 3});
  CHECK(larger.value(larger.find("labels")).shape == Shape{7});
  CHECK(larger.value(larger.find("conv1.weight")).shape == Shape{8, 3, 3, 3});
  for (int i = 0; i < graph.value_count(); ++i) {
    const Shape& before = graph.value(ValueId{i}).shape;
    const Shape& after = larger.value(ValueId{i}).shape;
    CHECK(after.rank() == before.rank());
    CHECK((after == before || after[0] * 4 == before[0] * 7));
  }
  CHECK(with_batch(larger, 4).value(ValueId{0}).shape == graph.value(ValueId{0}).shape);
  CHECK_THROWS_AS(with_batch(graph, 0), Error);
}

TEST_CASE("what a graph looks like") {
  const Graph graph = with_gradients(small_net(), "loss");
  const std::string dot = to_dot(graph);
  CHECK(dot.find("digraph weft {") == 0);
  CHECK(dot.find("subgraph \"cluster_block\"") != std::string::npos);
  CHECK(dot.find("label=\"(4, 8, 8, 8)\"") != std::string::npos);
  CHECK(std::count(dot.begin(), dot.end(), '{') == std::count(dot.begin(), dot.end(), '}'));

  const std::string text = to_text(graph);
  CHECK(std::count(text.begin(), text.end(), '\n') == graph.node_count());
  CHECK(text.find("(4, 8, 8, 3), (8, 3, 3, 3) -> (4, 8, 8, 8)") != std::string::npos);

  const std::string table = layer_table(graph);
  INFO(table);
  CHECK(table.find("conv2d_backward") == std::string::npos);
  CHECK(table.find("(4, 8, 8, 8)") != std::string::npos);
  // 8*27 + 16 + 8*72 + 16 + 3*8 + 3
  CHECK(table.find("851") != std::string::npos);
  // The first convolution: 2 * 4*8*8 * 8 * 27.
  CHECK(table.find("110.59 k") != std::string::npos);
}

}  // namespace
}  // namespace weft::test
