#include "core/graph.h"

#include <doctest/doctest.h>

#include <string>

#include "core/ops.h"
#include "core/problem.h"
#include "kernels/error.h"
#include "kernels/ops.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

/// The message of the Error that `call` throws; "" where it throws none.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("graph: shapes are inferred as torch does") {
  Graph graph;
  const ValueId x = graph.input("x", {2, 224, 224, 3});
  const ValueId conv = ops::conv2d(graph, "conv1", x, graph.parameter("conv1.weight", {64, 7, 7, 3}), {},
                                   {.stride = {2, 2}, .padding = {3, 3}});
  CHECK(graph.value(conv).shape == Shape{2, 112, 112, 64});
  const ValueId pool = ops::max_pool(graph, "pool", conv, {.window = {3, 3}, .stride = {2, 2}, .padding = {1, 1}});
  CHECK(graph.value(pool).shape == Shape{2, 56, 56, 64});
  // squeezenet: torch gives 55 for 112 with ceil_mode off, 56 with it on.
  CHECK(graph.value(ops::max_pool(graph, "floor", conv, {.window = {3, 3}, .stride = {2, 2}})).shape[1] == 55);
  CHECK(graph.value(ops::max_pool(graph, "ceil", conv, {.window = {3, 3}, .stride = {2, 2}, .ceil_mode = true}))
            .shape[1] == 56);
  // A window that would start in the trailing padding is left out: torch gives 2 for extent 3, window 2, stride 2,
  // padding 1 with ceil_mode.
  const ValueId small = graph.input("small", {1, 3, 3, 1});
  CHECK(graph
            .value(ops::max_pool(graph, "small", small,
                                 {.window = {2, 2}, .stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true}))
            .shape[1] == 2);
  CHECK(graph.value(graph.node(graph.producer(pool)).outputs[1]).dtype == DType::i32);
}

TEST_CASE("graph: an error names the layer and both shapes") {
  Graph graph;
  const ValueId x = graph.input("x", {4, 56, 56, 32}), weight = graph.parameter("w", {64, 3, 3, 64});
  CHECK(error_of([&] { ops::conv2d(graph, "layer1.0.conv1", x, weight, {}, {}); }) ==
        "layer1.0.conv1: conv2d wants 64 channels as its weight (64, 3, 3, 64) has, got x (4, 56, 56, 32)");
  CHECK(error_of([&] { ops::conv2d(graph, "dw", x, weight, {}, {.groups = 32}); }) ==
        "dw: conv2d wants 2048 channels as its weight (64, 3, 3, 64) has in 32 groups, got x (4, 56, 56, 32)");
  CHECK(error_of([&] { ops::conv2d(graph, "dw", x, weight, {}, {.groups = 3}); }) ==
        "dw: conv2d has 3 groups, which do not divide the 64 filters of its weight (64, 3, 3, 64)");
  const std::string add = error_of([&] { ops::add(graph, "block.add", x, weight); });
  CHECK(add == "block.add: add wants a and b of one shape, got (4, 56, 56, 32) and (64, 3, 3, 64)");
  const ValueId a = graph.input("a", {5, 6}), b = graph.input("b", {7, 8});
  CHECK(error_of([&] { ops::gemm(graph, "fc", a, b); }) ==
        "fc: gemm wants inner extents that agree, got 6 of a (5, 6) and 7 of b (7, 8)");
  CHECK(error_of([&] { ops::cross_entropy(graph, "loss", a, b); }) ==
        "loss: cross_entropy wants int32 labels, got f32");
  CHECK(error_of([&] { ops::reshape(graph, "flat", a, {31}); }).find("30") != std::string::npos);
  CHECK(error_of([&] { ops::dropout(graph, "drop", a, 1.0, 0); }).find("drop: dropout") == 0);
  CHECK(error_of([&] {
          ops::max_pool(graph, "p", x, {.window = {2, 2}, .padding = {2, 2}});
        }).find("half") != std::string::npos);
  CHECK(error_of([&] {
          ops::max_pool(graph, "p", x, {.window = {99, 99}});
        }).find("(4, 56, 56, 32)") != std::string::npos);
  const ValueId wide = graph.input("wide", {4, 56, 28, 32});
  const std::string concat = error_of([&] { ops::concat(graph, "fire.concat", {x, wide}); });
  CHECK(concat.find("fire.concat: concat") == 0);
  CHECK(concat.find("(4, 56, 28, 32)") != std::string::npos);
  const ValueId one = graph.input("one", {1, 1, 1, 4}), c = graph.parameter("c", {4});
  const ValueId mean = graph.state("mean", {4}), var = graph.state("var", {4});
  CHECK(error_of([&] { ops::batch_norm(graph, "bn", one, c, c, mean, var); }).find("larger batch") !=
        std::string::npos);
  CHECK(error_of([&] {
          ops::batch_norm(graph, "bn", x, c, c, mean, var);
        }).find("bn: batch_norm_train wants weight (32)") == 0);
}

