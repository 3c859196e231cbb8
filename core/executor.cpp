#include "core/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/executor_state.h"
#include "kernels/error.h"

namespace weft {
namespace {

std::size_t at(ValueId id) {
  return static_cast<std::size_t>(id.index);
}

class Context final : public StepContext {
 public:
  Context(const std::vector<void*>& pointers, void* workspace, std::uint64_t step, std::uint64_t parameters_version)
      : pointers_(pointers), workspace_(workspace), step_(step), parameters_version_(parameters_version) {}
  void* data(ValueId value) const override { return value ? pointers_[at(value)] : nullptr; }
  void* workspace() const override { return workspace_; }
  std::uint64_t step() const override { return step_; }
  std::uint64_t parameters_version() const override { return parameters_version_; }

 private:
  const std::vector<void*>& pointers_;
  void* workspace_;
  std::uint64_t step_, parameters_version_;
};

}  // namespace

Executor::Executor(std::shared_ptr<Device> device, const Graph& graph, const ExecutorOptions& options,
                   std::shared_ptr<ParameterStore> store, const std::function<int(const std::string&)>& group_of)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.device = std::move(device);
  state.options = options;
  state.store = std::move(store);
  state.graph = state.device->prepare(graph, options.compile);
  state.program = state.device->compile(state.graph, options.compile);
  state.plan = plan_memory(state.graph, state.program, options.reuse_memory);
  state.check_memory();
  if (state.store == nullptr)
    state.store = std::make_shared<ParameterStore>(state.device, state.graph, state.program, group_of);
  state.arena = state.device->allocate(state.plan.arena);
  state.workspace = state.device->allocate(state.plan.workspace);
  state.seconds.assign(state.program.steps.size(), 0);
  state.bind();
}

Executor::~Executor() {
  // Work may still be on its way on the device, in memory that goes back to the pool now.
  try {
    if (state_->device != nullptr) state_->device->synchronize();
  } catch (...) {
  }
}

void Executor::State::bind_parameter(ValueId id) {
  const Value& value = graph.value(id);
  const ParameterStore::Entry& entry = store->entry(value.name);
  if (entry.shape != value.shape)
    fail(fmt::format("{} has shape {} in the graph and {} in the parameter store", value.name, to_string(value.shape),
                     to_string(entry.shape)));
  if (same_layout(entry.layout, storage(id).layout)) {
    pointers[at(id)] = store->data(entry);
    return;
  }
  parameter_copies.push_back({id, value.name, device->allocate(storage(id).bytes)});
  pointers[at(id)] = parameter_copies.back().buffer.data();
}

void Executor::State::bind_gradient(ValueId id, const std::string& parameter) {
  const ParameterStore::Entry& entry = store->entry(parameter);
  if (!entry.trained)
    fail(
        fmt::format("the graph trains {}, and the parameter store was made for a graph where it is frozen", parameter));
  if (same_layout(entry.layout, storage(id).layout)) {
    pointers[at(id)] = store->gradient_data(entry);
    return;
  }
  gradient_copies.push_back({id, parameter, device->allocate(storage(id).bytes)});
  pointers[at(id)] = gradient_copies.back().buffer.data();
}

void Executor::State::bind() {
  pointers.assign(static_cast<std::size_t>(graph.value_count()), nullptr);
  for (int i = 0; i < graph.value_count(); ++i) {
    const ValueId id{i};
    const Value& value = graph.value(id);
    if (value.kind == ValueKind::parameter || value.kind == ValueKind::state) {
      bind_parameter(id);
      const auto gradient = graph.outputs().find("grad." + value.name);
      if (value.kind == ValueKind::parameter && gradient != graph.outputs().end())
        bind_gradient(gradient->second, value.name);
    } else if (plan.offsets[at(id)] != MemoryPlan::kNone && !storage(id).alias) {
      pointers[at(id)] = static_cast<std::byte*>(arena.data()) + plan.offsets[at(id)];
    }
  }
  for (int i = 0; i < graph.value_count(); ++i) {
    ValueId root{i};
    while (storage(root).alias) root = storage(root).alias;
    pointers[static_cast<std::size_t>(i)] = pointers[at(root)];
  }
  for (const Node& node : graph.nodes()) updates_states = updates_states || !node.definition->updates.empty();
}

const Graph& Executor::graph() const {
  return state_->graph;
}
const Program& Executor::program() const {
  return state_->program;
}
const MemoryPlan& Executor::memory() const {
  return state_->plan;
}
std::shared_ptr<ParameterStore> Executor::store() const {
  return state_->store;
}
Device& Executor::device() const {
  return *state_->device;
}

