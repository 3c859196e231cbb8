#include "core/kernel_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>

#include "core/fusion.h"
#include "core/gathering.h"
#include "core/host_memory.h"
#include "core/plan_text.h"
#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/rung_table.h"
#include "kernels/simt/machine.h"

namespace weft {
namespace {

bool is_simt(const Target& target) {
  return std::string_view(target.name) == "simt";
}

int choose_capability(const Target& target, int index, std::optional<int> wanted) {
  if (wanted) return *wanted;
  const char* text = std::getenv("WEFT_CAPABILITY");
  if (text == nullptr || *text == '\0') return target.capability(index);
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0' || value < 0 || value > 999)
    fail(fmt::format("WEFT_CAPABILITY={}: wants a compute capability times ten, 90 say", text));
  return static_cast<int>(value);
}

}  // namespace

KernelDevice::KernelDevice(const Target& target, int index, const DeviceOptions& options, std::optional<int> capability)
    : target_(target), index_(index), capability_(choose_capability(target, index, capability)) {
  if (!is_simt(target) && capability_ == target.capability(index)) {
    const std::string_view text = target.describe(index);
    gpu_ = text.substr(0, text.find(','));
  }
  if (is_simt(target) && options.threads > 0) simt::set_thread_count(options.threads);
}

KernelDevice::~KernelDevice() {
  release_pool();
}

std::string KernelDevice::name() const {
  return is_simt(target_) ? std::string(target_.name) : fmt::format("{}:{}", target_.name, index_);
}

std::string KernelDevice::describe() const {
  return target_.describe(index_);
}

int KernelDevice::threads() const {
  return is_simt(target_) ? simt::thread_count() : 1;
}

std::size_t KernelDevice::memory_available() const {
  if (is_simt(target_)) return host_memory_available() + bytes_kept();
  std::size_t free_bytes = 0, total_bytes = 0;
  target_.memory(index_, &free_bytes, &total_bytes);
  return free_bytes + bytes_kept();
}

void* KernelDevice::allocate_bytes(std::size_t bytes) {
  return target_.allocate(index_, bytes);
}

void KernelDevice::release_bytes(void* data) noexcept {
  target_.release(index_, data);
}

void KernelDevice::copy_in(void* to, const void* from_host, std::size_t bytes) {
  target_.copy_in(index_, to, from_host, bytes);
}

void KernelDevice::copy_out(void* to_host, const void* from, std::size_t bytes) {
  target_.copy_out(index_, to_host, from, bytes);
}

void KernelDevice::fill_zero(void* data, std::size_t bytes) {
  target_.set_bytes(index_, data, 0, bytes);
}

void KernelDevice::synchronize() {
  target_.synchronize(index_);
}

void KernelDevice::reorder(const Shape& shape, DType dtype, const void* from, const LayoutPtr& from_layout, void* to,
                           const LayoutPtr& to_layout) {
  WEFT_CHECK(from_layout == nullptr && to_layout == nullptr, "this device has dense layouts alone");
  target_.copy(index_, to, from, static_cast<std::size_t>(shape.elements()) * size_of(dtype));
}

void KernelDevice::sgd_step(const SgdArguments& arguments) {
  const auto most = static_cast<std::size_t>(extents::SgdStep::kMaxGroups);
  std::int64_t begin = 0;
  for (std::size_t first = 0; first < arguments.groups.size(); first += most) {
    const auto groups = std::span(arguments.groups).subspan(first, std::min(most, arguments.groups.size() - first));
    sgd_launch(arguments, groups, begin);
    begin = groups.back().end;
  }
}

void KernelDevice::sgd_launch(const SgdArguments& arguments, std::span<const SgdArguments::Group> groups,
                              std::int64_t begin) const {
  using extents::SgdStep;
  if (groups.back().end == begin) return;
  const Op* op = find_op(target_.catalogue(), "sgd_step");
  WEFT_CHECK(op != nullptr, "the kernel catalogue lacks sgd_step");
  Problem problem;
  problem.extents[SgdStep::n] = groups.back().end - begin;
  problem.extents[SgdStep::nesterov] = arguments.nesterov;
  problem.extents[SgdStep::splits] = static_cast<std::int64_t>(groups.size()) - 1;
  problem.scalars[SgdStep::momentum] = arguments.momentum;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i + 1 < groups.size()) problem.extents[SgdStep::split + i] = groups[i].end - begin;
    problem.scalars[SgdStep::lr + 2 * i] = groups[i].lr;
    problem.scalars[SgdStep::weight_decay + 2 * i] = groups[i].weight_decay;
  }
  op->check(problem);
  const int rung = pick_rung(*op, problem, capability_, gpu_);
  WEFT_CHECK(rung >= 0, "no rung of sgd_step runs on this device");
  const Rung& chosen = op->rungs[static_cast<std::size_t>(rung)];
  WEFT_CHECK(chosen.workspace_bytes == nullptr || chosen.workspace_bytes(problem) == 0,
             "sgd_step must work without a workspace");
  void* operands[] = {arguments.weight + begin, const_cast<float*>(arguments.gradient) + begin,
                      arguments.velocity + begin};
  chosen.launch(problem, operands, nullptr, nullptr);
}

