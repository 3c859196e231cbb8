#include "nn/fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/error.h"

namespace weft {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Fit::Fit(Learner::State& state, double lr, int epochs)
    : s_(state), lr_(lr), epochs_(epochs), ordinal_(state.fits_called++) {
  if (!s_.train) fail("this learner was given nothing to train on");
  if (epochs < 0) fail(fmt::format("cannot train for {} epochs", epochs));
  if (!(lr > 0)) fail(fmt::format("a learning rate is above 0, not {}", lr));
}

std::vector<EpochResult> Fit::run() {
  s_.interrupted = false;
  if (finished_before()) return rows_of(ordinal_);
  if (s_.options.freeze && !s_.options.run.empty()) {
    StateDict trunk = s_.model.state();
    std::erase_if(trunk, [this](const auto& entry) { return s_.model.in_head(entry.first); });
    trunk_ = fingerprint(trunk);
  }
  if (s_.checkpoint) {
    take_checkpoint();
  } else {
    if (ordinal_ == 0 && !s_.options.run.empty()) {
      // What a former training left must not be taken for this one's.
      std::error_code ignored;
      std::filesystem::remove(s_.options.run / kCheckpointFile, ignored);
    }
    make_trainer();
    start_afresh();
  }
  say_what_differs();
  if (s_.options.freeze && !compute_features()) return stopped();
  make_batches();
  while (s_.position.epoch < epochs_) {
    epoch_start_ = Clock::now();
    Evaluation evaluation;
    if (!train_epoch() || !validate(evaluation)) return stopped();
    end_epoch(evaluation);
  }
  return finish();
}

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

/// Everything that the bits depend on, beside the data's pixels.
std::map<std::string, std::string> Fit::settings() const {
  const LearnerOptions& o = s_.options;
  const ItemShape shape = s_.train->shape();
  return {{"learning rate", fmt::format("{}", lr_)},
          {"epochs", fmt::format("{}", epochs_)},
          {"batch", fmt::format("{}", o.batch)},
          {"seed", fmt::format("{}", o.seed)},
          {"policy", o.schedule ? "its own" : o.policy},
          {"momentum", fmt::format("{}{}", o.momentum, o.nesterov ? " (Nesterov)" : "")},
          {"weight decay", fmt::format("{}", o.weight_decay)},
          {"freeze", o.freeze ? "on" : "off"},
          {"math", o.math == Math::fast ? "fast" : "strict"},
          {"architecture", s_.model.arch()},
          {"classes", fmt::format("{}", fmt::join(s_.model.classes(), ", "))},
          {"training pictures", fmt::format("{}", s_.train->size())},
          {"validation pictures", fmt::format("{}", s_.valid->size())},
          {"size", fmt::format("{} x {}", shape.height, shape.width)},
          {"frozen trunk", trunk_}};
}

void Fit::say_what_differs() {
  if (s_.plans.difference.empty()) return;
  for (const auto& callback : s_.callbacks) callback->on_note(s_.plans.difference);
  s_.plans.difference.clear();
}

/// From the model's numbers, with the optimiser at rest.
void Fit::start_afresh() {
  s_.position.epoch = 0;
  s_.position.step = 0;
  s_.update_model();
  ParameterStore& store = *s_.trainer->store();
  store.load(s_.model.state());
  for (int group = 0; group < store.groups(); ++group) {
    const ParameterStore::Range range = store.range(group);
    s_.device->fill_zero(store.velocities() + range.offset, range.floats * sizeof(float));
  }
}

void Fit::make_trainer() {
  if (s_.trainer) return;
  const std::int64_t batch = std::min(s_.options.batch, s_.train->size());
  Executors::Setup setup{.purpose = s_.options.freeze ? "head" : "train",
                         .graph =
                             [&s = s_](std::int64_t n) {
                               const GraphOptions options = s.graph_options(n, true);
                               return s.options.freeze ? s.model.head_graph(options) : s.model.graph(options);
                             },
                         .compile = s_.compile_options(),
                         .group_of = s_.options.group_of};
  s_.evaluator.reset();  // its store had another's layouts
  s_.trainer = std::make_unique<Executors>(s_.device, std::move(setup), s_.plans, batch);
}

void Fit::take_checkpoint() {
  const Checkpoint checkpoint = std::move(*s_.checkpoint);
  s_.checkpoint.reset();
  for (const auto& [name, now] : settings()) {
    const auto then = checkpoint.settings.find(name);
    if (then != checkpoint.settings.end() && then->second != now)
      fail(fmt::format("{}: cannot go on with another {}: it was {}, and is {}", s_.options.run.string(), name,
                       then->second, now));
  }
  s_.model.set_state(checkpoint.state);
  make_trainer();
  s_.trainer->store()->load(s_.model.state());
  if (!checkpoint.velocity.empty()) s_.trainer->store()->load_velocity(checkpoint.velocity);
}

void Fit::make_batches() {
  const BatchesOptions training = s_.batches_options(s_.train->size(), true);
  const BatchesOptions validation = s_.batches_options(s_.valid->size(), false);
  if (s_.options.freeze) {
    batches_ = std::make_unique<FeatureBatches>(*s_.train_features, training);
    valid_batches_ = std::make_unique<FeatureBatches>(*s_.valid_features, validation);
  } else {
    batches_ = std::make_unique<PictureBatches>(s_.train, training);
    valid_batches_ = std::make_unique<PictureBatches>(s_.valid, validation);
  }
  steps_ = batches_->batches();
  SgdOptions sgd;
  sgd.momentum = s_.options.momentum;
  sgd.nesterov = s_.options.nesterov;
  sgd.groups = s_.options.groups;
  if (sgd.groups.empty()) sgd.groups = {{.lr_factor = 1, .weight_decay = s_.options.weight_decay}};
  sgd_ = std::make_unique<Sgd>(std::move(sgd));
  schedule_ = s_.options.schedule;
  if (!schedule_)
    schedule_ =
        make_schedule(s_.options.policy, {.lr = lr_, .momentum = s_.options.momentum, .steps_per_epoch = steps_});
}

/// The rest of the epoch's steps. False where stop was requested.
bool Fit::train_epoch() {
  Position& p = s_.position;
  if (p.step < steps_) batches_->start(epochs_before() + p.epoch, p.step);
  Fed fed;
  auto start = Clock::now();
  while (p.step < steps_) {
    if (Learner::stop_requested()) return false;
    if (!batches_->next(fed)) break;
    step(fed);
    const auto now = Clock::now();
    p.training_seconds += std::chrono::duration<double>(now - start).count();
    start = now;
    if (!s_.options.run.empty() && seconds_since(last_checkpoint_) > s_.options.checkpoint_seconds) write_checkpoint();
  }
  return !Learner::stop_requested();
}

void Fit::step(const Fed& fed) {
  Position& p = s_.position;
  Executor& executor = s_.trainer->at(fed.count());
  executor.set_input(batches_->input(), fed.x);
  executor.set_input("labels", fed.labels);
  executor.run(static_cast<std::uint64_t>(p.total_step));
  const double loss = executor.output("loss").values<float>()[0];
  // Before the weights move, so that they are still those that the culprit is looked for with.
  if (!std::isfinite(loss)) fail_not_finite(executor, fed, loss);
  StepResult result;
  result.epoch = static_cast<int>(epochs_before()) + p.epoch;
  result.step = p.epoch * steps_ + p.step;
  result.steps_per_epoch = steps_;
  result.total_steps = epochs_ * steps_;
  const Rates rates = schedule_(result.step, result.total_steps);
  sgd_->step(*s_.trainer->store(), rates.lr, rates.momentum);
  s_.model_behind = true;
  ++p.step;
  ++p.total_step;
  p.loss_sum += loss * static_cast<double>(fed.count());
  p.pictures += fed.count();
  result.loss = loss;
  result.lr = rates.lr;
  result.momentum = rates.momentum < 0 ? s_.options.momentum : rates.momentum;
  for (const auto& callback : s_.callbacks) callback->on_step(result);
}

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

/// False where stop was requested.
bool Fit::validate(Evaluation& evaluation) {
  const BatchesOptions sizes = s_.batches_options(s_.valid->size(), false);
  Executors* executors = nullptr;
  if (s_.options.freeze) {
    if (!s_.head_evaluator) {
      Executors::Setup setup{
          .purpose = "evaluate head",
          .graph = [&s = s_](std::int64_t n) { return s.model.head_graph(s.graph_options(n, false)); },
          .compile = s_.compile_options(),
          .group_of = s_.options.group_of};
      s_.head_evaluator =
          std::make_unique<Executors>(s_.device, std::move(setup), s_.plans, sizes.batch, s_.trainer->store());
    }
    executors = s_.head_evaluator.get();
  } else {
    executors = &s_.evaluator_for(sizes.batch);
  }
  std::optional<Evaluation> result = s_.score(*executors, *valid_batches_, sizes.batch, nullptr, true);
  if (!result) return false;
  evaluation = std::move(*result);
  return true;
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

void Fit::end_epoch(const Evaluation& evaluation) {
  check_numbers();
  Position& p = s_.position;
  EpochResult row;
  row.epoch = static_cast<int>(epochs_before()) + p.epoch;
  row.train_loss = p.loss_sum / static_cast<double>(std::max<std::int64_t>(p.pictures, 1));
  row.valid_loss = evaluation.loss;
  row.accuracy = evaluation.accuracy;
  row.seconds = p.seconds + seconds_since(epoch_start_);
  row.images_per_second = static_cast<double>(p.pictures) / std::max(p.training_seconds, 1e-9);
  p.rows.push_back(row);
  ++p.epoch;
  p.step = 0;
  p.loss_sum = p.seconds = p.training_seconds = 0;
  p.pictures = 0;
  for (const auto& callback : s_.callbacks) callback->on_epoch(row);
  if (s_.options.run.empty()) return;
  save_log(s_.options.run, p.rows);
  // The last epoch ends with the model itself.
  if (p.epoch < epochs_) write_checkpoint();
}

void Fit::write_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.position = s_.position;
  checkpoint.config = s_.run_config();
  checkpoint.settings = settings();
  checkpoint.state = s_.trainer->store()->save();
  checkpoint.velocity = s_.trainer->store()->save_velocity();
  save_checkpoint(s_.options.run, checkpoint);
  last_checkpoint_ = Clock::now();
}

std::vector<EpochResult> Fit::stopped() {
  s_.interrupted = true;
  if (epoch_start_ != Clock::time_point{}) s_.position.seconds += seconds_since(epoch_start_);
  if (s_.options.run.empty()) return rows_of(ordinal_);
  write_checkpoint();
  try {
    for (FeatureCache* cache : {s_.train_features.get(), s_.valid_features.get()})
      if (cache) cache->save();
  } catch (const Error&) {
    // Without them --resume takes longer and comes to the same.
    for (FeatureCache* cache : {s_.train_features.get(), s_.valid_features.get()})
      if (cache) cache->discard();
  }
  return rows_of(ordinal_);
}

std::vector<EpochResult> Fit::finish() {
  Position& p = s_.position;
  p.fits.push_back(epochs_);
  p.epoch = 0;
  s_.update_model();
  if (!s_.options.run.empty()) {
    save_run(s_.options.run, s_.run_config(), s_.model);
    save_log(s_.options.run, p.rows);
    std::error_code ignored;
    std::filesystem::remove(s_.options.run / kCheckpointFile, ignored);
    for (FeatureCache* cache : {s_.train_features.get(), s_.valid_features.get()})
      if (cache) cache->discard();
  }
  return rows_of(ordinal_);
}

std::vector<EpochResult> Learner::fit(double lr, int epochs) {
  return Fit(*state_, lr, epochs).run();
}

}  // namespace weft
