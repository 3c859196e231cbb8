#include "core/parameter_store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/text.h"
#include "kernels/error.h"

namespace weft {
namespace {

/// Each entry starts on a cache line, and its padding is zero: an elementwise step over it leaves it zero.
constexpr std::size_t kAlignment = 64;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::byte* bytes_at(const Buffer& buffer, std::size_t offset) {
  return static_cast<std::byte*>(buffer.data()) + offset;
}

bool lives_here(const Value& value) {
  return value.kind == ValueKind::parameter || value.kind == ValueKind::state;
}

std::size_t entry_bytes(const Value& value, const ValueStorage& storage) {
  // A parameter that no step reads has no storage in the program, and is kept all the same.
  return std::max(storage.bytes, static_cast<std::size_t>(value.shape.elements()) * size_of(value.dtype));
}

bool has_gradients(const Graph& graph) {
  return std::any_of(graph.values().begin(), graph.values().end(), [&](const Value& value) {
    return value.kind == ValueKind::parameter && value.requires_grad && graph.outputs().contains("grad." + value.name);
  });
}

}  // namespace

ParameterStore::ParameterStore(std::shared_ptr<Device> device, const Graph& graph, const Program& program,
                               const std::function<int(const std::string&)>& group_of)
    : device_(std::move(device)) {
  for (int i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (!lives_here(value)) continue;
    const ValueStorage& storage = program.storage[static_cast<std::size_t>(i)];
    Entry entry;
    entry.name = value.name;
    entry.shape = value.shape;
    entry.state = value.kind == ValueKind::state;
    entry.trained = value.kind == ValueKind::parameter && value.requires_grad;
    entry.group = entry.trained && group_of ? group_of(value.name) : 0;
    entry.bytes = aligned(entry_bytes(value, storage));
    entry.layout = storage.layout;
    if (entry.group < 0) fail(fmt::format("{} is in parameter group {}: groups count from 0", entry.name, entry.group));
    entries_.push_back(std::move(entry));
  }
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.group < b.group; });

  std::size_t trained = 0, fixed = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    index_.emplace(entry.name, i);
    std::size_t& end = entry.trained ? trained : fixed;
    entry.offset = end;
    end += entry.bytes;
    if (!entry.trained) continue;
    // A group that holds nothing is an empty range where the next one starts.
    while (ranges_.size() <= static_cast<std::size_t>(entry.group))
      ranges_.push_back({entry.offset / sizeof(float), 0});
    ranges_.back().floats += entry.bytes / sizeof(float);
  }
  if (ranges_.empty()) ranges_.push_back({});

  trained_ = device_->allocate(trained);
  fixed_ = device_->allocate(fixed);
  if (trained > 0) device_->fill_zero(trained_.data(), trained);
  if (fixed > 0) device_->fill_zero(fixed_.data(), fixed);
  if (has_gradients(graph)) {
    gradients();
    velocities();
  }
}

const ParameterStore::Entry& ParameterStore::entry(std::string_view name) const {
  const auto found = index_.find(name);
  if (found != index_.end()) return entries_[found->second];
  std::vector<std::string> all;
  for (const Entry& entry : entries_) all.push_back(entry.name);
  const std::vector<std::string> near = nearest_names(name, all, 3);
  fail(fmt::format("there is no parameter \"{}\"{}", name,
                   near.empty() ? "" : fmt::format("; near names: {}", fmt::join(near, ", "))));
}

ParameterStore::Entry& ParameterStore::find(std::string_view name) {
  return const_cast<Entry&>(entry(name));
}

bool ParameterStore::contains(std::string_view name) const {
  return index_.find(name) != index_.end();
}

std::size_t ParameterStore::bytes() const {
  return trained_.bytes + fixed_.bytes + gradients_.bytes + velocities_.bytes;
}

std::size_t ParameterStore::bytes_needed(const Graph& graph, const Program& program) {
  const std::size_t copies = has_gradients(graph) ? 3 : 1;  // weights, gradients, velocities
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    const Value& value = graph.values()[i];
    if (!lives_here(value)) continue;
    const bool trained = value.kind == ValueKind::parameter && value.requires_grad;
    bytes += aligned(entry_bytes(value, program.storage[i])) * (trained ? copies : 1);
  }
  return bytes;
}

