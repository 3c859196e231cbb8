// oneDNN beside our kernels on the host, as the cpu device runs it: the case's node as a graph of its own. What is
// timed is the whole program of that graph, reorders between layouts included, where the library chose another.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "bench/peers/peer.h"
#include "core/cpu/plan.h"
#include "core/executor.h"
#include "core/op_definitions.h"
#include "kernels/error.h"
#include "tests/kernels/harness.h"

namespace weft::bench {
namespace {

/// "input0", "output1": the lone graph's values by position.
std::string input_name(std::size_t i) {
  return fmt::format("input{}", i);
}
std::string output_name(std::size_t i) {
  return fmt::format("output{}", i);
}

Graph graph_of(const LoneNode& lone) {
  Graph graph;
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < lone.inputs.size(); ++i) {
    const Value& value = lone.inputs[i];
    const bool updated = std::ranges::count(lone.node.definition->updates, static_cast<int>(i)) > 0;
    if (!lone.node.inputs[i])
      inputs.emplace_back();
    else
      inputs.push_back(updated ? graph.state(input_name(i), value.shape)
                               : graph.input(input_name(i), value.shape, value.dtype));
  }
  const NodeId id = graph.add(lone.node.name, lone.node.definition, inputs, lone.node.attributes);
  for (std::size_t i = 0; i < graph.node(id).outputs.size(); ++i)
    graph.mark_output(graph.node(id).outputs[i], output_name(i));
  return graph;
}

class OneDnn final : public Peer {
 public:
  OneDnn() : device_(make_device("cpu")) {}

  std::string name() const override { return fmt::format("oneDNN {}", cpu::library_version()); }

  std::optional<PeerCall> prepare(const Case& item, const Call& call, Clock&) override {
    if (item.node == nullptr || call.problem().dtype != DType::f32 || item.arithmetic() != "f32") return {};
    const std::string& op = item.node->node.definition->name;
    if (op == "dropout" || op == "dropout_backward" || op == "cast" || op == "concat" || op == "concat_backward")
      return {};
    const auto executor = std::make_shared<Executor>(device_, graph_of(*item.node));
    // Inputs of the node stand first in the signature, one for one, but an optional one that is left out.
    const Signature& signature = call.signature();
    StateDict states;
    for (std::size_t i = 0; i < item.node->inputs.size(); ++i) {
      if (!item.node->node.inputs[i]) continue;
      const Value& value = item.node->inputs[i];
      Tensor tensor(value.shape, value.dtype);
      std::memcpy(tensor.data(), call.operands(0)[i], tensor.bytes());
      if (std::ranges::count(item.node->node.definition->updates, static_cast<int>(i)) > 0)
        states.emplace(input_name(i), std::move(tensor));
      else
        executor->set_input(input_name(i), tensor);
    }
    if (!states.empty()) executor->store()->load(states);
    PeerCall peer;
    for (const Step& step : executor->program().steps)
      peer.algorithm += (peer.algorithm.empty() ? "" : " + ") + step.algorithm;
    for (int i = 0; i < signature.count; ++i)
      if (signature.operands[i].role == Role::inout) peer.unwritten.emplace_back(signature.operands[i].name);
    peer.run = [executor](int) { executor->run(); };
    peer.collect = [executor, &call] {
      const Signature& s = call.signature();
      std::size_t output = 0;
      for (int i = 0; i < s.count; ++i) {
        if (s.operands[i].role != Role::output || !s.operands[i].present) continue;
        const Tensor result = executor->output(output_name(output++));
        std::memcpy(call.operands(0)[i], result.data(), result.bytes());
      }
    };
    return peer;
  }

 private:
  std::shared_ptr<Device> device_;
};

}  // namespace

std::unique_ptr<Peer> open_onednn(std::vector<std::string>& said) {
  try {
    return std::make_unique<OneDnn>();
  } catch (const weft::Error& error) {
    said.push_back(fmt::format("oneDNN is left out: {}", error.what()));
    return nullptr;
  }
}

}  // namespace weft::bench
