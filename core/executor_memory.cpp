// Whether a graph fits, before anything is allocated.

#include <fmt/format.h>

#include "core/executor_state.h"
#include "core/passes.h"
#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

struct Need {
  std::size_t activations = 0, workspace = 0, parameters = 0;
  std::size_t total() const { return activations + workspace + parameters; }
};

/// Bytes of the copies of parameters that `store` keeps in other layouts than this program wants.
std::size_t copied_bytes(const Graph& graph, const Program& program, const ParameterStore& store) {
  std::size_t bytes = 0;
  for (int i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    const ValueStorage& storage = program.storage[static_cast<std::size_t>(i)];
    const bool parameter = value.kind == ValueKind::parameter || value.kind == ValueKind::state;
    if (!parameter || !store.contains(value.name) || same_layout(store.entry(value.name).layout, storage.layout))
      continue;
    bytes += storage.bytes;
    if (graph.outputs().contains("grad." + value.name)) bytes += storage.bytes;
  }
  return bytes;
}

Need need_of(const Graph& graph, const Program& program, const MemoryPlan& plan, const ParameterStore* store) {
  return {plan.arena, plan.workspace,
          store == nullptr ? ParameterStore::bytes_needed(graph, program) : copied_bytes(graph, program, *store)};
}

/// The largest batch below the graph's own that needs at most `have`; 0 where not even one sample fits. Compiles for
/// real, since layouts, algorithms and workspace change with the batch; it is an error that waits for it.
std::int64_t largest_batch(const Graph& graph, Device& device, const ExecutorOptions& options,
                           const ParameterStore* store, std::size_t have) {
  CompileOptions compile = options.compile;
  compile.tune = false;
  std::int64_t fits = 0, too_large = batch_of(graph);
  while (too_large - fits > 1) {
    const std::int64_t batch = fits + (too_large - fits) / 2;
    const Graph smaller = with_batch(graph, batch);
    const Program program = device.compile(smaller, compile);
    const MemoryPlan plan = plan_memory(smaller, program, options.reuse_memory);
    (need_of(smaller, program, plan, store).total() <= have ? fits : too_large) = batch;
  }
  return fits;
}

}  // namespace

void Executor::State::check_memory() const {
  const Need need = need_of(graph, program, plan, store.get());
  const std::size_t have = options.memory_limit != 0 ? options.memory_limit : device->memory_available();
  if (need.total() <= have) return;

  std::string text = fmt::format(
      "{}: not enough memory at batch {}: need {} (activations {}, workspace {}, parameters "
      "{}), have {}.",
      device->name(), batch_of(graph), bytes_text(need.total()), bytes_text(need.activations),
      bytes_text(need.workspace), bytes_text(need.parameters), bytes_text(have));
  std::string layers;
  for (const auto& [layer, bytes] : largest_layers(plan, graph, program, 3))
    layers += fmt::format("{}{} {}", layers.empty() ? "" : ", ", layer, bytes_text(bytes));
  if (!layers.empty()) text += " The biggest layers: " + layers + ".";
  std::int64_t batch = 0;
  try {
    batch = largest_batch(graph, *device, options, store.get(), have);
  } catch (const Error&) {  // a graph whose batch cannot be changed, or that is refused at a smaller one
    fail(text);
  }
  fail(text + (batch > 0 ? fmt::format(" The largest batch that fits is {}.", batch) : " Not even a batch of 1 fits."));
}

}  // namespace weft
