// A training step and a prediction, fused and not, on every device that is here: the same numbers within rounding, no
// more memory, fewer bytes moved; and what fusing leaves over.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "core/fusion.h"
#include "core/kernel_device.h"
#include "core/ops.h"
#include "core/passes.h"
#include "core/problem.h"
#include "kernels/error.h"
#include "kernels/targets.h"
#include "tests/core/harness_nets.h"

namespace weft::test {
namespace {

struct Net {
  const char* name;
  Graph graph;
};

/// ResNet's, SqueezeNet's and MobileNetV2's blocks.
std::vector<Net> nets() {
  std::vector<Net> all;
  all.push_back({"residual", residual_net(8)});
  all.push_back({"fire", fire_net(8, 16)});
  all.push_back({"inverted residual", inverted_residual_net(8, 1.5)});
  return all;
}

std::vector<std::shared_ptr<Device>> kernel_devices() {
  // simt by its own choice of rungs, and by that for GPUs with tensor cores.
  std::vector<std::shared_ptr<Device>> all = {make_device("simt"),
                                              std::make_shared<KernelDevice>(simt::target(), 0, DeviceOptions{}, 80)};
#if WEFT_WITH_CUDA
  if (cuda::target().device_count() > 0)
    all.push_back(make_device("cuda"));
  else
    MESSAGE("no GPU: cuda is skipped");
#endif
  return all;
}

/// What a graph gives: its outputs and gradients by name.
using Results = std::map<std::string, Tensor>;

Results results_of(Executor& executor) {
  Results results;
  for (const auto& [name, id] : executor.graph().outputs()) {
    const bool stored = name.starts_with("grad.") && executor.store()->contains(name.substr(5));
    results.emplace(name, (stored ? executor.store()->gradient(name.substr(5)) : executor.output(name)).clone());
  }
  return results;
}

/// Bytes that the nodes of a graph move, each by the catalogue's minimum.
double bytes_moved(const Graph& graph) {
  double bytes = 0;
  for (const Node& node : graph.nodes())
    if (const Op* op = find_op(simt::target().catalogue(), node.definition->name); op != nullptr)
      bytes += op->bytes(problem_of(graph, node));
  return bytes;
}

/// Runs `graph` twice as `options` say: the same bits, which are returned.
Results run(const std::shared_ptr<Device>& device, const Graph& graph, const CompileOptions& options) {
  const StateDict leaves = scaled_leaves(graph);
  Executor executor(device, graph, {.compile = options, .poison = true});
  Results first;
  for (const bool again : {false, true}) {
    feed(executor, leaves);  // the states as they were, too
    executor.run(3);
    Results results = results_of(executor);
    for (const auto& [name, tensor] : results) {
      CAPTURE(name);
      if (again) CHECK(std::memcmp(tensor.data(), first.at(name).data(), tensor.bytes()) == 0);
    }
    if (!again) first = std::move(results);
  }
  return first;
}

/// Each result of the one way is near the other's, relative to the largest of its numbers.
void compare_runs(const std::shared_ptr<Device>& device, const Graph& graph, CompileOptions options, double tolerance) {
  const Results whole = run(device, graph, options);
  options.fuse = false;
  const Results apart = run(device, graph, options);
  REQUIRE(whole.size() == apart.size());
  for (const auto& [name, tensor] : apart) {
    const auto numbers = tensor.values<float>();
    CHECK(difference(name, whole.at(name), Doubles(numbers.begin(), numbers.end()), tolerance) == "");
  }
}

/// How far results are from the truth: of each the root mean square of the errors relative to that of the truth, and of
/// those the mean.
double distance(const Results& results, const Graph& graph, const std::vector<Doubles>& exact) {
  double sum = 0;
  for (const auto& [name, tensor] : results) {
    const Doubles& truth = exact[static_cast<std::size_t>(graph.find(name).index)];
    double errors = 0, squares = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      const double error = double(tensor.values<float>()[i]) - truth[i];
      errors += error * error;
      squares += truth[i] * truth[i];
    }
    sum += std::sqrt(errors / squares);
  }
  return sum / static_cast<double>(results.size());
}

constexpr double kFloat32 = 2e-5, kBfloat16 = 0.03;

TEST_CASE("fused step: loss and gradients are those of the nodes one by one, and the same bits on each run") {
  for (const auto& device : kernel_devices())
    for (const Net& net : nets()) {
      CAPTURE(net.name);
      compare_runs(device, with_gradients(net.graph, "loss"), {}, kFloat32);
    }
  for (const Net& net : nets())
    compare_runs(make_device("simt"), with_gradients(net.graph, "loss"), {.math = Math::strict}, kFloat32);
}

// In bfloat16 a rounding carries some number over a ReLU's kink, and its gradient is another altogether: what can be
// asked is that fusing, which rounds less often, is as near to the truth as its nodes one by one.
TEST_CASE("fused step: in bfloat16 as near to the truth in double precision") {
  for (const auto& device : kernel_devices())
    for (const Net& net : nets()) {
      CAPTURE(net.name);
      const Graph truth = with_gradients(net.graph, "loss"), graph = with_gradients(in_bfloat16(net.graph), "loss");
      const std::vector<Doubles> exact = reference_run(truth, to_doubles(scaled_leaves(truth)), 3);
      const double whole = distance(run(device, graph, {}), truth, exact),
                   apart = distance(run(device, graph, {.fuse = false}), truth, exact);
      fmt::print("{}, bf16: {:.4f} from the truth, {:.4f} where nothing is fused\n", net.name, whole, apart);
      CHECK(whole < 0.15);
      CHECK(whole < 1.25 * apart);
      CHECK(whole > 1e-4);  // it is rounded
    }
}

TEST_CASE("fused step: predictions are those of the nodes one by one, in bfloat16 too") {
  for (const auto& device : kernel_devices())
    for (const Net& net : nets()) {
      CAPTURE(net.name);
      compare_runs(device, for_inference(net.graph, {"logits"}), {}, kFloat32);
      compare_runs(device, for_inference(in_bfloat16(net.graph), {"logits"}), {}, kBfloat16);
    }
}

#if WEFT_WITH_CPU
TEST_CASE("fused step: on the cpu device") {
  for (const Net& net : nets())
    for (const Graph& graph : {with_gradients(net.graph, "loss"), for_inference(net.graph, {"logits"})})
      compare_runs(make_device("cpu"), graph, {.math = Math::strict}, kFloat32);
}
#endif

TEST_CASE("fused step: what is left, the memory, and the bytes that are moved") {
  const std::shared_ptr<Device> device = make_device("simt");
  fmt::print("{:<20}{:<6}{:<12}{:>7}{:>14}{:>14}\n", "net", "type", "", "steps", "memory", "bytes moved");
  for (const Net& net : nets())
    for (const bool rounded : {false, true})
      for (const bool train : {true, false}) {
        const Graph typed = rounded ? in_bfloat16(net.graph) : net.graph;
        const Graph graph = train ? with_gradients(typed, "loss") : for_inference(typed, {"logits"});
        const Executor apart(device, graph, {.compile = {.fuse = false}}), whole(device, graph);
        for (const Executor* executor : {&apart, &whole})
          fmt::print("{:<20}{:<6}{:<12}{:>7}{:>14}{:>14.0f}\n", net.name, rounded ? "bf16" : "f32",
                     std::string(train ? "step" : "predict") + (executor == &whole ? " fused" : ""),
                     executor->program().steps.size(), executor->memory().arena, bytes_moved(executor->graph()));
        CAPTURE(net.name);
        CAPTURE(rounded);
        CAPTURE(train);
        CHECK(bytes_moved(whole.graph()) < 0.9 * bytes_moved(apart.graph()));
        for (const char* gone : {"batch_norm_eval", "relu_backward", "bias_backward", "add", "cross_entropy_backward"})
          // The linear layer's bias has no ReLU behind it.
          CHECK_MESSAGE(count_of(whole.graph(), gone) == (train && gone == std::string("bias_backward") ? 1 : 0),
                        std::string(gone));
      }
}

TEST_CASE("fused step: a sum of gradients is the later convolution's, a bias's gradient the mask's") {
  const auto takes_all = [](const Node&, auto, auto) { return std::string_view("any"); };
  const Graph step = fused(with_gradients(fire_net(8, 16), "loss"), takes_all);
  // expand3 was built last, so its gradient comes first, and expand1's is added to it.
  CHECK(has_node(step, "expand1 + add: conv2d_backward_data"));
  CHECK(has_node(step, "expand3: conv2d_backward_data"));
  CHECK(has_node(step, "squeeze + squeeze.relu: relu_bias_backward"));
  CHECK(has_node(step, "loss: cross_entropy_forward_backward"));
  const std::string text = to_text(step), dot = to_dot(step);
  for (const char* op : {"conv2d_backward_data", "relu_bias_backward", "cross_entropy_forward_backward"}) {
    CHECK(text.find(op) != std::string::npos);
    CHECK(dot.find(std::string(": ") + op) != std::string::npos);
  }
  Executor executor(make_device("simt"), with_gradients(fire_net(8, 16), "loss"));
  for (const char* name : {"expand1 + add", "squeeze + squeeze.relu", "loss"})
    CHECK_MESSAGE(std::ranges::any_of(executor.profile(),
                                      [&](const StepProfile& p) { return p.name == name && p.pass == Pass::backward; }),
                  std::string(name));
  // Of a residual block the shortcut's part is added, with a convolution in it or not.
  const Graph residual = fused(with_gradients(residual_net(8), "loss"), takes_all);
  CHECK(count_of(residual, "add") == 0);
  int sums = 0;
  for (const Node& node : residual.nodes())
    sums += node.definition->name == "conv2d_backward_data" && node.inputs.size() == 3 && node.inputs[2];
  CHECK(sums == 2);
  // A gradient that is wanted for itself is made, and its sum too.
  Graph graph;
  const ValueId x = graph.input("input", {1, 5, 5, 4});
  const ValueId y = ops::add(graph, "add", conv(graph, "a", x, 4, 3), conv(graph, "b", x, 4, 3));
  graph.mark_output(ops::sum(graph, "total", y), "loss");
  Graph both = with_gradients(graph, "loss", {"input"});
  CHECK(count_of(fused(both, takes_all), "add") == 0);  // one forward, one backward: each a convolution's
  for (int i = 0; i < both.node_count(); ++i)
    if (both.node(NodeId{i}).definition->name == "conv2d_backward_data")
      both.mark_output(both.node(NodeId{i}).outputs[0], fmt::format("part {}", i));
  CHECK(count_of(fused(both, takes_all), "add") == 1);
  check_run(make_device("simt"), both, {}, 1e-5);
}

/// Cross-entropy of x weight^T, and what `loss_of` makes of it, with its gradient.
template <class LossOf>
Graph step_of(const LossOf& loss_of) {
  Graph graph;
  const ValueId x = graph.input("input", {6, 7}), labels = graph.input("labels", {6}, DType::i32);
  const ValueId weight = graph.parameter("weight", {4, 7});
  const ValueId logits = ops::gemm(graph, "fc", x, weight, {}, false, true);
  graph.mark_output(loss_of(graph, ops::cross_entropy(graph, "loss", logits, labels), weight), "loss");
  return with_gradients(graph, "loss");
}

TEST_CASE(
    "fused step: a loss that is scaled or added to stays apart from its gradient, which follows what became of it") {
  const auto takes_all = [](const Node&, auto, auto) { return std::string_view("any"); };
  const Graph plain = step_of([](Graph&, ValueId loss, ValueId) { return loss; });
  const Graph scaled =
      step_of([](Graph& graph, ValueId loss, ValueId) { return ops::scale(graph, "half", loss, 0.5); });
  const Graph added = step_of([](Graph& graph, ValueId loss, ValueId weight) {
    return ops::add(graph, "both", ops::scale(graph, "half", loss, 0.5),
                    ops::scale(graph, "decay", ops::sum(graph, "weights", weight), 3));
  });
  const Graph twice = step_of([](Graph& graph, ValueId loss, ValueId) { return ops::add(graph, "both", loss, loss); });
  const StateDict leaves = random_leaves(plain);
  const auto gradient = [&](const std::shared_ptr<Device>& device, const Graph& graph) {
    Executor executor(device, graph, {.poison = true});
    feed(executor, leaves);
    executor.run();
    return executor.store()->gradient("weight").clone();
  };
  std::vector<std::shared_ptr<Device>> devices = {make_device("simt")};
#if WEFT_WITH_CPU
  devices.push_back(make_device("cpu"));
#endif
  CHECK(count_of(fused(plain, takes_all), "cross_entropy_forward_backward") == 1);
  for (const auto& [graph, factor, shift] : {std::tuple{scaled, 0.5, 0.0}, {added, 0.5, 3.0}, {twice, 2.0, 0.0}}) {
    CAPTURE(to_text(graph));
    // The node that is both would be where the gradient is, and what is made of the loss comes before.
    const Graph whole = fused(graph, takes_all);
    CHECK(count_of(whole, "cross_entropy_forward_backward") == 0);
    CHECK(count_of(whole, "cross_entropy") == 1);
    CHECK(count_of(whole, "cross_entropy_backward") == 1);
    for (const auto& device : devices) {
      check_run(device, graph, {}, 1e-5);
      const Tensor got = gradient(device, graph), alone = gradient(device, plain);
      for (std::size_t i = 0; i < got.values<float>().size(); ++i) {
        const double expected = factor * alone.values<float>()[i] + shift;
        CHECK(std::fabs(got.values<float>()[i] - expected) <= 1e-5);
        CHECK(alone.values<float>()[i] != 0);
      }
    }
  }
}

#if WEFT_WITH_CPU
TEST_CASE("fused step: the cpu device refuses a convolution's gradient that comes with a sum") {
  const auto takes_sums = [](const Node& node, auto, auto) {
    return std::string_view(node.definition->name == "conv2d_backward_data" ? "any" : "");
  };
  Graph graph;
  const ValueId x = graph.input("input", {1, 5, 5, 4});
  graph.mark_output(
      ops::sum(graph, "total", conv(graph, "b", ops::add(graph, "add", conv(graph, "a", x, 4, 3), x), 4, 3)), "loss");
  const Graph step = fused(with_gradients(graph, "loss", {"input"}), takes_sums);
  CHECK_THROWS_WITH_AS(make_device("cpu")->compile(step, {}), doctest::Contains("another part of dx to be added"),
                       Error);
}
#endif

}  // namespace
}  // namespace weft::test