std::size_t Executor::total_bytes() const {
  std::size_t bytes = state_->arena.bytes + state_->workspace.bytes + state_->store->bytes();
  for (const LayoutCopy& copy : state_->parameter_copies) bytes += copy.buffer.bytes;
  for (const LayoutCopy& copy : state_->gradient_copies) bytes += copy.buffer.bytes;
  return bytes;
}

void Executor::set_input(std::string_view name, const Tensor& dense) {
  State& state = *state_;
  const ValueId id = state.graph.find(name);
  const Value& value = state.graph.value(id);
  if (value.kind != ValueKind::input) fail(fmt::format("{} is not an input of the graph", name));
  if (dense.shape() != value.shape || dense.dtype() != value.dtype)
    fail(fmt::format("input {} wants {} {}, got {} {}", name, to_string(value.shape), name_of(value.dtype),
                     to_string(dense.shape()), name_of(dense.dtype())));
  if (!state.materialised(id)) return;
  void* to = state.pointers[at(id)];
  if (state.storage(id).layout == nullptr) {
    state.device->copy_in(to, dense.data(), dense.bytes());
    return;
  }
  const Buffer staging = state.device->allocate(dense.bytes());
  state.device->copy_in(staging.data(), dense.data(), dense.bytes());
  state.device->reorder(value.shape, value.dtype, staging.data(), nullptr, to, state.storage(id).layout);
  state.device->synchronize();  // the staging buffer goes back to the pool
}

Tensor Executor::State::read(ValueId id) const {
  const Value& value = graph.value(id);
  Tensor dense(value.shape, value.dtype);
  const void* from = pointers[at(id)];
  WEFT_CHECK(from != nullptr, value.name + " was fused away and is nowhere to be read");
  if (storage(id).layout == nullptr) {
    device->copy_out(dense.data(), from, dense.bytes());
    return dense;
  }
  const Buffer staging = device->allocate(dense.bytes());
  device->reorder(value.shape, value.dtype, from, storage(id).layout, staging.data(), nullptr);
  device->copy_out(dense.data(), staging.data(), dense.bytes());
  return dense;
}

Tensor Executor::output(std::string_view name) const {
  return state_->read(state_->graph.find(name));
}

void Executor::State::poison() const {
  const std::vector<unsigned char> poison(std::size_t{1} << 16, 0xff);  // NaN as float, -1 as int
  const auto fill = [&](void* data, std::size_t bytes) {
    for (std::size_t done = 0; done < bytes; done += poison.size())
      device->copy_in(static_cast<std::byte*>(data) + done, poison.data(), std::min(poison.size(), bytes - done));
  };
  for (int i = 0; i < graph.value_count(); ++i) {
    const ValueId id{i};
    if (graph.value(id).kind != ValueKind::activation || storage(id).alias || !materialised(id)) continue;
    if (storage(id).lasting) continue;
    fill(pointers[at(id)], storage(id).bytes);
  }
  fill(workspace.data(), workspace.bytes);
}

void Executor::State::run(std::uint64_t step, const std::function<void(std::size_t)>& after) {
  for (LayoutCopy& copy : parameter_copies) {
    const ParameterStore::Entry& entry = store->entry(copy.parameter);
    if (copy.version == entry.version) continue;
    device->reorder(entry.shape, DType::f32, store->data(entry), entry.layout, copy.buffer.data(),
                    storage(copy.value).layout);
    copy.version = entry.version;
  }
  if (options.poison) poison();

  const Context context(pointers, workspace.data(), step, store->version());
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    program.steps[i].run(context);
    if (after) after(i);
  }

  for (const LayoutCopy& copy : gradient_copies) {
    const ParameterStore::Entry& entry = store->entry(copy.parameter);
    device->reorder(entry.shape, DType::f32, copy.buffer.data(), storage(copy.value).layout,
                    store->gradient_data(entry), entry.layout);
  }
  if (!updates_states) return;
  for (const LayoutCopy& copy : parameter_copies) {
    const ParameterStore::Entry& entry = store->entry(copy.parameter);
    if (entry.state)
      device->reorder(entry.shape, DType::f32, copy.buffer.data(), storage(copy.value).layout, store->data(entry),
                      entry.layout);
  }
  store->touch_states();
  for (LayoutCopy& copy : parameter_copies)
    if (store->entry(copy.parameter).state) copy.version = store->entry(copy.parameter).version;
}

void Executor::run(std::uint64_t step) {
  State& state = *state_;
  if (!state.profiling) {
    state.run(step, {});
    return;
  }
  using Clock = std::chrono::steady_clock;
  state.device->synchronize();
  auto before = Clock::now();
  state.run(step, [&](std::size_t i) {
    state.device->synchronize();
    const auto now = Clock::now();
    state.seconds[i] += std::chrono::duration<double>(now - before).count();
    before = now;
  });
  ++state.profiled_runs;
}

}  // namespace weft
