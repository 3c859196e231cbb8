#include "core/cpu/step_builder.h"

#include <algorithm>

#include "kernels/error.h"

namespace weft::cpu {

namespace {

// Every temporary starts on a cache line.
constexpr std::size_t kAlignment = 64;
std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

dnnl::primitive_attr step_attributes(const dnnl::post_ops& ops) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attr.set_post_ops(ops);
  return attr;
}

StepBuilder::StepBuilder(Compiler& compiler, const Group& group)
    : compiler_(compiler), state_(std::make_shared<State>()) {
  state_->runtime = &compiler.runtime();
  step_.nodes = group.nodes();
}

dnnl::memory StepBuilder::bind(ValueId value, const onednn::desc& desc) {
  dnnl::memory memory(desc, compiler_.engine(), DNNL_MEMORY_NONE);
  state_->bindings.push_back({memory, value, 0, nullptr});
  return memory;
}

void StepBuilder::reads(ValueId value) {
  if (std::ranges::find(step_.reads, value) == step_.reads.end()) step_.reads.push_back(value);
}

void StepBuilder::writes(ValueId value) {
  if (std::ranges::find(step_.writes, value) == step_.writes.end()) step_.writes.push_back(value);
}

dnnl::memory StepBuilder::input(ValueId value, const onednn::desc& wanted) {
  WEFT_CHECK(value, "an operand is missing");
  reads(value);
  const Value& v = compiler_.value(value);
  if (!compiler_.has_layout(value))
    compiler_.decide(value, holds(wanted, v.shape) ? wanted : dense_desc(v.shape, v.dtype));
  const LayoutPtr& layout = compiler_.layout(value);
  if (!layout && is_dense(wanted)) return bind(value, wanted);
  const auto* own = dynamic_cast<const OnednnLayout*>(layout.get());
  if (own && own->desc == wanted) return bind(value, wanted);
  if (!layout || own) {
    dnnl::memory from = bind(value, own ? own->desc : dense_like(wanted));
    dnnl::memory to = temporary(wanted);
    copy(from, to);
    return to;
  }
  // Kept in a form of its own: back to what the graph says it is.
  WEFT_CHECK(is_dense(wanted), "a value kept as " + layout->describe() + " is wanted in blocks");
  dnnl::memory from = bind(value, compiler_.stored(value, wanted)), to = temporary(wanted);
  host([from, to, layout, shape = v.shape, dtype = v.dtype, runtime = state_->runtime](const StepContext&) {
    reorder_value(runtime->engine, runtime->stream, shape, dtype, from.get_data_handle(), layout, to.get_data_handle(),
                  nullptr);
  });
  return to;
}

dnnl::memory StepBuilder::seen_as(const dnnl::memory& memory, const onednn::desc& view) {
  const auto same_memory = [&](const dnnl::memory& other) { return other.get() == memory.get(); };
  if (std::ranges::any_of(state_->kept, same_memory)) {
    state_->kept.emplace_back(view, compiler_.engine(), memory.get_data_handle());
    return state_->kept.back();
  }
  const auto found = std::ranges::find_if(state_->bindings, [&](const Binding& b) { return same_memory(b.memory); });
  WEFT_CHECK(found != state_->bindings.end(), "memory of another step");
  WEFT_CHECK(view.get_size() <= memory.get_desc().get_size(), "a view larger than what it is a view of");
  Binding same = *found;
  same.memory = dnnl::memory(view, compiler_.engine(), DNNL_MEMORY_NONE);
  state_->bindings.push_back(same);
  return same.memory;
}

dnnl::memory StepBuilder::dense_input(ValueId value, const onednn::desc& view) {
  const Value& v = compiler_.value(value);
  return seen_as(input(value, dense_desc(v.shape, v.dtype)), view);
}

dnnl::memory StepBuilder::stored_input(ValueId value, const onednn::desc& desc) {
  reads(value);
  return bind(value, desc);
}

dnnl::memory StepBuilder::output(ValueId value, const onednn::desc& made) {
  WEFT_CHECK(value, "a result has no value");
  writes(value);
  const Value& v = compiler_.value(value);
  onednn::desc target = made;
  if (const ValueId parameter = compiler_.parameter_of_gradient(value);
      parameter && compiler_.has_layout(parameter))  // the optimiser works on both elementwise
    target = compiler_.layout(parameter) ? compiler_.stored(parameter, {}) : dense_like(made);
  else if (!holds(made, v.shape))
    target = dense_like(made);
  compiler_.decide(value, layout_of(target), target.get_size());
  if (target == made || (is_dense(target) && is_dense(made))) return bind(value, made);
  dnnl::memory from = temporary(made), to = bind(value, target);
  at_end_.push_back([this, from, to] { copy(from, to); });
  return from;
}

dnnl::memory StepBuilder::output(ValueId value, const onednn::desc& desc, LayoutPtr layout) {
  writes(value);
  compiler_.decide(value, std::move(layout), desc.get_size());
  return bind(value, desc);
}

dnnl::memory StepBuilder::dense_output(ValueId value, const onednn::desc& view) {
  const Value& v = compiler_.value(value);
  return seen_as(output(value, dense_desc(v.shape, v.dtype)), view);
}

dnnl::memory StepBuilder::in_place_output(ValueId value, ValueId of, const onednn::desc& desc) {
  reads(of);
  writes(value);
  compiler_.decide(value, desc);
  compiler_.alias(value, of);
  return bind(value, desc);
}

dnnl::memory StepBuilder::updated(ValueId value) {
  reads(value);
  writes(value);
  const Value& v = compiler_.value(value);
  if (!compiler_.has_layout(value)) compiler_.decide(value, dense_desc(v.shape, v.dtype));
  return bind(value, dense_desc(v.shape, v.dtype));
}

dnnl::memory StepBuilder::temporary(const onednn::desc& desc) {
  dnnl::memory memory(desc, compiler_.engine(), DNNL_MEMORY_NONE);
  state_->bindings.push_back({memory, ValueId{}, temporaries_, nullptr});
  temporaries_ += aligned(desc.get_size());
  return memory;
}

dnnl::memory StepBuilder::kept(const onednn::desc& desc) {
  state_->kept.emplace_back(desc, compiler_.engine());
  return state_->kept.back();
}

void StepBuilder::begin_prepared() {
  WEFT_CHECK(state_->prepared_end == 0, "a step prepares once");
  state_->prepared_begin = state_->actions.size();
}

void StepBuilder::end_prepared() {
  state_->prepared_end = state_->actions.size();
}

dnnl::memory StepBuilder::scratch(const onednn::desc& desc) {
  dnnl::memory memory(desc, compiler_.engine(), DNNL_MEMORY_NONE);
  scratch_bindings_.push_back(state_->bindings.size());
  state_->bindings.push_back({memory, ValueId{}, 0, nullptr});
  scratch_ = std::max(scratch_, aligned(desc.get_size()));
  return memory;
}

dnnl::memory StepBuilder::constant(const onednn::desc& desc, const std::vector<float>& values) {
  auto own = std::make_shared<std::vector<float>>(values);
  WEFT_CHECK(desc.get_size() == own->size() * sizeof(float), "a constant of another size");
  state_->constants.push_back(own);
  return dnnl::memory(desc, compiler_.engine(), own->data());
}

void StepBuilder::add_call(dnnl::primitive primitive, Arguments arguments) {
  state_->actions.push_back([primitive, arguments, runtime = state_->runtime](const StepContext&) {
    primitive.execute(runtime->stream, arguments);
  });
}

void StepBuilder::copy(const dnnl::memory& from, const dnnl::memory& to) {
  const onednn::desc source = from.get_desc(), target = to.get_desc();
  if (onednn::dims_of(source) != onednn::dims_of(target)) {
    dnnl::memory plain = from;
    if (!is_dense(source)) copy(from, plain = temporary(dense_like(source)));
    copy(seen_as(plain, dense_like(target)), to);
    return;
  }
  const auto pd = onednn::reorder(compiler_.engine(), source, target, step_attributes());
  WEFT_CHECK(static_cast<bool>(pd), "oneDNN cannot copy between two layouts");
  call<dnnl::reorder>(pd, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void StepBuilder::host(std::function<void(const StepContext&)> function) {
  state_->actions.push_back(std::move(function));
}

void StepBuilder::State::run(const StepContext& context) {
  runtime->use_threads();
  auto* workspace = static_cast<std::byte*>(context.workspace());
  for (Binding& b : bindings) {
    void* data = b.value ? context.data(b.value) : workspace + b.offset;
    // Setting a handle also clears the padding behind it: only when it moved.
    if (data != b.last) {
      b.memory.set_data_handle(data);
      b.last = data;
    }
  }
  const bool prepared = prepared_version == context.parameters_version();
  for (std::size_t i = 0; i < actions.size(); ++i) {
    if (prepared && i >= prepared_begin && i < prepared_end) continue;
    actions[i](context);
  }
  prepared_version = context.parameters_version();
  runtime->stream.wait();
}

void StepBuilder::finish(std::string algorithm) {
  for (const auto& f : at_end_) f();
  for (std::size_t i : scratch_bindings_) state_->bindings[i].offset = temporaries_;
  step_.workspace = temporaries_ + scratch_;
  step_.algorithm = std::move(algorithm);
  const Node& node = compiler_.node(step_.nodes.front());
  const std::string where = node.name + ": " + node.definition->name + " by " + step_.algorithm;
  step_.run = [state = state_, where](const StepContext& context) {
    try {
      state->run(context);
    } catch (const dnnl::error& error) {
      fail(where + ": oneDNN " + library_version() + ": " + error.what());
    }
  };
  compiler_.add_step(std::move(step_));
}

}  // namespace weft::cpu
