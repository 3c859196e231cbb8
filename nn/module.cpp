#include "nn/module.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "kernels/error.h"

namespace weft {

Module::~Module() = default;

Builder::Builder(Graph& graph, std::uint64_t seed, StateDict* initial)
    : graph_(graph), seed_(seed), initial_(initial) {}

std::string Builder::path(const std::string& child) const {
  std::string path = fmt::format("{}", fmt::join(path_, "."));
  if (child.empty()) return path;
  return path.empty() ? child : path + "." + child;
}

ValueId Builder::parameter(const std::string& name, Shape shape, const Initialise& initialise) {
  const std::string full = path(name);
  this->initialise(full, shape, initialise);
  return graph_.parameter(full, std::move(shape), !is_frozen(full));
}

ValueId Builder::state(const std::string& name, Shape shape, float value) {
  const std::string full = path(name);
  initialise(full, shape, constant(value));
  return graph_.state(full, std::move(shape));
}

void Builder::initialise(const std::string& name, const Shape& shape, const Initialise& initialise) {
  if (!initial_) return;
  const auto known = initial_->find(name);
  if (known == initial_->end()) {
    Tensor tensor(shape);
    Philox random(seed_, subsequence_of(name.c_str()));
    initialise(tensor, random);
    initial_->emplace(name, std::move(tensor));
  } else if (known->second.shape() != shape) {
    fail(fmt::format("{} is {} in the model and {} in the graph: pictures of another size?", name,
                     to_string(known->second.shape()), to_string(shape)));
  }
}

ValueId Builder::child(const std::string& name, const Module& module, ValueId x) {
  if (name.empty()) return module.forward(*this, x);
  path_.push_back(name);
  inputs_[path()] = x;
  const ValueId y = module.forward(*this, x);
  path_.pop_back();
  return y;
}

ValueId Builder::input_of(const std::string& path) const {
  const auto found = inputs_.find(path);
  return found == inputs_.end() ? ValueId{} : found->second;
}

}  // namespace weft
