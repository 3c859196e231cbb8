// The part of fit() that says what broke: a loss or a weight that is no number.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <optional>

#include "kernels/error.h"
#include "nn/fit.h"

namespace weft {

void Fit::fail_not_finite(Executor& executor, const Fed& fed, double loss) const {
  constexpr std::size_t kFiles = 4;
  const auto name = [&](std::size_t i) { return s_.train->name(fed.indices[i]); };
  const std::optional<NonFinite> culprit = executor.find_nonfinite(static_cast<std::uint64_t>(s_.position.total_step));
  std::string message = fmt::format("the loss is {} at step {} of epoch {}", loss, s_.position.step + 1,
                                    epochs_before() + s_.position.epoch);
  std::vector<std::string> files;
  if (culprit) {
    message += fmt::format("; the first broken tensor is {} of layer {} ({}), {} at element {}{}", culprit->tensor,
                           culprit->layer, culprit->op, culprit->value, culprit->element,
                           culprit->from_outside ? ", broken before the step" : "");
    if (culprit->sample && static_cast<std::size_t>(*culprit->sample) < fed.indices.size()) {
      files.push_back(name(static_cast<std::size_t>(*culprit->sample)));
      message += fmt::format(", from {}", files.front());
    }
  }
  std::vector<std::string> batch;
  for (std::size_t i = 0; i < fed.indices.size() && batch.size() < kFiles; ++i)
    if (files.empty() || name(i) != files.front()) batch.push_back(name(i));
  message += fmt::format("; the batch: {}{}", fmt::join(batch, ", "), fed.indices.size() > kFiles ? ", ..." : "");
  fail(message + "; a lower learning rate may help");
}

/// A NaN can pass by the loss: oneDNN's ReLU makes 0 of it. No model with one in it is kept.
void Fit::check_numbers() const {
  for (const auto& [name, tensor] : s_.trainer->store()->save())
    for (float value : tensor.values<float>())
      if (!std::isfinite(value))
        fail(
            fmt::format("{} holds {} after epoch {}, although the loss is a number: a lower learning rate may help, or "
                        "a picture's values are not finite",
                        name, value, epochs_before() + s_.position.epoch));
}

}  // namespace weft
