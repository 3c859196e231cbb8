#include "nn/callbacks/ema.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace weft {

AverageWeights::AverageWeights(double decay) : decay_(decay) {
  if (!(decay > 0 && decay < 1)) fail(fmt::format("the weights' average has a decay between 0 and 1, not {}", decay));
}

std::string AverageWeights::settings() const {
  return fmt::format("decay {}", decay_);
}

void AverageWeights::begin_fit(Training& training) {
  ParameterStore& store = training.store();
  flat_ = std::make_unique<FlatArithmetic>(store.device());
  updates_ = 0;
  parts_.clear();
  const auto add = [&](float* weights, std::size_t floats) {
    parts_.push_back({weights, zero_buffer(store.device(), floats), floats});
    copy_floats(store.device(), parts_.back().averaged(), weights, floats);
  };
  add(store.weights(), store.trained_floats());
  for (const ParameterStore::Entry& entry : store.entries())
    if (entry.state) add(static_cast<float*>(store.data(entry)), entry.bytes / sizeof(float));
}

void AverageWeights::on_update(Training&) {
  ++updates_;
  const auto t = static_cast<double>(updates_);
  const double decay = std::min(decay_, (1 + t) / (10 + t));
  for (const Part& part : parts_) flat_->blend(part.averaged(), part.weights, 1 - decay, part.floats);
}

/// Puts the average where the weights are, and the weights where the average was.
void AverageWeights::exchange(ParameterStore& store) const {
  for (const Part& part : parts_) swap_floats(store.device(), part.weights, part.averaged(), part.floats);
  store.touch_trained();
  store.touch_states();
}

CallbackState AverageWeights::save(Training& training) const {
  ParameterStore& store = training.store();
  CallbackState state;
  state.numbers = {{"updates", static_cast<double>(updates_)}};
  exchange(store);
  state.tensors = store.save();
  exchange(store);
  return state;
}

void AverageWeights::load(Training& training, const CallbackState& state) {
  ParameterStore& store = training.store();
  updates_ = static_cast<std::int64_t>(state.number("updates"));
  exchange(store);
  store.load(state.tensors);
  exchange(store);
}

}  // namespace weft