TEST_CASE("graph: names") {
  Graph graph;
  const ValueId weight = graph.parameter("fc.weight", {3, 4});
  CHECK(graph.parameter("fc.weight", {3, 4}) == weight);
  CHECK(error_of([&] {
          graph.parameter("fc.weight", {4, 3});
        }) == "fc.weight is used with shape (3, 4) and with shape (4, 3)");
  CHECK(error_of([&] { graph.input("fc.weight", {3, 4}); }) != "");
  CHECK(error_of([&] { graph.input("empty", {0, 4}); }) != "");
  const ValueId x = graph.input("x", {2, 4});
  CHECK(error_of([&] { graph.input("x", {2, 4}); }) != "");
  const ValueId y = ops::gemm(graph, "fc", x, weight, {}, false, true);
  graph.mark_output(y, "logits");
  CHECK(graph.find("logits") == y);
  CHECK(graph.contains("x"));
  CHECK(!graph.contains("y"));
  CHECK(error_of([&] { graph.find("logit"); }) == "the graph has no value named \"logit\"; near names: logits");
  CHECK(error_of([&] { graph.mark_output(x, "logits"); }) != "");
  CHECK(graph.readers(x) == std::vector<NodeId>{NodeId{0}});
  CHECK(graph.producer(y) == NodeId{0});
  CHECK(!graph.producer(x));
}

TEST_CASE("graph: an op may only update a state") {
  Graph graph;
  const ValueId x = graph.input("x", {8, 4}), c = graph.parameter("c", {4});
  CHECK(error_of([&] { ops::batch_norm(graph, "bn", x, c, c, c, c); }) ==
        "bn: batch_norm_train updates c, which is not a state");
}

TEST_CASE("graph: attributes say what is missing") {
  const Attributes attributes = {{"p", 0.5}, {"stride", std::vector<std::int64_t>{1, 2}}};
  CHECK(attributes.real("p") == 0.5);
  CHECK(attributes.integers("stride")[1] == 2);
  CHECK(error_of([&] { (void)attributes.integer("p"); }) == "attribute \"p\" is not an integer");
  CHECK(error_of([&] { (void)attributes.text("q"); }) == "attribute \"q\" is missing");
}

TEST_CASE("graph: each dropout has a number of its own") {
  Graph graph;
  const ValueId x = graph.input("x", {8, 4});
  const NodeId a = graph.producer(ops::dropout(graph, "drop", x, 0.5, 1));
  const NodeId b = graph.producer(ops::dropout(graph, "drop", x, 0.5, 1));
  CHECK(graph.node(a).attributes.integer("op") != graph.node(b).attributes.integer("op"));
}

TEST_CASE("problem_of: extents in the catalogue's order") {
  using extents::Conv2d;
  using extents::Pool;
  Graph graph;
  const ValueId x = graph.input("x", {2, 9, 11, 3}), weight = graph.parameter("w", {5, 3, 2, 3}),
                bias = graph.parameter("b", {5});
  const ValueId y =
      ops::conv2d(graph, "conv", x, weight, bias, {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 3}});
  const Problem conv = problem_of(graph, graph.node(graph.producer(y)));
  const std::int64_t expected[Conv2d::kCount] = {2, 9, 11, 3, 5, 3, 2, 2, 1, 1, 0, 1, 3, 1, 1};
  for (int i = 0; i < Conv2d::kCount; ++i) CHECK(conv.extents[i] == expected[i]);
  const ValueId pooled = ops::avg_pool(graph, "pool", y, {.window = {3, 2}, .stride = {1, 2}, .padding = {1, 1}});
  const Problem pool = problem_of(graph, graph.node(graph.producer(pooled)));
  CHECK(pool.extents[Pool::R] == 3);
  CHECK(pool.extents[Pool::S] == 2);
  CHECK(pool.extents[Pool::stride_w] == 2);
  CHECK(pool.extents[Pool::P] == graph.value(pooled).shape[1]);
  CHECK(pool.extents[Pool::Q] == graph.value(pooled).shape[2]);
  CHECK(error_of([&] {
          problem_of(graph, graph.node(graph.producer(ops::reshape(graph, "r", x, {2, 297}))));
        }) == "r: reshape is not an op of the kernel catalogue");
}

}  // namespace
}  // namespace weft::test
