// Graphs in which the cpu device fuses, shares memory and changes layouts, against the same graph in double precision:
// what is fused must give what its nodes give one by one.

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/ops.h"
#include "core/passes.h"
#include "tests/core/harness_nets.h"

#if WEFT_WITH_CPU

namespace weft::test {
namespace {

void check(const Graph& graph, const CompileOptions& compile, double tolerance) {
  check_run(make_device("cpu", {.threads = 2}), graph, compile, tolerance);
}

bool has_step(const Graph& graph, const CompileOptions& compile, const std::string& text) {
  const Program program = make_device("cpu", {.threads = 2})->compile(graph, compile);
  return std::ranges::any_of(program.steps, [&](const Step& s) { return s.algorithm.find(text) != std::string::npos; });
}

TEST_CASE("cpu fusion: a residual net's training step") {
  for (const std::int64_t C : {16, 12}) {
    const Graph graph = with_gradients(residual_net(C), "loss");
    CHECK(has_step(graph, {}, "+relu"));
    CHECK_FALSE(has_step(graph, {.fuse = false}, "+relu"));
    for (const Math math : {Math::strict, Math::fast})
      for (const bool fuse : {true, false}) {
        CAPTURE(C);
        CAPTURE(fuse);
        check(graph, {.math = math, .fuse = fuse}, 5e-4);
      }
  }
}

TEST_CASE("cpu fusion: prediction folds batch norm, the residual and ReLU into the convolutions") {
  for (const std::int64_t C : {16, 12}) {
    const Graph graph = for_inference(residual_net(C), {"logits"});
    CHECK(has_step(graph, {}, "+batch_norm +add +relu"));
    for (const Math math : {Math::strict, Math::fast})
      for (const bool fuse : {true, false}) check(graph, {.math = math, .fuse = fuse}, 1e-4);
  }
}

TEST_CASE("cpu fusion: concatenated branches, biases, dropout, flatten") {
  for (const std::int64_t channels : {16, 5}) {
    const Graph graph = with_gradients(fire_net(channels, 2 * channels), "loss");
    CHECK(has_step(graph, {}, "+bias"));
    for (const bool fuse : {true, false}) check(graph, {.fuse = fuse}, 5e-4);
  }
}

TEST_CASE("cpu fusion: a value that somebody else reads is made") {
  Graph graph;
  const ValueId x = graph.input("input", {2, 8, 8, 16});
  const ValueId y = conv(graph, "conv", x, 16, 3);
  const ValueId z = ops::relu(graph, "relu", y);
  graph.mark_output(ops::add(graph, "add", y, z), "sum");
  graph.mark_output(y, "before");
  graph.mark_output(z, "after");
  check(graph, {.math = Math::strict}, 1e-5);
}

TEST_CASE("cpu fusion: an operand that lives on is not overwritten") {
  Graph graph;
  const ValueId x = ops::relu(graph, "first", graph.input("input", {2, 8, 8, 16}));
  const ValueId sum = ops::add(graph, "twice", x, x);
  const ValueId scaled = ops::scale(graph, "scale", x, 3);
  const ValueId flat = ops::reshape(graph, "flat", scaled, {2, 1024});
  const ValueId after = ops::relu(graph, "relu", scaled);
  graph.mark_output(ops::add(graph, "add", sum, after), "sum");
  graph.mark_output(ops::softmax(graph, "softmax", flat), "flat");
  check(graph, {}, 1e-5);
}

TEST_CASE("cpu: a parameter's gradient comes to its own place in the store, though an elementwise op ends in it") {
  const std::vector<float> numbers = {1, -2, 3, -4, 5, -6};
  const auto gradient = [&](const std::string& device, auto build) {
    Graph graph;
    const ValueId w = graph.parameter("w", {2, 3});
    graph.mark_output(ops::sum(graph, "sum", build(graph, w)), "loss");
    Executor executor(make_device(device, {.threads = 2}), with_gradients(std::move(graph), "loss"), {});
    executor.store()->load({{"w", Tensor::from<float>({2, 3}, numbers)}});
    executor.run();
    const Tensor found = executor.store()->gradient("w");
    return std::vector<float>(found.values<float>().begin(), found.values<float>().end());
  };
  for (const std::string device : {"simt", "cpu"}) {
    CAPTURE(device);
    CHECK(gradient(device, [](Graph& g, ValueId w) {
            return ops::reshape(g, "r", ops::scale(g, "s", w, 3), {3, 2});
          }) == std::vector<float>(6, 3));
    CHECK(gradient(device, [](Graph& g, ValueId w) {
            return ops::scale(g, "s", ops::reshape(g, "r", w, {6, 1}), 3);
          }) == std::vector<float>(6, 3));
    CHECK(gradient(device, [](Graph& g, ValueId w) { return ops::relu(g, "r", w); }) ==
          std::vector<float>{1, 0, 1, 0, 1, 0});
    // Used twice: the two gradients are added up.
    CHECK(gradient(device, [](Graph& g, ValueId w) {
            return ops::add(g, "a", ops::scale(g, "s", w, 3), ops::relu(g, "r", w));
          }) == std::vector<float>{4, 3, 4, 3, 4, 3});
  }
}

}  // namespace
}  // namespace weft::test

#endif
