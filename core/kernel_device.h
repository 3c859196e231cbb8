#pragma once
// The device that runs the hand-written kernels: cuda and simt, told apart by their Target alone. Every layout is
// dense; each node becomes one step, the rung that pick_rung() chooses for its shape.

#include <optional>
#include <span>

#include "core/device.h"
#include "core/problem.h"
#include "kernels/targets.h"

namespace weft {

class KernelDevice final : public Device {
 public:
  /// `capability`: choose rungs as for a GPU of this compute capability (times ten) instead of the one that is there;
  /// the environment's WEFT_CAPABILITY does the same. For tests of the choice.
  KernelDevice(const Target& target, int index, const DeviceOptions& options = {}, std::optional<int> capability = {});
  ~KernelDevice() override;

  std::string name() const override;
  std::string describe() const override;
  std::size_t memory_available() const override;
  void copy_in(void* to, const void* from_host, std::size_t bytes) override;
  void copy_out(void* to_host, const void* from, std::size_t bytes) override;
  void fill_zero(void* data, std::size_t bytes) override;
  void synchronize() override;
  /// Fuses (core/fusion.h) what this device's rungs can compute in one go, and has convolutions gather the statistics
  /// of the batch norms behind them (core/gathering.h) where that saves bytes.
  Graph prepare(const Graph& graph, const CompileOptions& options) const override;
  Program compile(const Graph& graph, const CompileOptions& options) override;
  void reorder(const Shape& shape, DType dtype, const void* from, const LayoutPtr& from_layout, void* to,
               const LayoutPtr& to_layout) override;
  /// Eight groups a launch.
  void sgd_step(const SgdArguments& arguments) override;
  int threads() const override;

 protected:
  void* allocate_bytes(std::size_t bytes) override;
  void release_bytes(void* data) noexcept override;

 private:
  /// One launch, over `groups` of the arguments, the first of which begins at `begin`.
  void sgd_launch(const SgdArguments& arguments, std::span<const SgdArguments::Group> groups, std::int64_t begin) const;
  Step compile_node(const Graph& graph, NodeId id, Math math, const std::string* wanted_rung) const;

  const Target& target_;
  int index_;
  int capability_;
  std::string gpu_;  ///< the GPU's name, for its table of rungs; empty on simt and where the capability was forced
};

/// The storage of a graph whose values are all dense: a reshape's output shares its input's memory.
std::vector<ValueStorage> dense_storage(const Graph& graph);

/// A step for a user's own op: its operands go to the host, it runs there, and what it writes comes back. Any device
/// whose layouts of these values are dense may use it.
Step host_step(const Graph& graph, NodeId id, Device& device);

}  // namespace weft
