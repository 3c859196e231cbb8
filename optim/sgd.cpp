#include "optim/sgd.h"

#include <fmt/format.h>

#include <utility>

#include "core/device.h"
#include "kernels/error.h"

namespace weft {

Sgd::Sgd(SgdOptions options) : options_(std::move(options)) {
  if (options_.groups.empty()) fail("SGD needs at least one parameter group");
  if (options_.nesterov && !(options_.momentum > 0)) fail("Nesterov's momentum needs a momentum above 0");
}

void Sgd::step(ParameterStore& store, double lr, double momentum) const {
  if (static_cast<std::size_t>(store.groups()) != options_.groups.size())
    fail(fmt::format("SGD has settings for {} parameter groups, the parameters lie in {}", options_.groups.size(),
                     store.groups()));
  SgdArguments arguments{.weight = store.weights(),
                         .gradient = store.gradients(),
                         .velocity = store.velocities(),
                         .momentum = momentum < 0 ? options_.momentum : momentum,
                         .nesterov = options_.nesterov};
  for (int group = 0; group < store.groups(); ++group) {
    const ParameterStore::Range range = store.range(group);
    if (range.floats == 0) continue;
    const SgdGroup& settings = options_.groups[static_cast<std::size_t>(group)];
    arguments.groups.push_back({.end = static_cast<std::int64_t>(range.offset + range.floats),
                                .lr = lr * settings.lr_factor,
                                .weight_decay = settings.weight_decay});
  }
  if (!arguments.groups.empty()) store.device().sgd_step(arguments);
  store.touch_trained();
}

}  // namespace weft
