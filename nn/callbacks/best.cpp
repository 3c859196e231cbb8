#include "nn/callbacks/best.h"

#include <fmt/format.h>

#include <utility>

namespace weft {

KeepBest::KeepBest(std::string monitor, Over over)
    : monitor_(std::move(monitor)), over_(over), best_(monitor_.worst()) {}

void KeepBest::begin_fit(Training& training) {
  if (std::exchange(goes_on_, false)) {
    // This call may train other parts than the last one: what it moves is what would have to be put back.
    weights_ = training.store().save();
    return;
  }
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

std::map<std::string, double> KeepBest::carry() const {
  if (over_ == Over::fit || epoch_ < 0) return {};
  return {{"epoch", epoch_}, {"best", best_}};
}

void KeepBest::take_over(const std::map<std::string, double>& numbers) {
  epoch_ = static_cast<int>(numbers.at("epoch"));
  best_ = numbers.at("best");
  goes_on_ = true;
}

}  // namespace weft
