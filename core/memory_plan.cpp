// Offsets by the greedy-by-size strategy of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
// Inference" (2020): the largest value first, each into the smallest gap that is free during its life.

#include "core/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

// What the strictest of a device's copies wants, and whole cache lines.
constexpr std::size_t kAlignment = 256;

std::size_t at(ValueId id) {
  return static_cast<std::size_t>(id.index);
}
std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct Block {
  std::size_t value = 0, bytes = 0;
  int first = 0, last = 0;
  bool meets(const Block& other) const { return first <= other.last && other.first <= last; }
};

/// The value whose memory `id` really is.
ValueId root_of(const Program& program, ValueId id) {
  for (std::size_t hops = 0; program.storage[at(id)].alias; ++hops) {
    WEFT_CHECK(hops < program.storage.size(), "values share memory in a circle");
    id = program.storage[at(id)].alias;
  }
  return id;
}

/// Values that live elsewhere: parameters, states, and the gradients that a ParameterStore keeps.
std::vector<bool> outside_the_arena(const Graph& graph) {
  std::vector<bool> outside(static_cast<std::size_t>(graph.value_count()));
  for (int i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (value.kind == ValueKind::parameter || value.kind == ValueKind::state)
      outside[static_cast<std::size_t>(i)] = true;
    if (value.kind != ValueKind::parameter) continue;
    const auto gradient = graph.outputs().find("grad." + value.name);
    if (gradient != graph.outputs().end()) outside[at(gradient->second)] = true;
  }
  return outside;
}

/// The first and last step of each root's life, those of the values that share its memory included.
void find_lives(const Graph& graph, const Program& program, MemoryPlan& plan) {
  const int steps = static_cast<int>(program.steps.size());
  const auto live = [&](ValueId id, int step) {
    const std::size_t root = at(root_of(program, id));
    int& first = plan.first_step[root];
    first = first < 0 ? step : std::min(first, step);
    plan.last_step[root] = std::max(plan.last_step[root], step);
  };
  for (int i = 0; i < steps; ++i) {
    for (const ValueId id : program.steps[static_cast<std::size_t>(i)].reads) live(id, i);
    for (const ValueId id : program.steps[static_cast<std::size_t>(i)].writes) live(id, i);
  }
  for (int i = 0; i < graph.value_count(); ++i) {
    if (graph.value(ValueId{i}).kind != ValueKind::input) continue;
    live(ValueId{i}, 0);
    live(ValueId{i}, std::max(steps - 1, 0));
  }
  for (const auto& [name, value] : graph.outputs()) live(value, std::max(steps - 1, 0));
  for (std::size_t i = 0; i < program.storage.size(); ++i) {
    if (!program.storage[i].lasting) continue;
    live(ValueId{static_cast<int>(i)}, 0);
    live(ValueId{static_cast<int>(i)}, std::max(steps - 1, 0));
  }
}

/// The smallest gap between the placed blocks that live at the same time, else the end of them.
std::size_t place(const Block& block, const std::vector<Block>& placed, const std::vector<std::size_t>& offsets) {
  std::size_t end = 0, best = MemoryPlan::kNone, best_gap = MemoryPlan::kNone;
  for (const Block& other : placed) {  // in order of offset
    if (!other.meets(block)) continue;
    const std::size_t offset = offsets[other.value];
    if (offset > end && offset - end >= block.bytes && offset - end < best_gap) {
      best = end;
      best_gap = offset - end;
    }
    end = std::max(end, offset + other.bytes);
  }
  return best == MemoryPlan::kNone ? end : best;
}

}  // namespace

MemoryPlan plan_memory(const Graph& graph, const Program& program, bool reuse) {
  const auto count = static_cast<std::size_t>(graph.value_count());
  WEFT_CHECK(program.storage.size() == count, "a program has a storage for each value of its graph");
  MemoryPlan plan;
  plan.offsets.assign(count, MemoryPlan::kNone);
  plan.first_step.assign(count, -1);
  plan.last_step.assign(count, -1);
  find_lives(graph, program, plan);

  const std::vector<bool> outside = outside_the_arena(graph);
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < count; ++i) {
    const ValueStorage& storage = program.storage[i];
    if (storage.alias || storage.bytes == 0 || outside[i] || plan.first_step[i] < 0) continue;
    blocks.push_back({i, aligned(storage.bytes), plan.first_step[i], plan.last_step[i]});
    plan.unshared += blocks.back().bytes;
  }
  std::stable_sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.bytes > b.bytes; });

  std::vector<Block> placed;
  for (const Block& block : blocks) {
    const std::size_t offset = reuse ? place(block, placed, plan.offsets) : plan.arena;
    plan.offsets[block.value] = offset;
    plan.arena = std::max(plan.arena, offset + block.bytes);
    const auto after =
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [&](std::size_t mine, const Block& other) { return mine < plan.offsets[other.value]; });
    placed.insert(after, block);
  }

  std::size_t most = 0;
  for (int i = 0; i < static_cast<int>(program.steps.size()); ++i) {
    plan.workspace = std::max(plan.workspace, program.steps[static_cast<std::size_t>(i)].workspace);
    std::size_t live = 0;
    for (const Block& block : blocks)
      if (block.first <= i && i <= block.last) live += block.bytes;
    if (live > most) {
      most = live;
      plan.peak_step = i;
    }
  }

  // Whoever shares memory has its root's place and life.
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t root = at(root_of(program, ValueId{static_cast<int>(i)}));
    plan.offsets[i] = plan.offsets[root];
    plan.first_step[i] = plan.first_step[root];
    plan.last_step[i] = plan.last_step[root];
  }
  return plan;
}

std::vector<std::pair<std::string, std::size_t>> largest_layers(const MemoryPlan& plan, const Graph& graph,
                                                                const Program& program, std::size_t most) {
  std::map<std::string, std::size_t> layers;
  for (std::size_t i = 0; i < plan.offsets.size(); ++i) {
    const bool live = plan.first_step[i] <= plan.peak_step && plan.peak_step <= plan.last_step[i];
    if (plan.offsets[i] == MemoryPlan::kNone || program.storage[i].alias || !live) continue;
    const ValueId id{static_cast<int>(i)};
    const NodeId producer = graph.producer(id);
    layers[producer ? graph.node(producer).name : graph.value(id).name] += program.storage[i].bytes;
  }
  std::vector<std::pair<std::string, std::size_t>> sorted(layers.begin(), layers.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  sorted.resize(std::min(most, sorted.size()));
  return sorted;
}

std::string to_text(const MemoryPlan& plan, const Graph& graph, const Program& program) {
  std::string text = fmt::format("activations {} ({} without sharing), workspace {}", bytes_text(plan.arena),
                                 bytes_text(plan.unshared), bytes_text(plan.workspace));
  std::string layers;
  for (const auto& [layer, bytes] : largest_layers(plan, graph, program, 3))
    layers += fmt::format("{}{} {}", layers.empty() ? "" : ", ", layer, bytes_text(bytes));
  return layers.empty() ? text : text + "; the largest layers at its peak: " + layers;
}

}  // namespace weft
