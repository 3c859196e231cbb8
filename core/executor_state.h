#pragma once
// What an Executor holds; shared by the files that implement it.

#include "core/executor.h"

namespace weft {

/// A parameter (or a gradient) that the store keeps in another layout than this program wants.
struct LayoutCopy {
  ValueId value;
  std::string parameter;
  Buffer buffer;
  std::uint64_t version = ~std::uint64_t{0};  // of the store's entry that the copy was made from
};

struct Executor::State {
  std::shared_ptr<Device> device;
  Graph graph;
  ExecutorOptions options;
  Program program;
  MemoryPlan plan;
  std::shared_ptr<ParameterStore> store;

  Buffer arena, workspace;
  std::vector<void*> pointers;  // by value
  std::vector<LayoutCopy> parameter_copies, gradient_copies;
  bool updates_states = false;

  bool profiling = false;
  std::int64_t profiled_runs = 0;
  std::vector<double> seconds;  // by step, over all profiled runs

  void check_memory() const;
  void bind();
  void bind_parameter(ValueId id);
  void bind_gradient(ValueId id, const std::string& parameter);
  void poison() const;
  /// Makes the copies of parameters that moved since; runs the steps, calling `after` behind each; writes back.
  void run(std::uint64_t step, const std::function<void(std::size_t step)>& after);

  bool materialised(ValueId id) const { return pointers[static_cast<std::size_t>(id.index)] != nullptr; }
  const ValueStorage& storage(ValueId id) const { return program.storage[static_cast<std::size_t>(id.index)]; }
  /// A value as it is now, dense, on the host.
  Tensor read(ValueId id) const;
};

}  // namespace weft
