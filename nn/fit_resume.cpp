// The part of fit() that goes on where a former one was broken off: what is kept, what must be the same, what is left
// to do.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/error.h"
#include "nn/fit.h"

namespace weft {
namespace {

// Among a checkpoint's settings.
const char* const kTrunk = "frozen trunk";
const char* const kTrainFiles = "training files";
const char* const kValidFiles = "validation files";

}  // namespace

/// True where the run that is resumed had finished this call.
bool Fit::finished_before() {
  return s_.options.resume && ordinal_ < s_.position.fits.size();
}

std::vector<EpochResult> Fit::rows_of(std::size_t fit) const {
  const auto& fits = s_.position.fits;
  const auto& rows = s_.position.rows;
  const auto first = static_cast<std::size_t>(
      std::accumulate(fits.begin(), fits.begin() + static_cast<std::ptrdiff_t>(std::min(fit, fits.size())), 0));
  const std::size_t last = fit < fits.size() ? first + static_cast<std::size_t>(fits[fit]) : rows.size();
  return {rows.begin() + static_cast<std::ptrdiff_t>(std::min(first, rows.size())),
          rows.begin() + static_cast<std::ptrdiff_t>(std::min(last, rows.size()))};
}

std::int64_t Fit::epochs_before() const {
  return std::accumulate(s_.position.fits.begin(), s_.position.fits.end(), std::int64_t{0});
}

/// Everything that the bits depend on. Of the data what contents() tells; a picture that was written over with one of
/// the same name and size is not noticed here.
std::map<std::string, std::string> Fit::settings() const {
  const LearnerOptions& o = s_.options;
  const ItemShape shape = s_.train->shape();
  return {{"learning rate", fmt::format("{}", fmt::join(lr_, ", "))},
          {"epochs", fmt::format("{}", epochs_)},
          {"batch", fmt::format("{}", o.batch)},
          {"seed", fmt::format("{}", o.seed)},
          {"policy", own_schedule() ? "its own" : policy() + to_string(policy_options())},
          {"momentum", fmt::format("{}{}", o.momentum, o.nesterov ? " (Nesterov)" : "")},
          {"weight decay", fmt::format("{}", o.weight_decay)},
          {"freeze", o.freeze              ? "on"
                     : o.freeze_to.empty() ? "off"
                                           : "up to " + o.freeze_to},
          {"batch norm", o.fixed_batch_norm ? "fixed" : "trained"},
          {"label smoothing", fmt::format("{}", o.targets.label_smoothing)},
          {"class weights", fmt::format("{}", fmt::join(o.targets.class_weights, ", "))},
          {"mixup", fmt::format("{}", o.mixup)},
          {"callbacks", callback_settings()},
          {"math", std::string(name_of(o.math))},
          {"architecture", s_.model.arch()},
          {"classes", fmt::format("{}", fmt::join(s_.model.classes(), ", "))},
          {kTrainFiles, s_.train_files},
          {kValidFiles, s_.valid_files},
          {"training pictures", fmt::format("{}", s_.train->size())},
          {"validation pictures", fmt::format("{}", s_.valid->size())},
          {"size", fmt::format("{} x {}", shape.height, shape.width)}};
}

/// Of all callbacks that have a say in the bits, in their order.
std::string Fit::callback_settings() const {
  std::string text;
  for (const auto& callback : s_.callbacks)
    if (!callback->name().empty())
      text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", callback->name(), callback->settings());
  return text.empty() ? "none" : text;
}

void Fit::take_checkpoint() {
  const Checkpoint checkpoint = std::move(*s_.checkpoint);
  s_.checkpoint.reset();
  const auto check = [&](const std::string& name, const std::string& now) {
    const auto then = checkpoint.settings.find(name);
    if (then == checkpoint.settings.end() || then->second == now) return;
    const bool files = name == kTrainFiles || name == kValidFiles;
    if (files && (now.empty() || then->second.empty())) return;  // data that cannot tell
    if (files)
      fail(
          fmt::format("{}: cannot be resumed with other {}: since it began some came, went, or have another name, size "
                      "or label ({} then, {} now); put them back, or train anew into another --out",
                      s_.options.run.string(), name, then->second, now));
    fail(fmt::format("{}: cannot be resumed with another setting: {}: {} then, {} now; give the same, or another --out",
                     s_.options.run.string(), name, then->second, now));
  };
  for (const auto& [name, now] : settings()) check(name, now);
  remembered_ = checkpoint.callbacks;
  s_.model.set_state(checkpoint.state);
  fingerprint_trunk();
  check(kTrunk, trunk_);
  make_trainer();
  s_.trainer->store()->load(s_.model.state());
  if (!checkpoint.velocity.empty()) s_.trainer->store()->load_velocity(checkpoint.velocity);
}

void Fit::write_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.position = s_.position;
  checkpoint.config = s_.run_config();
  checkpoint.settings = settings();
  checkpoint.settings[kTrunk] = trunk_;
  // A trunk that former calls of fit() moved is nowhere else; one that never moved comes with the weights.
  if (s_.options.freeze && ordinal_ > 0) checkpoint.state = s_.model.state();
  for (auto& [name, tensor] : s_.trainer->store()->save()) checkpoint.state[name] = tensor;
  checkpoint.velocity = s_.trainer->store()->save_velocity();
  for (const auto& callback : s_.callbacks)
    if (!callback->name().empty()) checkpoint.callbacks[callback->name()] = callback->save(*training_);
  save_checkpoint(s_.options.run, checkpoint);
  last_checkpoint_ = Clock::now();
  steps_since_checkpoint_ = 0;
}

/// Behind a step.
void Fit::write_checkpoint_if_due() {
  if (s_.options.run.empty()) return;
  ++steps_since_checkpoint_;
  const std::chrono::duration<double> passed = Clock::now() - last_checkpoint_;
  const bool by_steps = s_.options.checkpoint_steps > 0 && steps_since_checkpoint_ >= s_.options.checkpoint_steps;
  if (by_steps || passed.count() > s_.options.checkpoint_seconds) write_checkpoint();
}

}  // namespace weft
