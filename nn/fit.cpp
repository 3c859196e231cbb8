#include "nn/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/error.h"
#include "nn/metrics.h"
#include "nn/predictions.h"

namespace weft {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Fit::Fit(Learner::State& state, std::vector<double> lr, int epochs, FitOptions options)
    : s_(state), lr_(std::move(lr)), epochs_(epochs), options_(std::move(options)), ordinal_(state.fits_called++) {
  if (!s_.train) fail("this learner was given nothing to train on");
  if (epochs < 0) fail(fmt::format("cannot train for {} epochs", epochs));
  if (lr_.empty()) fail("fit() wants a learning rate");
  for (const double rate : lr_)
    if (!(rate > 0)) fail(fmt::format("a learning rate is above 0, not {}", rate));
  const std::size_t groups = s_.options.groups.size();
  if (groups > 0 && lr_.size() > 1 && lr_.size() != groups)
    fail(fmt::format("{} rates for {} parameter groups", lr_.size(), groups));
}

std::vector<EpochResult> Fit::run() {
  s_.interrupted = false;
  if (finished_before()) return rows_of(ordinal_);
  s_.set_groups(s_.options.groups.empty() ? static_cast<int>(lr_.size()) : 1);
  if (s_.checkpoint) {
    take_checkpoint();
    begin_callbacks();
  } else {
    fingerprint_trunk();
    make_trainer();
    start_afresh();
    begin_callbacks();
    // From here on --resume knows what was asked for. What a former training left must not be taken for this one's.
    if (!s_.options.run.empty()) write_checkpoint();
  }
  say_what_differs();
  const std::int64_t batch = training_batch();
  if (new_trainer_) say_memory(fmt::format("training {} pictures at once", batch), s_.trainer->at(batch));
  if (s_.options.freeze && !compute_features()) return stopped();
  make_batches();
  while (s_.position.epoch < epochs_ && !training_->stops()) {
    epoch_start_ = Clock::now();
    if (!train_epoch() || !end_epoch()) return stopped();
  }
  return finish();
}

void Fit::fingerprint_trunk() {
  trunk_.clear();
  if (!s_.options.freeze) return;
  StateDict trunk = s_.model.state();
  std::erase_if(trunk, [this](const auto& entry) { return s_.model.in_head(entry.first); });
  trunk_ = fingerprint(trunk);
}

/// With the numbers in place, and what callbacks remember of a checkpoint.
void Fit::begin_callbacks() {
  training_.emplace(*s_.trainer->store(), s_.options.run, [this](const std::string& line) { note(line); });
  s_.model_behind = true;  // until finish() the store is what counts
  const auto carried = std::exchange(s_.carried, {});
  for (const auto& callback : s_.callbacks) {
    if (const auto numbers = carried.find(callback->name()); numbers != carried.end())
      callback->take_over(numbers->second);
    callback->begin_fit(*training_);
    const auto state = remembered_.find(callback->name());
    if (state != remembered_.end()) callback->load(*training_, state->second);
  }
  remembered_.clear();
}

void Fit::note(const std::string& line) const {
  for (const auto& callback : s_.callbacks) callback->on_note(line);
}

void Fit::say_what_differs() {
  if (s_.plans.difference.empty()) return;
  note(s_.plans.difference);
  s_.plans.difference.clear();
}

void Fit::say_memory(const std::string& of, const Executor& executor) const {
  const std::string plan = to_text(executor.memory(), executor.graph(), executor.program());
  for (const auto& callback : s_.callbacks) callback->on_memory(fmt::format("{}: {}", of, plan));
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

/// Pictures in a whole step.
std::int64_t Fit::training_batch() const {
  return std::min(s_.options.batch, s_.train->size());
}

void Fit::make_trainer() {
  if (s_.trainer) return;
  const std::string& to = s_.options.freeze_to;
  Executors::Setup setup{.purpose = s_.options.freeze ? "head"
                                    : to.empty()      ? "train"
                                                      : "train from " + to,
                         .graph =
                             [&s = s_](std::int64_t n) {
                               const GraphOptions options = s.graph_options(n, true);
                               return s.options.freeze ? s.model.head_graph(options) : s.model.graph(options);
                             },
                         .compile = s_.compile_options(),
                         .group_of = s_.group_of()};
  s_.evaluator.reset();  // its store had another's layouts
  s_.trainer = std::make_unique<Executors>(s_.device, std::move(setup), s_.plans, training_batch());
  new_trainer_ = true;
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
  if (sgd.groups.empty()) sgd.groups.assign(lr_.size(), {.lr_factor = 1, .weight_decay = s_.options.weight_decay});
  for (std::size_t i = 0; i + 1 < lr_.size(); ++i) sgd.groups[i].lr_factor *= lr_[i] / lr_.back();
  sgd_ = std::make_unique<Sgd>(std::move(sgd));
  schedule_ = own_schedule();
  if (!schedule_)
    schedule_ = make_schedule(policy(), {.lr = lr_.back(),
                                         .momentum = s_.options.momentum,
                                         .steps_per_epoch = steps_,
                                         .policy_options = policy_options()});
}

std::string Fit::policy() const {
  return options_.policy.empty() ? s_.options.policy : options_.policy;
}

PolicyOptions Fit::policy_options() const {
  return options_.policy_options.value_or(s_.options.policy_options);
}

Schedule Fit::own_schedule() const {
  return options_.schedule || !options_.policy.empty() ? options_.schedule : s_.options.schedule;
}

/// The rest of the epoch's steps. False where stop was requested.
bool Fit::train_epoch() {
  Position& p = s_.position;
  if (p.step < steps_) batches_->start(epochs_before() + p.epoch, p.step);
  Fed fed;
  while (p.step < steps_) {
    if (Learner::stop_requested()) return false;
    const auto start = Clock::now();
    if (!batches_->next(fed)) break;
    const double waited = seconds_since(start);
    StepResult result = step(fed);
    result.data_seconds = waited;
    result.seconds = seconds_since(start);
    p.training_seconds += result.seconds;
    p.data_seconds += result.data_seconds;
    for (const auto& callback : s_.callbacks) callback->on_step(result);
    write_checkpoint_if_due();
  }
  return !Learner::stop_requested();
}

StepResult Fit::step(Fed& fed) {
  Position& p = s_.position;
  Executor& executor = s_.trainer->at(fed.count());
  const Tensor labels = s_.training_labels(fed, epochs_before() + p.epoch);
  executor.set_input(batches_->input(), fed.x);
  executor.set_input("labels", labels);
  executor.run(static_cast<std::uint64_t>(p.total_step));
  StepResult result;
  result.loss = executor.output("loss").values<float>()[0];
  // Before the weights move, so that they are still those that the culprit is looked for with.
  if (!std::isfinite(result.loss)) fail_not_finite(executor, fed, result.loss);
  result.epoch = static_cast<int>(epochs_before()) + p.epoch;
  result.step = p.epoch * steps_ + p.step;
  result.steps_per_epoch = steps_;
  result.total_steps = epochs_ * steps_;
  result.pictures = fed.count();
  const Rates rates = schedule_(result.step, result.total_steps);
  result.lr = rates.lr;
  result.momentum = rates.momentum < 0 ? s_.options.momentum : rates.momentum;
  training_->set_step(result);
  const auto& callbacks = s_.callbacks;
  if (std::all_of(callbacks.begin(), callbacks.end(), [this](const auto& c) { return c->on_gradients(*training_); })) {
    sgd_->step(*s_.trainer->store(), rates.lr, rates.momentum);
    for (const auto& callback : callbacks) callback->on_update(*training_);
  }
  ++p.step;
  ++p.total_step;
  p.loss_sum += result.loss * static_cast<double>(fed.count());
  p.pictures += fed.count();
  p.lr = rates.lr;
  return result;
}

/// What works on the trainer's store without training.
Executors& Fit::validator(std::int64_t batch) {
  if (!s_.options.freeze) return s_.evaluator_for(batch);
  if (!s_.head_evaluator) {
    Executors::Setup setup{.purpose = "evaluate head",
                           .graph = [&s = s_](std::int64_t n) { return s.model.head_graph(s.graph_options(n, false)); },
                           .compile = s_.compile_options(),
                           .group_of = s_.group_of()};
    s_.head_evaluator = std::make_unique<Executors>(s_.device, std::move(setup), s_.plans, batch, s_.trainer->store());
  }
  return *s_.head_evaluator;
}

/// Nothing where stop was requested.
std::optional<Evaluation> Fit::validate(bool stoppable) {
  const BatchesOptions sizes = s_.batches_options(s_.valid->size(), false);
  return s_.score(validator(sizes.batch), *valid_batches_, sizes.batch, *s_.valid, !s_.options.run.empty(), stoppable);
}

/// Validates, and does what comes of it. False where stop was requested.
bool Fit::end_epoch() {
  check_numbers();
  const auto& callbacks = s_.callbacks;
  for (const auto& callback : callbacks) callback->before_validation(*training_);
  std::optional<Evaluation> evaluation = validate(true);
  EpochResult row;
  if (evaluation) {
    row = row_of_epoch(*evaluation);
    for (auto c = callbacks.rbegin(); c != callbacks.rend(); ++c) (*c)->validated(*training_, row);
  }
  for (auto c = callbacks.rbegin(); c != callbacks.rend(); ++c) (*c)->after_validation(*training_);
  if (!evaluation) return false;
  Position& p = s_.position;
  p.rows.push_back(row);
  ++p.epoch;
  p.step = 0;
  p.loss_sum = p.seconds = p.training_seconds = p.data_seconds = 0;
  p.pictures = 0;
  for (const auto& callback : callbacks) callback->on_epoch(row);
  if (s_.options.run.empty()) return true;
  predictions_ = std::move(evaluation->predictions);
  save_log(s_.options.run, p.rows);
  // The last epoch ends with the model itself.
  if (p.epoch < epochs_ && !training_->stops()) write_checkpoint();
  return true;
}

EpochResult Fit::row_of_epoch(const Evaluation& evaluation) const {
  const Position& p = s_.position;
  EpochResult row;
  row.epoch = static_cast<int>(epochs_before()) + p.epoch;
  row.train_loss = p.loss_sum / static_cast<double>(std::max<std::int64_t>(p.pictures, 1));
  row.valid_loss = evaluation.loss;
  row.accuracy = evaluation.accuracy;
  row.macro_f1 = macro_f_beta(evaluation.counts);
  row.seconds = p.seconds + seconds_since(epoch_start_);
  row.images_per_second = static_cast<double>(p.pictures) / std::max(p.training_seconds, 1e-9);
  row.lr = p.lr;
  row.data_share = p.data_seconds / std::max(p.training_seconds, 1e-9);
  return row;
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
  for (const auto& callback : s_.callbacks) {
    callback->end_fit(*training_);
    if (auto numbers = callback->carry(); !numbers.empty() && !callback->name().empty())
      s_.carried[callback->name()] = std::move(numbers);
  }
  p.fits.push_back(p.epoch);
  p.epoch = 0;
  s_.update_model();
  if (!s_.options.run.empty()) {
    save_run(s_.options.run, s_.run_config(), s_.model);
    write_predictions();
    save_log(s_.options.run, p.rows);
    std::error_code ignored;
    std::filesystem::remove(s_.options.run / kCheckpointFile, ignored);
    for (FeatureCache* cache : {s_.train_features.get(), s_.valid_features.get()})
      if (cache) cache->discard();
  }
  return rows_of(ordinal_);
}

/// RUN/predictions.json, of the model that is saved: a callback with a state of its own, such as the best weights or
/// their average, may have put other numbers in place since the last validation.
void Fit::write_predictions() {
  const auto& callbacks = s_.callbacks;
  const bool moved = std::any_of(callbacks.begin(), callbacks.end(), [](const auto& c) { return !c->name().empty(); });
  if ((moved || predictions_.empty()) && valid_batches_) predictions_ = validate(false)->predictions;
  save_predictions(s_.options.run / kPredictionsFile,
                   {s_.model.classes(), s_.multi_label(), s_.options.threshold, std::move(predictions_)});
}

std::vector<EpochResult> Learner::fit(double lr, int epochs, const FitOptions& options) {
  return fit(std::vector<double>{lr}, epochs, options);
}

std::vector<EpochResult> Learner::fit(const std::vector<double>& lr, int epochs, const FitOptions& options) {
  return Fit(*state_, lr, epochs, options).run();
}

}  // namespace weft
