// Graphs in which the cpu device fuses, shares memory and changes layouts, against the same graph in double precision:
// what is fused must give what its nodes give one by one.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/ops.h"
#include "core/passes.h"
#include "tests/core/harness.h"

#if WEFT_WITH_CPU

namespace weft::test {
namespace {

ValueId conv(Graph& graph, const std::string& name, ValueId x, std::int64_t K, std::int64_t R, std::int64_t stride = 1,
             bool bias = false) {
  const ValueId weight = graph.parameter(name + ".weight", {K, R, R, graph.value(x).shape[-1]});
  return ops::conv2d(graph, name, x, weight, bias ? graph.parameter(name + ".bias", {K}) : ValueId{},
                     {.stride = {stride, stride}, .padding = {R / 2, R / 2}});
}

ValueId norm(Graph& graph, const std::string& name, ValueId x) {
  const Shape channels = {graph.value(x).shape[-1]};
  return ops::batch_norm(graph, name, x, graph.parameter(name + ".scale", channels),
                         graph.parameter(name + ".bias", channels), graph.state(name + ".running_mean", channels),
                         graph.state(name + ".running_var", channels));
}

/// A stem, two residual blocks (the second goes down, with a convolution in its shortcut and a ceiling to its inner
/// ReLU), a head. `C` channels.
Graph residual_net(std::int64_t C) {
  Graph graph;
  ValueId x = graph.input("input", {4, 16, 16, 3});
  x = ops::relu(graph, "relu", norm(graph, "bn", conv(graph, "conv", x, C, 7, 2)));
  x = ops::max_pool(graph, "maxpool", x, {.window = {3, 3}, .stride = {1, 1}, .padding = {1, 1}});
  for (const std::int64_t stride : {1, 2}) {
    const std::string name = fmt::format("layer{}.", stride);
    const std::int64_t K = stride * C;
    const ValueId y =
        ops::relu(graph, name + "relu1", norm(graph, name + "bn1", conv(graph, name + "conv1", x, K, 3, stride)),
                  stride == 1 ? 0 : 1.5);
    const ValueId z = norm(graph, name + "bn2", conv(graph, name + "conv2", y, K, 3));
    const ValueId shortcut =
        stride == 1 ? x : norm(graph, name + "down.1", conv(graph, name + "down.0", x, K, 1, stride));
    x = ops::relu(graph, name + "relu2", ops::add(graph, name + "add", z, shortcut));
  }
  x = ops::global_avg_pool(graph, "avgpool", x);
  x = ops::gemm(graph, "fc", x, graph.parameter("fc.weight", {3, 2 * C}), graph.parameter("fc.bias", {3}), false, true);
  graph.mark_output(x, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", x, graph.input("labels", {4}, DType::i32)), "loss");
  return graph;
}

/// Branches of convolutions with bias and ReLU (of some with a ceiling) that are concatenated, dropout, flatten and a
/// linear layer with ReLU.
Graph fire_net(std::int64_t squeeze, std::int64_t expand) {
  Graph graph;
  ValueId x = graph.input("input", {3, 11, 9, 3});
  x = ops::relu(graph, "relu", conv(graph, "conv", x, 16, 3, 2, true));
  x = ops::relu(graph, "squeeze.relu", conv(graph, "squeeze", x, squeeze, 1, 1, true));
  const ValueId a = ops::relu(graph, "expand1.relu", conv(graph, "expand1", x, expand, 1, 1, true)),
                b = ops::relu(graph, "expand3.relu", conv(graph, "expand3", x, expand, 3, 1, true), 0.5);
  x = ops::concat(graph, "cat", {a, b});
  x = ops::avg_pool(graph, "pool", x, {.window = {2, 2}, .stride = {2, 2}, .ceil_mode = true});
  x = ops::dropout(graph, "dropout", x, 0.25, 3);
  const std::int64_t features = graph.value(x).shape.elements() / 3;
  x = ops::reshape(graph, "flatten", x, {3, features});
  x = ops::gemm(graph, "fc1", x, graph.parameter("fc1.weight", {20, features}), graph.parameter("fc1.bias", {20}),
                false, true);
  x = ops::relu(graph, "fc1.relu", x, 1);
  x = ops::gemm(graph, "fc2", x, graph.parameter("fc2.weight", {4, 20}), graph.parameter("fc2.bias", {4}), false, true);
  graph.mark_output(x, "logits");
  graph.mark_output(ops::cross_entropy(graph, "loss", x, graph.input("labels", {3}, DType::i32)), "loss");
  return graph;
}

/// Random numbers that keep activations near 1: filters by their fan-in.
StateDict scaled_leaves(const Graph& graph) {
  StateDict leaves = random_leaves(graph, 5, 3);
  for (auto& [name, tensor] : leaves)
    if (name.ends_with(".weight"))
      for (float& w : tensor.values<float>())
        w *= static_cast<float>(
            std::sqrt(2.0 * static_cast<double>(tensor.shape()[0]) / static_cast<double>(tensor.elements())));
  return leaves;
}

/// Runs `graph` and compares its outputs, gradients and states. A ReLU's kink may fall on another side in float32 than
/// in double: rarely, and never by much, in so small a net with these seeds.
void check(const Graph& graph, const CompileOptions& compile, double tolerance) {
  constexpr std::uint64_t kStep = 3;
  const StateDict leaves = scaled_leaves(graph);
  const std::vector<Doubles> exact = reference_run(graph, to_doubles(leaves), kStep);
  for (const bool reuse : {true, false}) {
    Executor executor(make_device("cpu", {.threads = 2}), graph,
                      {.compile = compile, .reuse_memory = reuse, .poison = true});
    feed(executor, leaves);
    executor.run(kStep);
    for (const auto& [name, id] : graph.outputs()) {
      const bool stored = name.starts_with("grad.") && executor.store()->contains(name.substr(5));
      const Tensor got = stored ? executor.store()->gradient(name.substr(5)) : executor.output(name);
      CHECK(difference(name, got, exact[static_cast<std::size_t>(id.index)], tolerance) == "");
    }
    for (int i = 0; i < graph.value_count(); ++i)
      if (const Value& v = graph.value({i}); v.kind == ValueKind::state)
        CHECK(difference(v.name, executor.store()->get(v.name), exact[static_cast<std::size_t>(i)], tolerance) == "");
  }
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

}  // namespace
}  // namespace weft::test

#endif
