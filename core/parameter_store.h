#pragma once
// Parameters, gradients, optimiser state and running statistics on a device, in flat arenas: one range for each
// parameter group, one behind the other, in the layouts that the training program chose, so that an SGD step is one
// elementwise call over all.

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"

namespace weft {

/// Named host tensors: what a file holds and a model starts from. Dense; filters as (K, R, S, C).
using StateDict = std::map<std::string, Tensor>;

class ParameterStore {
 public:
  struct Entry {
    std::string name;
    Shape shape;
    bool trained = false;
    bool state = false;      ///< running statistics rather than a frozen parameter
    int group = 0;           ///< of trained ones: the arena is ordered by it
    std::size_t offset = 0;  ///< in bytes, in the arena of trained or of fixed values
    std::size_t bytes = 0;
    LayoutPtr layout;
    std::uint64_t version = 0;  ///< goes up when the numbers change
  };
  struct Range {
    std::size_t offset = 0, floats = 0;  ///< both in floats
  };

  /// Lays out the parameters and states of `graph` as `program` wants them. `group_of` gives each trained parameter its
  /// group (none: all are in group 0). Everything starts as zero. A graph without gradients gets no arenas for
  /// gradients and velocities until one asks for them.
  ParameterStore(std::shared_ptr<Device> device, const Graph& graph, const Program& program,
                 const std::function<int(const std::string&)>& group_of = {});

  Device& device() const { return *device_; }
  const std::vector<Entry>& entries() const { return entries_; }
  /// Throws Error listing near names where there is none of this name.
  const Entry& entry(std::string_view name) const;
  bool contains(std::string_view name) const;
  int groups() const { return static_cast<int>(ranges_.size()); }
  /// Bytes of all that is allocated, and of what a store for this graph will allocate.
  std::size_t bytes() const;
  static std::size_t bytes_needed(const Graph& graph, const Program& program);

  /// Dense host tensors in and out; another floating-point type than float32 is converted. set() throws Error naming
  /// the parameter and both shapes where they differ.
  void set(std::string_view name, const Tensor& dense);
  Tensor get(std::string_view name) const;
  Tensor gradient(std::string_view name) const;
  /// Throws Error naming what `state` lacks; what it has too much is ignored.
  void load(const StateDict& state);
  StateDict save() const;
  /// The optimiser's velocities, dense, by parameter name: what a checkpoint keeps so that a resumed run has the same
  /// bits.
  StateDict save_velocity() const;
  void load_velocity(const StateDict& state);
  /// The same for any range that lies as weights() does: trained_floats() of them, on this device. `what`
  /// names it in errors.
  StateDict save_arena(const float* arena) const;
  void load_arena(const StateDict& state, float* arena, const char* what = "velocity");

  void* data(const Entry& entry) const;
  /// Where the entry's gradient is written; null for entries that are not trained.
  void* gradient_data(const Entry& entry) const;
  float* weights() const;
  float* gradients() const;
  float* velocities() const;
  /// Floats in each of those three, padding between parameters included; that is zero.
  std::size_t trained_floats() const { return trained_.bytes / sizeof(float); }
  /// Flat range of a parameter group in those three. The groups' ranges lie one behind the other, from 0 to
  /// trained_floats(): one SGD step takes them all.
  Range range(int group) const { return ranges_[static_cast<std::size_t>(group)]; }
  /// To be called after something wrote the numbers in place: an SGD step; batch norm's running statistics.
  void touch_trained();
  void touch_states();
  /// Goes up with every change of any entry.
  std::uint64_t version() const { return version_; }

 private:
  Tensor read(const Entry& entry, const void* from) const;
  void write(const Entry& entry, void* to, const Tensor& dense);
  Entry& find(std::string_view name);

  std::shared_ptr<Device> device_;
  std::vector<Entry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<Range> ranges_;
  std::uint64_t version_ = 0;
  Buffer trained_, fixed_;
  mutable Buffer gradients_, velocities_;  // allocated when first asked for
};

}  // namespace weft
