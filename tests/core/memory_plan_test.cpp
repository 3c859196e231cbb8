#include "core/memory_plan.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "core/kernel_device.h"
#include "core/ops.h"
#include "core/passes.h"
#include "kernels/philox.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

/// No two values that live at the same time share a byte, and nothing lies outside the arena.
void check_plan(const Graph& graph, const Program& program, const MemoryPlan& plan) {
  std::vector<std::size_t> placed;
  for (std::size_t i = 0; i < program.storage.size(); ++i) {
    if (plan.offsets[i] == MemoryPlan::kNone || program.storage[i].alias) continue;
    placed.push_back(i);
    CHECK(plan.offsets[i] + program.storage[i].bytes <= plan.arena);
    CHECK(plan.offsets[i] % 64 == 0);
  }
  int overlaps = 0;
  for (const std::size_t a : placed) {
    for (const std::size_t b : placed) {
      if (a >= b || plan.first_step[a] > plan.last_step[b] || plan.first_step[b] > plan.last_step[a]) continue;
      const bool apart = plan.offsets[a] + program.storage[a].bytes <= plan.offsets[b] ||
                         plan.offsets[b] + program.storage[b].bytes <= plan.offsets[a];
      overlaps += apart ? 0 : 1;
    }
  }
  CHECK(overlaps == 0);
  // Written before it is read, and alive whenever a step touches it.
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    const int step = static_cast<int>(i);
    for (const auto* ids : {&program.steps[i].reads, &program.steps[i].writes}) {
      for (const ValueId id : *ids) {
        const auto at = static_cast<std::size_t>(id.index);
        if (plan.offsets[at] == MemoryPlan::kNone) {
          const Value& value = graph.value(id);
          CHECK((value.kind == ValueKind::parameter || value.kind == ValueKind::state ||
                 graph.node(graph.producer(id)).pass == Pass::backward));
          continue;
        }
        CHECK(plan.first_step[at] <= step);
        CHECK(step <= plan.last_step[at]);
      }
    }
  }
}

/// A graph of elementwise ops, concats and reshapes at random.
Graph random_graph(std::uint64_t seed) {
  Philox random(seed, 0);
  Graph graph;
  std::vector<ValueId> values = {graph.input("a", {4, 6}), graph.input("b", {4, 3})};
  const auto any = [&] { return values[random.below(static_cast<std::uint32_t>(values.size()))]; };
  for (int i = 0; i < 40; ++i) {
    const std::string name = fmt::format("n{}", i);
    const ValueId x = any();
    const Shape shape = graph.value(x).shape;
    switch (random.below(4)) {
      case 0:
        values.push_back(ops::relu(graph, name, x));
        break;
      case 1:
        values.push_back(ops::add(graph, name, x, x));
        break;
      case 2:
        if (shape[1] < 100) values.push_back(ops::concat(graph, name, {x, any()}));
        break;
      default:
        values.push_back(ops::reshape(graph, name, ops::reshape(graph, name + "t", x, {shape[1], shape[0]}), shape));
    }
    if (random.below(12) == 0) graph.mark_output(values.back(), name + ".out");
  }
  graph.mark_output(values.back(), "last");
  return graph;
}

/// A step a node, everything dense.
Program dense_program(const Graph& graph) {
  Program program{dense_storage(graph), {}, {}};
  for (int i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.node(NodeId{i});
    if (node.definition->name == "reshape") continue;
    Step step;
    step.nodes = {NodeId{i}};
    for (const ValueId id : node.inputs)
      if (id) step.reads.push_back(id);
    step.writes = node.outputs;
    step.workspace = static_cast<std::size_t>(100 * i);
    program.steps.push_back(std::move(step));
  }
  return program;
}

TEST_CASE("memory plan: random graphs") {
  for (std::uint64_t seed = 0; seed < 25; ++seed) {
    CAPTURE(seed);
    const Graph graph = random_graph(seed);
    const Program program = dense_program(graph);
    const MemoryPlan shared = plan_memory(graph, program), alone = plan_memory(graph, program, false);
    check_plan(graph, program, shared);
    check_plan(graph, program, alone);
    CHECK(shared.arena <= alone.arena);
    CHECK(alone.arena == shared.unshared);
    CHECK(shared.workspace == program.steps.back().workspace);
  }
}

