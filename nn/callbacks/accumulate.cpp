#include "nn/callbacks/accumulate.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace weft {

AccumulateGradients::AccumulateGradients(int steps) : steps_(steps) {
  if (steps < 1) fail(fmt::format("gradients can be gathered over 1 batch or more, not over {}", steps));
}

std::string AccumulateGradients::settings() const {
  return fmt::format("over {} batches", steps_);
}

void AccumulateGradients::begin_fit(Training& training) {
  ParameterStore& store = training.store();
  flat_ = std::make_unique<FlatArithmetic>(store.device());
  sum_ = zero_buffer(store.device(), store.trained_floats());
  held_ = 0;
  pictures_ = 0;
}

bool AccumulateGradients::on_gradients(Training& training) {
  if (steps_ == 1) return true;
  ParameterStore& store = training.store();
  const std::size_t floats = store.trained_floats();
  const auto pictures = static_cast<double>(training.step().pictures);
  flat_->add(sum(), store.gradients(), pictures, floats);
  pictures_ += pictures;
  if (++held_ < steps_ && !training.step().last_of_epoch()) return false;
  store.device().fill_zero(store.gradients(), floats * sizeof(float));
  flat_->add(store.gradients(), sum(), 1 / pictures_, floats);
  store.device().fill_zero(sum(), floats * sizeof(float));
  held_ = 0;
  pictures_ = 0;
  return true;
}

CallbackState AccumulateGradients::save(Training& training) const {
  CallbackState state;
  state.numbers = {{"held", held_}, {"pictures", pictures_}};
  if (held_ > 0) state.tensors = training.store().save_arena(sum());
  return state;
}

void AccumulateGradients::load(Training& training, const CallbackState& state) {
  held_ = static_cast<int>(state.number("held"));
  pictures_ = state.number("pictures");
  if (held_ > 0) training.store().load_arena(state.tensors, sum(), "gathered gradient");
}

}  // namespace weft
