#pragma once
// Runs one graph on one device: compiles it, plans its memory, binds its parameters to a store, runs it step by step.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/memory_plan.h"
#include "core/parameter_store.h"

namespace weft {

struct ExecutorOptions {
  CompileOptions compile = {};
  bool reuse_memory = true;
  /// Refuse before allocating where the whole needs more than this; 0: what the device says is available.
  std::size_t memory_limit = 0;
  /// Fills all memory that a run writes with NaN before each run: what is read before it is written then shows. For
  /// tests.
  bool poison = false;
};

struct StepProfile {
  std::string name, op, algorithm;
  Pass pass = Pass::forward;
  double seconds = 0;  ///< mean over the profiled runs
  double flops = 0;
};

/// Where the first NaN or infinity of a run came from.
struct NonFinite {
  std::string tensor, layer, op;
  std::int64_t element = 0;
  std::optional<std::int64_t> sample;  ///< index in the batch, where the tensor has that axis
  float value = 0;
  bool from_outside = false;  ///< an input, a parameter or a state was already broken
};

class Executor {
 public:
  /// Compiles `graph`, as the device fuses it. Where `store` is null the executor makes one, laid out as its program
  /// wants. Otherwise parameters are taken from `store`: in place where the layouts agree, else through a copy
  /// refreshed when the store's version moves. Gradients of trained parameters ("grad.<name>") are written to the
  /// store. Throws Error before allocating where memory is short: need, have, the biggest layers, the largest batch
  /// that fits.
  Executor(std::shared_ptr<Device> device, const Graph& graph, const ExecutorOptions& options = {},
           std::shared_ptr<ParameterStore> store = nullptr,
           const std::function<int(const std::string&)>& group_of = {});
  ~Executor();

  /// The graph that runs: what the device made of the one that was given (Device::prepare).
  const Graph& graph() const;
  const Program& program() const;
  const MemoryPlan& memory() const;
  /// Bytes of everything: arena, workspace, parameters, gradients, velocities.
  std::size_t total_bytes() const;
  std::shared_ptr<ParameterStore> store() const;
  Device& device() const;

  /// Feeds an input, dense. Throws Error naming it and both shapes where they differ.
  void set_input(std::string_view name, const Tensor& dense);
  /// Runs all steps. `step` names dropout's random numbers.
  void run(std::uint64_t step = 0);
  /// A marked output (or an input) after a run, dense.
  Tensor output(std::string_view name) const;

  /// Runs once more, looking at the inputs, the parameters and then at what every step writes: the first value that is
  /// not finite. None: all are finite. Running statistics are as before afterwards.
  std::optional<NonFinite> find_nonfinite(std::uint64_t step = 0);

  /// From now on each step is timed; profile() gives the means.
  void set_profiling(bool on);
  std::vector<StepProfile> profile() const;
  /// A table of the profile, the dearest first, forward and backward apart.
  std::string profile_table() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weft
