#include "nn/callbacks/early_stop.h"

#include <fmt/format.h>

#include <utility>

#include "kernels/error.h"

namespace weft {

EarlyStop::EarlyStop(int patience, std::string monitor, double least)
    : monitor_(std::move(monitor)), patience_(patience), least_(least), best_(monitor_.worst()) {
  if (patience < 1) fail(fmt::format("an early stop has a patience of 1 epoch or more, not {}", patience));
}

std::string EarlyStop::settings() const {
  return fmt::format("{} epochs without a better {} by {}", patience_, monitor_.what(), least_);
}

void EarlyStop::begin_fit(Training&) {
  waited_ = 0;
  best_ = monitor_.worst();
  any_ = false;
}

void EarlyStop::validated(Training& training, const EpochResult& row) {
  const double value = monitor_.value(row);
  if (monitor_.better(value, best_, least_)) {
    best_ = value;
    any_ = true;
    waited_ = 0;
  } else if (++waited_ >= patience_) {
    training.stop_after_epoch(fmt::format("stopping early: no better {} for {} epochs", monitor_.what(), waited_));
  }
}

CallbackState EarlyStop::save(Training&) const {
  CallbackState state;
  state.numbers = {{"waited", waited_}, {"any", any_ ? 1 : 0}};
  if (any_) state.numbers["best"] = best_;  // JSON knows no infinity
  return state;
}

void EarlyStop::load(Training&, const CallbackState& state) {
  waited_ = static_cast<int>(state.number("waited"));
  any_ = state.number("any") != 0;
  if (any_) best_ = state.number("best");
}

}  // namespace weft