Graph KernelDevice::prepare(const Graph& graph, const CompileOptions& options) const {
  if (!options.fuse) return graph;
  const RungOf rung_of = [this, math = options.math](const Node& node, std::span<const Value> inputs,
                                                     std::span<const Value> outputs) -> std::string_view {
    const Op* op = find_op(target_.catalogue(), node.definition->name);
    if (op == nullptr) return {};
    Problem problem = problem_of(node, inputs, outputs);
    set_math(problem, *op, math);
    const int rung = pick_rung(*op, problem, capability_, gpu_);
    return rung < 0 ? std::string_view() : op->rungs[static_cast<std::size_t>(rung)].name;
  };
  return gathered(fused(graph, rung_of), rung_of);
}

namespace {

/// Of each node, whether all it computes follows from parameters and states: it need not run again until one has moved.
std::vector<bool> lasting_nodes(const Graph& graph) {
  std::vector<bool> lasting(static_cast<std::size_t>(graph.node_count()));
  for (int i = 0; i < graph.node_count(); ++i) {
    const Node& node = graph.node(NodeId{i});
    const auto lasts = [&](ValueId input) {
      if (!input) return true;
      const NodeId producer = graph.producer(input);
      if (producer) return static_cast<bool>(lasting[static_cast<std::size_t>(producer.index)]);
      return graph.value(input).kind != ValueKind::input;
    };
    const auto is_marked = [&](ValueId output) {  // a gradient lives in the store, where others write too
      return std::any_of(graph.outputs().begin(), graph.outputs().end(),
                         [&](const auto& marked) { return marked.second == output; });
    };
    const std::string& op = node.definition->name;
    lasting[static_cast<std::size_t>(i)] = (op == "batch_norm_fold" || op == "cast") &&
                                           std::all_of(node.inputs.begin(), node.inputs.end(), lasts) &&
                                           std::none_of(node.outputs.begin(), node.outputs.end(), is_marked);
  }
  return lasting;
}

/// `step`, run only where a parameter or a state has moved since it last ran.
void run_when_moved(Step& step) {
  step.run = [run = std::move(step.run),
              seen = std::make_shared<std::optional<std::uint64_t>>()](const StepContext& context) {
    if (*seen == context.parameters_version()) return;
    run(context);
    *seen = context.parameters_version();
  };
}

}  // namespace

Program KernelDevice::compile(const Graph& graph, const CompileOptions& options) {
  const Choices wanted = parse_plan(options.plan);
  const std::vector<std::string> names = plan_names(graph);
  Program program{dense_storage(graph), {}, {}};
  const std::vector<bool> lasting = lasting_nodes(graph);
  Choices chosen;
  for (int i = 0; i < graph.node_count(); ++i) {
    const NodeId id{i};
    if (graph.node(id).definition->name == "reshape") continue;
    const std::string& name = names[static_cast<std::size_t>(i)];
    const auto former = wanted.find(name);
    program.steps.push_back(
        graph.node(id).definition->run_on_host
            ? host_step(graph, id, *this)
            : compile_node(graph, id, options.math, former == wanted.end() ? nullptr : &former->second));
    if (lasting[static_cast<std::size_t>(i)]) {
      run_when_moved(program.steps.back());
      for (const ValueId output : graph.node(id).outputs)
        program.storage[static_cast<std::size_t>(output.index)].lasting = true;
    }
    chosen.emplace(name, program.steps.back().algorithm);
  }
  program.plan = plan_text(chosen);
  return program;
}

