#pragma once
// A device runs graphs. It compiles a whole graph into a Program: it chooses algorithms and layouts, fuses what it can,
// and says for every value how many bytes it takes and for every step what it reads and writes. The executor plans
// memory from that, binds pointers and runs the steps in order.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/graph.h"
#include "core/math_mode.h"

namespace weft {

/// Memory on a device, given back to its pool when the last owner goes.
struct Buffer {
  std::shared_ptr<void> memory;
  std::size_t bytes = 0;
  void* data() const { return memory.get(); }
};

/// How a value lies in memory. Only the device that made a layout reads it; dense NHWC (or (K, R, S, C)) is the null
/// layout.
struct Layout {
  virtual ~Layout() = default;
  virtual std::string describe() const = 0;
  virtual bool equals(const Layout& other) const = 0;
};
using LayoutPtr = std::shared_ptr<const Layout>;
bool same_layout(const LayoutPtr& a, const LayoutPtr& b);

/// Where a value lives while a program runs.
struct ValueStorage {
  std::size_t bytes = 0;  ///< 0: never materialised (fused away), or it shares another value's memory
  LayoutPtr layout;       ///< null: dense
  ValueId alias;          ///< set: shares that value's memory (reshape, in-place)
  bool lasting = false;   ///< kept from run to run: its step makes it again only where a parameter or a state moved
};

/// What a step gets to run with.
class StepContext {
 public:
  virtual ~StepContext() = default;
  /// Memory of a value, in the layout that the program gave it; null for ValueId{}.
  virtual void* data(ValueId value) const = 0;
  virtual void* workspace() const = 0;
  /// Counts the training steps of the run: with the seed it names dropout's random numbers.
  virtual std::uint64_t step() const = 0;
  /// Moves when a parameter or a state may have: what a step made from those alone is good until then.
  virtual std::uint64_t parameters_version() const = 0;
};

/// One call of a device: a node, or several fused.
struct Step {
  std::vector<NodeId> nodes;  ///< the first one names it in the profile
  std::string algorithm;      ///< rung or library implementation, for profile and plan: "register-tile", "winograd"
  std::vector<ValueId> reads, writes;  ///< of materialised values; a value updated in place stands in both
  std::size_t workspace = 0;
  std::function<void(const StepContext&)> run;
};

struct Program {
  std::vector<ValueStorage> storage;  ///< by ValueId::index
  std::vector<Step> steps;
  std::string plan;  ///< what was chosen, a line a node, to be stored with a run and taken again
};

struct CompileOptions {
  Math math = Math::fast;
  bool fuse = true;
  bool tune = false;      ///< measure instead of looking up
  std::string plan = {};  ///< the plan of an earlier run, taken again where it fits
};

/// Arguments of one SGD step over a flat range of float32 (kernels/ops.h: SgdStep).
struct SgdArguments {
  /// The first group begins at 0, each other one where the one before ends.
  struct Group {
    std::int64_t end = 0;
    double lr = 0, weight_decay = 0;
  };
  float* weight = nullptr;
  const float* gradient = nullptr;
  float* velocity = nullptr;
  std::vector<Group> groups = {};  ///< any number, in rising order
  double momentum = 0;
  bool nesterov = false;
};

class Pool;

class Device {
 public:
  virtual ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// "cpu", "simt", "cuda:0".
  virtual std::string name() const = 0;
  /// What it runs on, for the doctor and for results: "AMD EPYC, 2 threads, AVX-512, oneDNN 2.6.3".
  virtual std::string describe() const = 0;

  /// Memory from the device's pool, 64-byte aligned at least. Throws Error: need, have. The device must outlive the
  /// buffer.
  Buffer allocate(std::size_t bytes);
  /// Bytes handed out now, and the most so far.
  std::size_t bytes_in_use() const;
  std::size_t high_water_mark() const;
  void reset_high_water_mark();
  /// Bytes that could still be allocated.
  virtual std::size_t memory_available() const = 0;

  virtual void copy_in(void* to, const void* from_host, std::size_t bytes) = 0;
  virtual void copy_out(void* to_host, const void* from, std::size_t bytes) = 0;
  virtual void fill_zero(void* data, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

  /// Throws Error where this device cannot compile so: what it lacks, and what to take instead. compile() asks it too.
  virtual void check(const CompileOptions& options) const;
  /// The graph that this device would rather run: the same leaves and marked outputs by fewer nodes. What compile() is
  /// given by an executor; without an override, the graph as it is.
  virtual Graph prepare(const Graph& graph, const CompileOptions& options) const;
  /// Chooses algorithms and layouts for the whole graph. An output marked "grad.<parameter>" gets that parameter's
  /// layout and bytes, since the optimiser works on both elementwise.
  virtual Program compile(const Graph& graph, const CompileOptions& options) = 0;
  /// Copies a value of `shape` between two layouts of this device (either may be null: dense). Padding becomes zero.
  virtual void reorder(const Shape& shape, DType dtype, const void* from, const LayoutPtr& from_layout, void* to,
                       const LayoutPtr& to_layout) = 0;
  virtual void sgd_step(const SgdArguments& arguments) = 0;
  /// Threads that compute (cpu): part of the result's bits.
  virtual int threads() const { return 1; }

 protected:
  Device();
  /// Throws Error or returns null where there is not enough; the pool then gives back what it keeps and asks again.
  virtual void* allocate_bytes(std::size_t bytes) = 0;
  virtual void release_bytes(void* data) noexcept = 0;
  /// Frees the pool's blocks. To be called by each device's destructor, while release_bytes() is still its own; a
  /// buffer that outlives the device is never freed.
  void release_pool() noexcept;
  /// Bytes that the pool keeps for the next request: available, though the machine counts them as used.
  std::size_t bytes_kept() const;

 private:
  friend class Pool;
  std::shared_ptr<Pool> pool_;
};

struct DeviceOptions {
  int threads = 0;  ///< of cpu and simt; 0: all the machine has
};

/// "auto" (cuda, else cpu), "cpu", "cuda", "cuda:N", "simt". Throws UsageError for any other name, and Error where the
/// device is not built in or not there; it says what to do.
std::shared_ptr<Device> make_device(const std::string& name, const DeviceOptions& options = {});

/// oneDNN on the host's cores (core/cpu/).
std::shared_ptr<Device> make_cpu_device(const DeviceOptions& options);

}  // namespace weft
