#include "nn/callbacks/best.h"

#include <fmt/format.h>

#include <utility>

namespace weft {

KeepBest::KeepBest(std::string monitor) : monitor_(std::move(monitor)), best_(monitor_.worst()) {}

void KeepBest::begin_fit(Training&) {
  best_ = monitor_.worst();
  epoch_ = -1;
  weights_.clear();
}

void KeepBest::validated(Training& training, const EpochResult& row) {
  const double value = monitor_.value(row);
  if (!monitor_.better(value, best_)) return;
  best_ = value;
  epoch_ = row.epoch;
  weights_ = training.store().save();
}

void KeepBest::end_fit(Training& training) {
  if (epoch_ < 0) return;
  training.store().load(weights_);
  training.note(fmt::format("the model is that of epoch {}, with the best {}: {:.4f}", epoch_, monitor_.what(), best_));
}

CallbackState KeepBest::save(Training&) const {
  CallbackState state;
  state.numbers = {{"epoch", epoch_}};
  if (epoch_ >= 0) {
    state.numbers["best"] = best_;
    state.tensors = weights_;
  }
  return state;
}

void KeepBest::load(Training&, const CallbackState& state) {
  epoch_ = static_cast<int>(state.number("epoch"));
  if (epoch_ < 0) return;
  best_ = state.number("best");
  weights_ = state.tensors;
}

}  // namespace weft