Tensor ParameterStore::read(const Entry& entry, const void* from) const {
  Tensor dense(entry.shape);
  if (entry.layout == nullptr) {
    device_->copy_out(dense.data(), from, dense.bytes());
    return dense;
  }
  const Buffer staging = device_->allocate(dense.bytes());
  device_->reorder(entry.shape, DType::f32, from, entry.layout, staging.data(), nullptr);
  device_->copy_out(dense.data(), staging.data(), dense.bytes());
  return dense;
}

void ParameterStore::write(const Entry& entry, void* to, const Tensor& dense) {
  if (dense.shape() != entry.shape)
    fail(fmt::format("{} has shape {}, got {}", entry.name, to_string(entry.shape), to_string(dense.shape())));
  const Tensor floats = dense.dtype() == DType::f32 ? dense : dense.to(DType::f32);
  if (entry.layout == nullptr) {
    device_->copy_in(to, floats.data(), floats.bytes());
    return;
  }
  const Buffer staging = device_->allocate(floats.bytes());
  device_->copy_in(staging.data(), floats.data(), floats.bytes());
  device_->reorder(entry.shape, DType::f32, staging.data(), nullptr, to, entry.layout);
  device_->synchronize();  // the staging buffer goes back to the pool
}

void ParameterStore::set(std::string_view name, const Tensor& dense) {
  Entry& target = find(name);
  write(target, data(target), dense);
  ++target.version;
  ++version_;
}

Tensor ParameterStore::get(std::string_view name) const {
  const Entry& source = entry(name);
  return read(source, data(source));
}

Tensor ParameterStore::gradient(std::string_view name) const {
  const Entry& source = entry(name);
  if (!source.trained) fail(fmt::format("{} is not trained: it has no gradient", name));
  return read(source, gradient_data(source));
}

void ParameterStore::load(const StateDict& state) {
  std::vector<std::string> missing;
  for (const Entry& entry : entries_)
    if (!state.contains(entry.name)) missing.push_back(entry.name);
  if (!missing.empty()) {
    const std::size_t shown = std::min<std::size_t>(missing.size(), 5);
    fail(fmt::format("{} parameters are missing: {}{}", missing.size(),
                     fmt::join(missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < missing.size() ? ", ..." : ""));
  }
  for (const Entry& entry : entries_) set(entry.name, state.at(entry.name));
}

StateDict ParameterStore::save() const {
  StateDict state;
  for (const Entry& entry : entries_) state.emplace(entry.name, get(entry.name));
  return state;
}

StateDict ParameterStore::save_arena(const float* arena) const {
  StateDict state;
  for (const Entry& entry : entries_)
    if (entry.trained) state.emplace(entry.name, read(entry, reinterpret_cast<const std::byte*>(arena) + entry.offset));
  return state;
}

void ParameterStore::load_arena(const StateDict& state, float* arena, const char* what) {
  for (const Entry& entry : entries_) {
    if (!entry.trained) continue;
    const auto found = state.find(entry.name);
    if (found == state.end()) fail(fmt::format("the {} of {} is missing", what, entry.name));
    write(entry, reinterpret_cast<std::byte*>(arena) + entry.offset, found->second);
  }
}

StateDict ParameterStore::save_velocity() const {
  return save_arena(velocities());
}

void ParameterStore::load_velocity(const StateDict& state) {
  load_arena(state, velocities());
}

void* ParameterStore::data(const Entry& entry) const {
  return bytes_at(entry.trained ? trained_ : fixed_, entry.offset);
}

void* ParameterStore::gradient_data(const Entry& entry) const {
  return entry.trained ? reinterpret_cast<std::byte*>(gradients()) + entry.offset : nullptr;
}

float* ParameterStore::weights() const {
  return static_cast<float*>(trained_.data());
}

float* ParameterStore::gradients() const {
  if (gradients_.bytes < trained_.bytes) {
    gradients_ = device_->allocate(trained_.bytes);
    device_->fill_zero(gradients_.data(), gradients_.bytes);
  }
  return static_cast<float*>(gradients_.data());
}

float* ParameterStore::velocities() const {
  if (velocities_.bytes < trained_.bytes) {
    velocities_ = device_->allocate(trained_.bytes);
    device_->fill_zero(velocities_.data(), velocities_.bytes);
  }
  return static_cast<float*>(velocities_.data());
}

void ParameterStore::touch_trained() {
  ++version_;
  for (Entry& entry : entries_) entry.version += entry.trained ? 1 : 0;
}

void ParameterStore::touch_states() {
  ++version_;
  for (Entry& entry : entries_) entry.version += entry.state ? 1 : 0;
}

}  // namespace weft
