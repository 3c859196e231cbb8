// An op of one's own, with its gradient, without touching Weft's files: y = x * sigmoid(x) (SiLU, "swish"). It runs on
// the host on every device.

#include <doctest/doctest.h>

#include <cmath>

#include "core/executor.h"
#include "core/ops.h"
#include "core/passes.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// What both ops share: one output like the first input, computed element by element from float32 inputs.
std::shared_ptr<OpDefinition> elementwise(std::string name, std::function<float(const std::vector<float>&)> element) {
  auto op = std::make_shared<OpDefinition>();
  op->name = std::move(name);
  op->infer = [](const Node&, std::span<const Value> inputs) {
    return std::vector<Value>{{.shape = inputs[0].shape, .dtype = DType::f32}};
  };
  op->run_on_host = [element](const Node&, std::span<const HostOperand> inputs, std::span<HostOperand> outputs) {
    std::vector<float> arguments(inputs.size());
    for (std::int64_t i = 0; i < outputs[0].shape.elements(); ++i) {
      for (std::size_t j = 0; j < inputs.size(); ++j) arguments[j] = static_cast<const float*>(inputs[j].data)[i];
      static_cast<float*>(outputs[0].data)[i] = element(arguments);
    }
  };
  return op;
}

/// dx from dy, x: dy * (s + x s (1 - s)).
std::shared_ptr<const OpDefinition> silu_backward() {
  return elementwise("silu_backward", [](const std::vector<float>& in) {
    const double s = sigmoid(in[1]);
    return static_cast<float>(in[0] * (s + in[1] * s * (1 - s)));
  });
}

std::shared_ptr<const OpDefinition> silu() {
  auto op =
      elementwise("silu", [](const std::vector<float>& in) { return static_cast<float>(in[0] * sigmoid(in[0])); });
  op->differentiate = [](Graph& graph, NodeId id, std::span<const ValueId> dy, std::span<const bool>) {
    const Node node = graph.node(id);  // a copy: adding nodes moves the graph's own
    return std::vector<ValueId>{graph.apply(node.name, silu_backward(), {dy[0], node.inputs[0]})};
  };
  return op;
}

void check_on(const std::string& device) {
  Graph graph;
  const ValueId x = graph.input("x", {3, 5});
  const ValueId hidden = ops::gemm(graph, "fc", x, graph.parameter("fc.weight", {4, 5}), {}, false, true);
  const ValueId y = graph.apply("act", silu(), {hidden});
  graph.mark_output(y, "y");
  graph.mark_output(ops::sum(graph, "sum", y), "loss");
  const Graph training = with_gradients(graph, "loss", {"x"});

  Executor executor(make_device(device), training, {.poison = true});
  const StateDict leaves = random_leaves(training);
  feed(executor, leaves);
  executor.run();
  const std::vector<Doubles> exact = reference_run(training, to_doubles(leaves));
  for (const char* name : {"y", "loss", "grad.x", "grad.fc.weight"})
    CHECK(difference(name, executor.output(name), exact[static_cast<std::size_t>(training.find(name).index)], 1e-5) ==
          "");

  // And the formula of the gradient is right: central differences of the sum.
  std::map<std::string, Doubles> moved = to_doubles(leaves);
  const auto loss = [&] {
    return reference_run(training, moved)[static_cast<std::size_t>(training.find("loss").index)][0];
  };
  constexpr double kStep = 1e-2;  // the op computes in float32
  double& element = moved.at("x")[7];
  element += kStep;
  const double above = loss();
  element -= 2 * kStep;
  CHECK(executor.output("grad.x").values<float>()[7] == doctest::Approx((above - loss()) / (2 * kStep)).epsilon(1e-3));
}

TEST_CASE("user op: runs forward and backward on simt") {
  check_on("simt");
}

#if WEFT_WITH_CPU
TEST_CASE("user op: runs forward and backward on cpu") {
  check_on("cpu");
}
#endif

}  // namespace
}  // namespace weft::test
