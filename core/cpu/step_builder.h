#pragma once
// Builds one Step: primitives and host functions in order, the values they touch, and the workspace for what lives
// within the step only (scratchpads, operands brought into another layout).

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/cpu/compiler.h"

namespace weft::cpu {

using Arguments = std::unordered_map<int, dnnl::memory>;

class StepBuilder {
 public:
  /// A step for the nodes of `group`.
  StepBuilder(Compiler& compiler, const Group& group);

  /// An input of the step in the layout `wanted`: the value itself where it lies so, else a copy made at each run. An
  /// undecided input of the graph takes the layout. `wanted` may give the value's extents another rank.
  dnnl::memory input(ValueId value, const onednn::desc& wanted);
  /// The same bytes under another descriptor (a transposed matrix, a filter as a picture).
  dnnl::memory seen_as(const dnnl::memory& memory, const onednn::desc& view);
  /// The value dense, under a descriptor of the same bytes.
  dnnl::memory dense_input(ValueId value, const onednn::desc& view);
  /// An input as it is stored, whatever that is (a mask, offsets).
  dnnl::memory stored_input(ValueId value, const onednn::desc& desc);

  /// An output that the step makes in layout `made`. The value takes the layout, unless it is bound to another (the
  /// gradient of a parameter, a matrix): then it is made in the workspace and copied.
  dnnl::memory output(ValueId value, const onednn::desc& made);
  /// An output that the step makes dense, under a descriptor of the same bytes.
  dnnl::memory dense_output(ValueId value, const onednn::desc& view);
  /// An output that is kept in a form of its own, of `desc`'s bytes.
  dnnl::memory output(ValueId value, const onednn::desc& desc, LayoutPtr layout);
  /// An output in the memory of an input that dies here; both lie as `desc` says.
  dnnl::memory in_place_output(ValueId value, ValueId of, const onednn::desc& desc);
  /// Reads and writes a value in place (running statistics), dense.
  dnnl::memory updated(ValueId value);

  /// Memory that lives within the step.
  dnnl::memory temporary(const onednn::desc& desc);
  /// Memory that the step keeps from run to run.
  dnnl::memory kept(const onednn::desc& desc);
  /// What is added between these two runs again only when a parameter or a state has moved; it may write to kept()
  /// memory alone.
  void begin_prepared();
  void end_prepared();
  /// Numbers that never change.
  dnnl::memory constant(const onednn::desc& desc, const std::vector<float>& values);

  /// Runs a primitive made from `pd` (with a scratchpad of the user's).
  template <class Primitive, class PrimitiveDesc>
  void call(const PrimitiveDesc& pd, Arguments arguments) {
    const onednn::desc scratchpad = pd.scratchpad_desc();
    if (scratchpad.get_size() > 0) arguments[DNNL_ARG_SCRATCHPAD] = scratch(scratchpad);
    add_call(Primitive(pd), std::move(arguments));
  }
  /// Into another layout; where the extents differ (a filter whole, and split into groups) both are the same dense
  /// bytes.
  void copy(const dnnl::memory& from, const dnnl::memory& to);
  /// Runs on the host; memory handles are set by then.
  void host(std::function<void(const StepContext&)> function);

  /// Hands the step to the compiler.
  void finish(std::string algorithm);

 private:
  struct Binding {
    dnnl::memory memory;
    ValueId value;           // below 0: in the workspace
    std::size_t offset = 0;  // there
    void* last = nullptr;
  };
  struct State {
    std::vector<Binding> bindings;
    std::vector<std::function<void(const StepContext&)>> actions;
    std::vector<std::shared_ptr<std::vector<float>>> constants;
    std::vector<dnnl::memory> kept;
    std::size_t prepared_begin = 0, prepared_end = 0;    // of actions
    std::uint64_t prepared_version = ~std::uint64_t{0};  // of the parameters that they saw
    Runtime* runtime = nullptr;
    void run(const StepContext& context);
  };

  dnnl::memory bind(ValueId value, const onednn::desc& desc);
  dnnl::memory scratch(const onednn::desc& desc);
  void add_call(dnnl::primitive primitive, Arguments arguments);
  void reads(ValueId value);
  void writes(ValueId value);

  Compiler& compiler_;
  Step step_;
  std::shared_ptr<State> state_;
  std::size_t temporaries_ = 0;  // bytes
  std::size_t scratch_ = 0;      // bytes of the largest scratchpad: the calls of a step share it
  std::vector<std::size_t> scratch_bindings_;
  std::vector<std::function<void()>> at_end_;
};

/// Attributes with a scratchpad from the step's workspace, and post-ops.
dnnl::primitive_attr step_attributes(const dnnl::post_ops& ops = {});

}  // namespace weft::cpu
