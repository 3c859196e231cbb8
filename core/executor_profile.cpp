// Where a run's time goes, and where its first NaN comes from.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/executor_state.h"
#include "core/op_definitions.h"
#include "core/passes.h"
#include "core/problem.h"
#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

/// Index of the first element that is not finite, or -1.
std::int64_t first_nonfinite(const Tensor& tensor) {
  const Tensor floats = tensor.dtype() == DType::f32 ? tensor : tensor.to(DType::f32);
  const std::span<const float> values = floats.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) return static_cast<std::int64_t>(i);
  return -1;
}

/// The finding, where `id` as it is now holds a number that is not finite.
std::optional<NonFinite> look_at(const Graph& graph, ValueId id, const Tensor& tensor) {
  if (!ops::is_float(tensor.dtype())) return std::nullopt;
  const std::int64_t element = first_nonfinite(tensor);
  if (element < 0) return std::nullopt;
  const Value& value = graph.value(id);
  NonFinite found;
  found.tensor = value.name;
  found.element = element;
  found.value = (tensor.dtype() == DType::f32 ? tensor : tensor.to(DType::f32))
                    .values<float>()[static_cast<std::size_t>(element)];
  const bool has_samples = value.kind == ValueKind::input || value.kind == ValueKind::activation;
  if (has_samples && value.shape.rank() > 0 && value.shape[0] == batch_of(graph))
    found.sample = element / (value.shape.elements() / value.shape[0]);
  if (const NodeId producer = graph.producer(id)) {
    found.layer = graph.node(producer).name;
    found.op = graph.node(producer).definition->name;
  } else if (const std::vector<NodeId> readers = graph.readers(id); !readers.empty()) {
    found.layer = graph.node(readers.front()).name;
    found.op = graph.node(readers.front()).definition->name;
    found.from_outside = true;
  }
  return found;
}

}  // namespace

std::optional<NonFinite> Executor::find_nonfinite(std::uint64_t step) {
  State& state = *state_;
  const Graph& graph = state.graph;
  // States that this program moves are looked at where it does: the run in question has moved them already, so that
  // they may be broken in consequence. They are put back at the end.
  std::vector<bool> moved(static_cast<std::size_t>(graph.value_count()));
  StateDict kept;
  for (const Node& node : graph.nodes()) {
    for (const int position : node.definition->updates) {
      const ValueId id = node.inputs[static_cast<std::size_t>(position)];
      if (!id || moved[static_cast<std::size_t>(id.index)]) continue;
      moved[static_cast<std::size_t>(id.index)] = true;
      kept.emplace(graph.value(id).name, state.store->get(graph.value(id).name));
    }
  }

  std::optional<NonFinite> found;
  for (int i = 0; i < graph.value_count() && !found; ++i) {
    const ValueId id{i};
    if (graph.value(id).kind == ValueKind::activation || moved[static_cast<std::size_t>(i)]) continue;
    if (state.materialised(id) && !graph.readers(id).empty()) found = look_at(graph, id, state.read(id));
  }
  if (found) return found;
  state.run(step, [&](std::size_t i) {
    for (const ValueId id : state.program.steps[i].writes)
      if (!found && state.materialised(id)) found = look_at(graph, id, state.read(id));
  });
  for (const auto& [name, tensor] : kept) state.store->set(name, tensor);
  return found;
}

void Executor::set_profiling(bool on) {
  state_->profiling = on;
}

std::vector<StepProfile> Executor::profile() const {
  const State& state = *state_;
  std::vector<StepProfile> profiles;
  for (std::size_t i = 0; i < state.program.steps.size(); ++i) {
    const Step& step = state.program.steps[i];
    StepProfile profile;
    profile.algorithm = step.algorithm;
    if (!step.nodes.empty()) {
      const Node& first = state.graph.node(step.nodes.front());
      profile.name = first.name;
      profile.op = first.definition->name;
      profile.pass = first.pass;
    }
    for (const NodeId node : step.nodes) profile.flops += flops_of(state.graph, state.graph.node(node));
    if (state.profiled_runs > 0) profile.seconds = state.seconds[i] / static_cast<double>(state.profiled_runs);
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

std::string Executor::profile_table() const {
  std::vector<StepProfile> profiles = profile();
  std::stable_sort(profiles.begin(), profiles.end(),
                   [](const StepProfile& a, const StepProfile& b) { return a.seconds > b.seconds; });
  double whole = 0;
  for (const StepProfile& profile : profiles) whole += profile.seconds;
  std::string text;
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    std::vector<std::vector<std::string>> rows = {{"layer", "op", "algorithm", "ms", "share", "GFLOP/s"}};
    double sum = 0, flops = 0;
    const auto row = [whole](std::string name, std::string op, std::string algorithm, double seconds,
                             double operations) {
      return std::vector<std::string>{std::move(name),
                                      std::move(op),
                                      std::move(algorithm),
                                      fmt::format("{:.3f}", 1e3 * seconds),
                                      fmt::format("{:.1f}%", whole > 0 ? 100 * seconds / whole : 0),
                                      seconds > 0 ? fmt::format("{:.1f}", operations / seconds / 1e9) : ""};
    };
    for (const StepProfile& profile : profiles) {
      if (profile.pass != pass) continue;
      sum += profile.seconds;
      flops += profile.flops;
      rows.push_back(row(profile.name, profile.op, profile.algorithm, profile.seconds, profile.flops));
    }
    if (rows.size() == 1) continue;
    rows.push_back(row("total", "", "", sum, flops));
    text += fmt::format("{} pass\n{}\n", pass == Pass::forward ? "forward" : "backward",
                        table_text(rows, {true, true, true, false, false, false}));
  }
  return text;
}

}  // namespace weft