Step KernelDevice::compile_node(const Graph& graph, NodeId id, Math math, const std::string* wanted_rung) const {
  const Node& node = graph.node(id);
  const Op* op = find_op(target_.catalogue(), node.definition->name);
  if (op == nullptr)
    fail(fmt::format("{}: {} is in no kernel catalogue, and has no run_on_host of its own", node.name,
                     node.definition->name));
  Problem problem = problem_of(graph, node);
  set_math(problem, *op, math);
  if (op->check != nullptr) op->check(problem);

  int rung = pick_rung(*op, problem, capability_, gpu_);
  for (std::size_t i = 0; wanted_rung != nullptr && i < op->rungs.size(); ++i)
    if (*wanted_rung == op->rungs[i].name && can_run(op->rungs[i], problem, capability_)) rung = static_cast<int>(i);
  if (rung < 0) {
    char text[256];
    fail(fmt::format("{}: no rung of {} can run on {}", node.name, weft::describe(*op, problem, text, sizeof text),
                     name()));
  }
  const Rung& chosen = op->rungs[static_cast<std::size_t>(rung)];

  Step step;
  step.nodes = {id};
  step.algorithm = chosen.name;
  for (const ValueId input : node.inputs)
    if (input) step.reads.push_back(input);
  step.writes = node.outputs;
  for (const int position : node.definition->updates)
    step.writes.push_back(node.inputs[static_cast<std::size_t>(position)]);
  if (chosen.workspace_bytes != nullptr) step.workspace = static_cast<std::size_t>(chosen.workspace_bytes(problem));

  const std::vector<ValueId> operands = operands_of(node, *op, problem);
  const Signature signature = op->signature(problem);
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i] && graph.value(operands[i]).dtype != signature.operands[i].dtype)
      fail(fmt::format("{}: {} wants {} in {} and is given {}: cast it (core/passes.h: in_bfloat16)", node.name,
                       op->name, signature.operands[i].name, name_of(signature.operands[i].dtype),
                       name_of(graph.value(operands[i]).dtype)));
  const bool random = node.definition->name == "dropout" || node.definition->name == "dropout_backward";
  step.run = [problem, operands, launch = chosen.launch, random](const StepContext& context) {
    std::array<void*, kMaxOperands> pointers{};
    for (std::size_t i = 0; i < operands.size(); ++i) pointers[i] = context.data(operands[i]);
    if (!random) {
      launch(problem, pointers.data(), context.workspace(), nullptr);
      return;
    }
    Problem now = problem;
    now.extents[extents::Dropout::step] = static_cast<std::int64_t>(context.step());
    launch(now, pointers.data(), context.workspace(), nullptr);
  };
  return step;
}

std::vector<ValueStorage> dense_storage(const Graph& graph) {
  std::vector<ValueStorage> storage(static_cast<std::size_t>(graph.value_count()));
  for (int i = 0; i < graph.value_count(); ++i) {
    const ValueId id{i};
    ValueStorage& mine = storage[static_cast<std::size_t>(i)];
    const NodeId producer = graph.producer(id);
    if (producer && graph.node(producer).definition->name == "reshape") {
      mine.alias = graph.node(producer).inputs[0];
      continue;
    }
    const Value& value = graph.value(id);
    mine.bytes = static_cast<std::size_t>(value.shape.elements()) * size_of(value.dtype);
  }
  return storage;
}

Step host_step(const Graph& graph, NodeId id, Device& device) {
  const Node& node = graph.node(id);
  Step step;
  step.nodes = {id};
  step.algorithm = "host";
  for (const ValueId input : node.inputs)
    if (input) step.reads.push_back(input);
  step.writes = node.outputs;
  for (const int position : node.definition->updates)
    step.writes.push_back(node.inputs[static_cast<std::size_t>(position)]);

  std::vector<Value> inputs, outputs;
  for (const ValueId input : node.inputs) inputs.push_back(input ? graph.value(input) : Value{});
  for (const ValueId output : node.outputs) outputs.push_back(graph.value(output));
  step.run = [node, inputs, outputs, &device](const StepContext& context) {
    std::vector<Tensor> hosts;
    std::vector<HostOperand> reads, writes;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      reads.push_back({nullptr, inputs[i].shape, inputs[i].dtype});
      if (!node.inputs[i]) continue;
      hosts.emplace_back(inputs[i].shape, inputs[i].dtype);
      device.copy_out(hosts.back().data(), context.data(node.inputs[i]), hosts.back().bytes());
      reads.back().data = hosts.back().data();
    }
    for (const Value& output : outputs) {
      hosts.emplace_back(output.shape, output.dtype);
      writes.push_back({hosts.back().data(), output.shape, output.dtype});
    }
    node.definition->run_on_host(node, reads, writes);
    const auto bytes = [](const HostOperand& operand) {
      return static_cast<std::size_t>(operand.shape.elements()) * size_of(operand.dtype);
    };
    for (std::size_t i = 0; i < writes.size(); ++i)
      device.copy_in(context.data(node.outputs[i]), writes[i].data, bytes(writes[i]));
    for (const int position : node.definition->updates) {
      const auto i = static_cast<std::size_t>(position);
      device.copy_in(context.data(node.inputs[i]), reads[i].data, bytes(reads[i]));
    }
  };
  return step;
}

}  // namespace weft
