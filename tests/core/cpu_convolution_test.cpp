// The three passes of a convolution on the cpu device, elementwise within the catalogue's bounds (8 times those where
// Winograd was taken), on shapes with whole and with ragged blocks of channels; and what the plan promises.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/ops.h"
#include "core/problem.h"
#include "kernels/targets.h"
#include "tests/core/harness.h"

#if WEFT_WITH_CPU

namespace weft::test {
namespace {

struct Shapes {
  std::int64_t N, H, W, C, K, R, stride, padding, dilation = 1, groups = 1;
};

// conv2d of leaves "x", "weight" and its gradients for "dy", each a marked output of the op's name.
Graph three_passes(const Shapes& s) {
  Graph graph;
  const ValueId x = graph.input("x", {s.N, s.H, s.W, s.C}),
                weight = graph.input("weight", {s.K, s.R, s.R, s.C / s.groups});
  const ops::Conv2dOptions options = {.stride = {s.stride, s.stride},
                                      .padding = {s.padding, s.padding},
                                      .dilation = {s.dilation, s.dilation},
                                      .groups = s.groups};
  const ValueId y = ops::conv2d(graph, "layer", x, weight, {}, options);
  const NodeId node = graph.producer(y);
  const ValueId dys[] = {graph.input("dy", graph.value(y).shape)};
  const bool wanted[] = {true, true, false};
  const std::vector<ValueId> gradients = graph.node(node).definition->differentiate(graph, node, dys, wanted);
  graph.mark_output(y, "conv2d");
  graph.mark_output(gradients[0], "conv2d_backward_data");
  graph.mark_output(gradients[1], "conv2d_backward_filter");
  return graph;
}

// The exact result of a node and what rounding is relative to, by the catalogue's reference.
struct Exact {
  Doubles values, magnitudes;
  double bound = 0;  // |got - value| <= bound * magnitude
};

Exact exact_of(const Graph& graph, const Node& node, const std::map<std::string, Doubles>& leaves) {
  const Op* op = find_op(simt::target().catalogue(), node.definition->name);
  REQUIRE(op != nullptr);
  const Problem problem = problem_of(graph, node);
  Doubles a = leaves.at(graph.value(node.inputs[0]).name), b = leaves.at(graph.value(node.inputs[1]).name);
  Exact exact;
  exact.values.assign(static_cast<std::size_t>(graph.value(node.outputs[0]).shape.elements()), NAN);
  exact.magnitudes = exact.values;
  // Optional ones in between: scale, bias and residual; another part of dx.
  const std::string& name = node.definition->name;
  const std::size_t between = name == "conv2d" ? 3 : name == "conv2d_backward_data" ? 1 : 0;
  std::vector<double*> operands = {a.data(), b.data()}, magnitudes = {nullptr, nullptr};
  operands.resize(2 + between);
  magnitudes.resize(2 + between);
  operands.push_back(exact.values.data());
  magnitudes.push_back(exact.magnitudes.data());
  op->reference(problem, operands.data(), magnitudes.data());
  exact.bound = op->bound.c * 0x1p-24 * std::sqrt(static_cast<double>(op->bound.terms(problem)));
  return exact;
}

std::string wrong_element(const Exact& exact, const Tensor& got, double factor) {
  const auto values = got.values<float>();
  REQUIRE(values.size() == exact.values.size());
  bool all_zero = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    all_zero = all_zero && values[i] == 0;
    if (!(std::fabs(values[i] - exact.values[i]) <= factor * exact.bound * exact.magnitudes[i]))
      return fmt::format("element {} is {:.9g}, in truth {:.9g} within {:.3g}", i, values[i], exact.values[i],
                         factor * exact.bound * exact.magnitudes[i]);
  }
  return all_zero ? "zero everywhere" : "";
}

// The line of the plan that speaks of a pass ("forward", ...), "" where there is none.
std::string plan_line(const std::string& plan, const std::string& pass) {
  const auto at = plan.find(" | " + pass + " ");
  return at == std::string::npos ? "" : plan.substr(at, plan.find('\n', at) - at);
}

const std::vector<std::pair<std::string, std::string>> kPasses = {
    {"conv2d", "forward"}, {"conv2d_backward_data", "backward_data"}, {"conv2d_backward_filter", "backward_filter"}};

// Runs twice with memory poisoned, compares with the truth, returns how many passes took Winograd.
int check(const std::shared_ptr<Device>& device, const Shapes& shapes, const CompileOptions& compile) {
  const Graph graph = three_passes(shapes);
  const StateDict leaves = random_leaves(graph);
  const auto doubles = to_doubles(leaves);
  Executor executor(device, graph, {.compile = compile, .poison = true});
  int winograd = 0;
  std::map<std::string, Tensor> first;
  for (const bool again : {false, true}) {
    feed(executor, leaves);
    executor.run();
    for (const auto& [name, pass] : kPasses) {
      CAPTURE(name);
      const Tensor got = executor.output(name);
      if (again) {  // the same bits
        CHECK(std::ranges::equal(got.values<float>(), first.at(name).values<float>()));
        continue;
      }
      first.emplace(name, got.clone());
      const Node& node = graph.node(graph.producer(graph.find(name)));
      const bool fast = plan_line(executor.program().plan, pass).ends_with("winograd");
      winograd += fast;
      CHECK(wrong_element(exact_of(graph, node, doubles), got, fast ? 8 : 1) == "");
    }
  }
  return winograd;
}

const std::vector<Shapes> kShapes = {
    {2, 9, 11, 3, 17, 3, 1, 1},           // ragged blocks on both sides
    {1, 12, 10, 17, 3, 3, 1, 1},          //
    {3, 8, 8, 17, 33, 3, 1, 1},           //
    {2, 14, 14, 6, 16, 5, 1, 0},          // lenet's second
    {2, 28, 28, 1, 6, 5, 1, 2},           // and first: one channel
    {1, 33, 35, 3, 64, 7, 2, 3},          // resnet's stem
    {2, 31, 31, 3, 64, 3, 2, 0},          // squeezenet's
    {4, 13, 13, 48, 192, 3, 1, 1},        // its fire
    {2, 13, 13, 512, 2, 1, 1, 0},         // its classifier
    {4, 16, 16, 64, 64, 3, 1, 1},         // resnet18 layer1
    {4, 28, 28, 32, 32, 3, 1, 1},         //
    {2, 15, 17, 64, 128, 3, 2, 1},        // layer2 goes down
    {2, 16, 16, 64, 128, 1, 2, 0},        // its shortcut
    {4, 2, 2, 256, 256, 3, 1, 1},         // pictures smaller than a tile
    {8, 1, 1, 64, 32, 3, 1, 1},           // a single pixel
    {2, 12, 12, 32, 32, 3, 1, 0},         // no padding
    {1, 15, 15, 16, 16, 3, 1, 2, 2},      // dilation
    {2, 14, 14, 32, 32, 3, 1, 1, 1, 32},  // mobilenet_v2's depthwise
    {1, 15, 13, 17, 17, 3, 2, 1, 1, 17},  // the same, ragged
    {2, 9, 9, 16, 48, 3, 1, 1, 1, 16},    // three filters a channel
    {2, 10, 8, 64, 32, 3, 2, 1, 1, 4},    // resnext's, whole blocks
    {1, 7, 7, 12, 6, 1, 1, 0, 1, 3},      // ragged groups
};

TEST_CASE("cpu convolution: strict keeps to direct algorithms and the catalogue's bounds") {
  const auto device = make_device("cpu", {.threads = 2});
  for (const Shapes& s : kShapes) {
    CAPTURE(fmt::format("N{} {}x{} C{} K{} R{} stride {}", s.N, s.H, s.W, s.C, s.K, s.R, s.stride));
    CHECK(check(device, s, {.math = Math::strict}) == 0);
  }
}

TEST_CASE("cpu convolution: fast may use Winograd, within 8 times the bounds") {
  const auto device = make_device("cpu", {.threads = 2});
  int winograd = 0;
  for (const Shapes& s : kShapes) {
    CAPTURE(fmt::format("N{} {}x{} C{} K{} R{} stride {}", s.N, s.H, s.W, s.C, s.K, s.R, s.stride));
    winograd += check(device, s, {});
  }
  fmt::print("cpu: {} of {} passes took Winograd\n", winograd, 3 * kShapes.size());
  if (device->describe().find("AVX-512") != std::string::npos &&
      device->describe().find("oneDNN 2.") != std::string::npos)
    CHECK(winograd >= 3);
}

TEST_CASE("cpu convolution: Winograd wherever the library has it, asked for by a plan") {
  const auto device = make_device("cpu", {.threads = 2});
  for (const Shapes& s : kShapes) {
    if (s.R != 3 || s.stride != 1 || s.dilation != 1 || s.C < 16 || s.H < 4 || s.groups != 1) continue;
    // The choices of another run, all turned to Winograd.
    std::string plan = device->compile(three_passes(s), {}).plan;
    for (std::size_t at; (at = plan.find("| direct")) != std::string::npos;) plan.replace(at, 8, "| winograd");
    CAPTURE(fmt::format("N{} {}x{} C{} K{}", s.N, s.H, s.W, s.C, s.K));
    check(device, s, {.plan = plan});
    check(make_device("cpu", {.threads = 1}), s, {.plan = plan});
  }
}

TEST_CASE("cpu plan: an earlier one is taken again, strict math overrules it, and tuning gives one") {
  const auto device = make_device("cpu", {.threads = 2});
  const Shapes layer = {8, 28, 28, 64, 64, 3, 1, 1};
  const Graph graph = three_passes(layer);
  const std::string plan = device->compile(graph, {}).plan;
  CHECK(plan.starts_with("cpu "));
  CHECK(plan == device->compile(graph, {}).plan);
  CHECK(plan == device->compile(graph, {.plan = plan}).plan);

  std::string direct = plan;
  for (std::size_t at; (at = direct.find("| winograd")) != std::string::npos;) direct.replace(at, 10, "| direct");
  CHECK(device->compile(graph, {.plan = direct}).plan == direct);
  const std::string strict = device->compile(graph, {.math = Math::strict, .plan = plan}).plan;
  CHECK(strict.find("| winograd") == std::string::npos);

  const std::string tuned = device->compile(graph, {.tune = true}).plan;
  for (const auto& [name, pass] : kPasses) CHECK(plan_line(tuned, pass) != "");
  CHECK(device->compile(graph, {.plan = tuned}).plan == tuned);
}

}  // namespace
}  // namespace weft::test

#endif