/// ResNet-18's shapes at 64 px, as a chain of residual blocks.
Graph resnet_like(std::int64_t batch) {
  Graph graph;
  ValueId x = graph.input("input", {batch, 64, 64, 3});
  const ValueId labels = graph.input("labels", {batch}, DType::i32);
  const auto conv_bn = [&](const std::string& name, ValueId in, std::int64_t filters, std::int64_t window,
                           std::int64_t stride) {
    const std::int64_t channels = graph.value(in).shape[3];
    const ValueId y = ops::conv2d(graph, name + ".conv", in,
                                  graph.parameter(name + ".conv.weight", {filters, window, window, channels}), {},
                                  {.stride = {stride, stride}, .padding = {window / 2, window / 2}});
    const auto parameter = [&](const char* what) { return graph.parameter(name + what, {filters}); };
    return ops::batch_norm(graph, name + ".bn", y, parameter(".bn.weight"), parameter(".bn.bias"),
                           graph.state(name + ".bn.running_mean", {filters}),
                           graph.state(name + ".bn.running_var", {filters}));
  };
  x = ops::relu(graph, "stem.relu", conv_bn("stem", x, 64, 7, 2));
  x = ops::max_pool(graph, "stem.pool", x, {.window = {3, 3}, .stride = {2, 2}, .padding = {1, 1}});
  for (int layer = 0; layer < 4; ++layer) {
    for (int block = 0; block < 2; ++block) {
      const std::string name = fmt::format("layer{}.{}", layer + 1, block);
      const std::int64_t filters = 64 << layer, stride = layer > 0 && block == 0 ? 2 : 1;
      const ValueId shortcut = stride == 1 ? x : conv_bn(name + ".downsample", x, filters, 1, stride);
      x = ops::relu(graph, name + ".relu1", conv_bn(name + ".1", x, filters, 3, stride));
      x = ops::add(graph, name + ".add", conv_bn(name + ".2", x, filters, 3, 1), shortcut);
      x = ops::relu(graph, name + ".relu2", x);
    }
  }
  x = ops::gemm(graph, "fc", ops::global_avg_pool(graph, "pool", x), graph.parameter("fc.weight", {2, 512}),
                graph.parameter("fc.bias", {2}), false, true);
  graph.mark_output(ops::cross_entropy(graph, "loss", x, labels), "loss");
  return graph;
}

TEST_CASE("memory plan: a residual net, trained and predicting") {
  const Graph forward = resnet_like(8);
  const Graph training = with_gradients(forward, "loss"), inference = for_inference(forward, {"loss"});
  for (const Graph* graph : {&training, &inference}) {
    const Program program = dense_program(*graph);
    const MemoryPlan plan = plan_memory(*graph, program);
    check_plan(*graph, program, plan);
    // The lower bound: what lives at the peak.
    std::size_t live = 0;
    for (std::size_t i = 0; i < plan.offsets.size(); ++i)
      if (plan.offsets[i] != MemoryPlan::kNone && !program.storage[i].alias && plan.first_step[i] <= plan.peak_step &&
          plan.peak_step <= plan.last_step[i])
        live += program.storage[i].bytes;
    CHECK(plan.arena >= live);
    CHECK(static_cast<double>(plan.arena) <= 1.1 * static_cast<double>(live));
    const double share = static_cast<double>(plan.arena) / static_cast<double>(plan.unshared);
    CHECK(share <= (graph == &training ? 0.4 : 0.25));
    fmt::print("{}\n", to_text(plan, *graph, program));
  }
  // Gradients of parameters are the store's.
  const MemoryPlan plan = plan_memory(training, dense_program(training));
  CHECK(plan.offsets[static_cast<std::size_t>(training.find("grad.fc.weight").index)] == MemoryPlan::kNone);
}

}  // namespace
}  // namespace weft::test
