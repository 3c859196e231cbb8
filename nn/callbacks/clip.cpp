#include "nn/callbacks/clip.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/error.h"

namespace weft {

ClipGradients::ClipGradients(double largest_norm) : largest_(largest_norm) {
  if (!(largest_norm > 0)) fail(fmt::format("gradients are clipped to a norm above 0, not to {}", largest_norm));
}

std::string ClipGradients::settings() const {
  return fmt::format("norm {}", largest_);
}

void ClipGradients::begin_fit(Training& training) {
  flat_ = std::make_unique<FlatArithmetic>(training.store().device());
}

bool ClipGradients::on_gradients(Training& training) {
  ParameterStore& store = training.store();
  last_norm_ = norm(store.device(), store.gradients(), store.trained_floats());
  if (!std::isfinite(last_norm_))
    fail(
        fmt::format("the gradients' norm is {} at step {} of epoch {}, although the loss is a number: a lower learning "
                    "rate may help",
                    last_norm_, training.step().step % training.step().steps_per_epoch + 1, training.step().epoch));
  if (last_norm_ > largest_) flat_->scale(store.gradients(), largest_ / last_norm_, store.trained_floats());
  return true;
}

}  // namespace weft
