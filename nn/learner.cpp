#include "nn/learner.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "core/version.h"
#include "kernels/error.h"
#include "nn/groups.h"
#include "nn/learner_state.h"

namespace weft {
namespace {

void check(const Model& model, const Dataset* train, const Dataset& valid, const LearnerOptions& options) {
  if (options.batch < 1) fail(fmt::format("a batch holds at least one picture, not {}", options.batch));
  for (const Dataset* data : {train, &valid}) {
    if (data && data->shape().channels != model.channels())
      fail(fmt::format("{} takes pictures of {} channels, and these have {}", model.arch(), model.channels(),
                       data->shape().channels));
  }
  if (train && train->shape() != valid.shape())
    fail("training and validation pictures differ in size, and the model sees both");
  if (train && train->multi_label() != valid.multi_label())
    fail("of training and validation pictures only one part has several labels each");
  if (train && options.freeze && train->augmented())
    fail(
        "with a frozen trunk each picture's features are computed once and kept, so training pictures cannot be "
        "augmented: give plain ones (LabelledData::train_plain()), or train without freeze");
}

/// A run that had finished: its rows, and its numbers for what comes after.
void take_finished_run(Learner::State& state) {
  const RunConfig config = load_run_config_to_resume(state.options.run);
  state.plans.want(config.plan);
  state.position.fits = config.fits;
  state.position.total_step = config.steps;
  state.carried = config.carried;
  state.position.rows = load_log(state.options.run);
  state.model.load(state.options.run / "model.safetensors");
}

}  // namespace

std::shared_ptr<const Dataset> borrowed(const Dataset& data) {
  return {std::shared_ptr<const Dataset>(), &data};
}

Learner::State::State(Model model_, std::shared_ptr<const Dataset> train_, std::shared_ptr<const Dataset> valid_,
                      LearnerOptions options_)
    : model(std::move(model_)), train(std::move(train_)), valid(std::move(valid_)), options(std::move(options_)) {
  if (!valid) fail("a learner needs data to validate with");
  augmented = train;
  if (train && !train->augmented()) plain = train;
  check(model, train.get(), *valid, options);
  if (valid->multi_label()) options.targets.multi_label = true;
  if (options.loss && positive_weights())
    fail(
        "with several labels a picture, class weights are part of the binary cross-entropy, and this learner has a "
        "loss "
        "of its own: weigh there");
  // What the first batch would refuse is refused before the work.
  targets_of({{0}}, static_cast<std::int64_t>(model.classes().size()), options.targets);
  const ItemShape shape = valid->shape();
  model.set_size(shape.height, shape.width);
  device = make_device(options.device, {.threads = options.threads});
  device->check(compile_options());
  plans.want(options.plan);
  if (options.run.empty()) return;
  prepare_run(options.run);
  if (train) train_files = train->contents();
  valid_files = valid->contents();
  if (!options.resume) return;
  if (std::filesystem::exists(options.run / kCheckpointFile)) {
    checkpoint = load_checkpoint(options.run);
    plans.want(checkpoint->config.plan);
    position = checkpoint->position;
  } else {
    take_finished_run(*this);
  }
}

void Learner::State::set_freezing(bool trunk, const std::string& to) {
  if (trunk && !plain) {
    fail(
        "with a frozen trunk each picture's features are computed once and kept, so training pictures cannot be "
        "augmented: give plain ones too (LabelledData::train_plain()), or train without freeze");
  }
  if (!to.empty()) layers_before(model, to);  // throws where there is none
  update_model();
  options.freeze = trunk;
  options.freeze_to = to;
  train = trunk ? plain : augmented;
  trainer.reset();
  evaluator.reset();
  head_evaluator.reset();
}

void Learner::State::set_groups(int count) {
  if (count == groups) return;
  groups = count;
  if (trainer) set_freezing(options.freeze, options.freeze_to);
}

std::function<int(const std::string&)> Learner::State::group_of() const {
  return options.group_of || groups == 1 ? options.group_of : layer_groups(model, groups);
}

bool Learner::State::soft_labels() const {
  return multi_label() || options.targets.label_smoothing > 0 || !options.targets.class_weights.empty() ||
         options.mixup > 0;
}

Tensor Learner::State::training_labels(Fed& fed, std::int64_t epoch) {
  if (!soft_labels()) return fed.labels;
  std::vector<std::vector<int>> labels;
  for (const std::int64_t index : fed.indices) labels.push_back(train->labels(index));
  const auto classes = static_cast<std::int64_t>(model.classes().size());
  if (!(options.mixup > 0)) return targets_of(labels, classes, options.targets);
  const Mixture mixture = draw_mixture(options.mixup, options.seed, epoch, fed.number, fed.count());
  mix_rows(fed.x.values<float>().data(), fed.x.shape().elements() / fed.count(), mixture, mixup_scratch);
  return targets_of(labels, classes, options.targets, &mixture);
}

GraphOptions Learner::State::graph_options(std::int64_t batch, bool training) const {
  GraphOptions result;
  result.batch = batch;
  result.height = valid->shape().height;
  result.width = valid->shape().width;
  result.training = training;
  result.soft_labels = training && soft_labels();
  result.loss = options.loss;
  if (positive_weights()) {
    result.shares_per_class = 2;
    result.loss = weighted_binary_cross_entropy_loss();
  } else if (!options.loss && multi_label()) {
    result.loss = binary_cross_entropy_loss();
  }
  result.fixed_batch_norm = options.fixed_batch_norm;
  if (options.freeze) {
    result.frozen = [this](const std::string& name) { return !model.in_head(name); };
  } else if (!options.freeze_to.empty()) {
    result.frozen = layers_before(model, options.freeze_to);
  }
  return result;
}

CompileOptions Learner::State::compile_options() const {
  CompileOptions result;
  result.math = options.math;
  result.tune = options.tune;
  return result;
}

BatchesOptions Learner::State::batches_options(std::int64_t size, bool training) const {
  return {.batch = training ? options.batch : std::min(options.batch, std::max<std::int64_t>(size, 1)),
          .training = training,
          .threads = options.loader_threads,
          .seed = options.seed,
          .ahead = loader_ahead()};
}

int Learner::State::loader_ahead() const {
  const bool on_host = device->name() == "cpu" || device->name() == "simt";
  return on_host && device->threads() >= static_cast<int>(std::thread::hardware_concurrency()) ? 0 : 3;
}

void Learner::State::update_model() {
  if (!model_behind) return;
  model.set_state(trainer->store()->save());
  model_behind = false;
  evaluator_behind = true;
}

RunConfig Learner::State::run_config() const {
  RunConfig config;
  config.version = version();
  config.arch = model.arch();
  config.classes = model.classes();
  config.size = valid->shape().height;
  config.mean = options.normalization.mean;
  config.std = options.normalization.std;
  config.command = options.command;
  config.plan = plans.text();
  config.options = options.options;
  config.fits = position.fits;
  config.steps = position.total_step;
  config.carried = carried;
  config.multi_label = multi_label();
  config.threshold = options.threshold;
  return config;
}

namespace {

LearnerOptions with_normalization(LearnerOptions options, const LabelledData& data) {
  options.normalization = data.normalization();
  return options;
}

}  // namespace

Learner::Learner(Model model, std::shared_ptr<const Dataset> train, std::shared_ptr<const Dataset> valid,
                 LearnerOptions options)
    : state_(std::make_unique<State>(std::move(model), std::move(train), std::move(valid), std::move(options))) {}

Learner::Learner(Model model, const LabelledData& data, LearnerOptions options)
    : Learner(std::move(model), options.freeze ? data.train_plain() : data.train(), data.valid(),
              with_normalization(options, data)) {
  if (state_->model.classes().size() != data.classes().size())
    fail(fmt::format("{} tells {} classes apart, and the data has {}", state_->model.arch(),
                     state_->model.classes().size(), data.classes().size()));
  state_->augmented = data.train();
  state_->plain = data.train_plain();
}

Learner::~Learner() = default;
Learner::Learner(Learner&&) noexcept = default;
Learner& Learner::operator=(Learner&&) noexcept = default;

Learner& Learner::freeze() {
  state_->set_freezing(true, "");
  return *this;
}

Learner& Learner::unfreeze() {
  state_->set_freezing(false, "");
  return *this;
}

Learner& Learner::freeze_to(const std::string& layer) {
  state_->set_freezing(false, layer);
  return *this;
}

Learner& Learner::add(std::shared_ptr<Callback> callback) {
  state_->callbacks.push_back(std::move(callback));
  return *this;
}

Model& Learner::model() {
  state_->update_model();
  state_->evaluator_behind = true;  // the caller may change it
  return state_->model;
}

Device& Learner::device() {
  return *state_->device;
}

const LearnerOptions& Learner::options() const {
  return state_->options;
}

std::string Learner::plan() const {
  return state_->plans.text();
}

bool Learner::interrupted() const {
  return state_->interrupted;
}

std::atomic<bool>& Learner::stop_requested() {
  static std::atomic<bool> requested{false};
  return requested;
}

}  // namespace weft
