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
  // What the first batch would refuse is refused before the work.
  targets_of({{0}}, static_cast<std::int64_t>(model.classes().size()), options.targets);
  const ItemShape shape = valid->shape();
  model.set_size(shape.height, shape.width);
  device = make_device(options.device, {.threads = options.threads});
  plans.want(options.plan);
  if (options.run.empty()) return;
  prepare_run(options.run);
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
  result.loss = !options.loss && multi_label() ? binary_cross_entropy_loss() : options.loss;
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

Executors& Learner::State::evaluator_for(std::int64_t batch) {
  const bool shares = trainer && !options.freeze;
  if (!shares) update_model();
  if (!evaluator) {
    Executors::Setup setup{.purpose = "evaluate",
                           .graph = [this](std::int64_t n) { return model.graph(graph_options(n, false)); },
                           .compile = compile_options(),
                           .group_of = group_of()};
    evaluator =
        std::make_unique<Executors>(device, std::move(setup), plans, batch, shares ? trainer->store() : nullptr);
    evaluator_behind = !shares;
  }
  if (evaluator_behind && !(shares && model_behind)) evaluator->store()->load(model.state());
  evaluator_behind = false;
  return *evaluator;
}

std::optional<Evaluation> Learner::State::score(Executors& executors, Batches& batches, std::int64_t batch,
                                                const Dataset& data, bool keep, bool stoppable, std::int64_t epoch) {
  const auto classes = static_cast<std::int64_t>(model.classes().size());
  Scores scores(classes, multi_label(), options.threshold);
  double own_loss = 0;
  Fed fed;
  batches.start(epoch, 0);
  while (batches.next(fed)) {
    if (stoppable && stop_requested()) return std::nullopt;
    Executor& executor = executors.at(batch);
    executor.set_input(batches.input(), fed.x);
    executor.run();
    const Tensor logits = executor.output("logits");
    const std::span<const std::int32_t> labels = std::as_const(fed.labels).values<std::int32_t>();
    const float* row = logits.values<float>().data();
    std::vector<std::vector<int>> sets;  // of labels, with several a picture
    for (std::int64_t i = 0; i < fed.count(); ++i, row += classes) {
      const std::span<const float> of_picture(row, static_cast<std::size_t>(classes));
      const auto at = static_cast<std::size_t>(i);
      if (multi_label()) {
        sets.push_back(data.labels(fed.indices[at]));
        if (keep) {
          scores.add(of_picture, sets.back(), data.name(fed.indices[at]));
        } else {
          scores.add(of_picture, sets.back());
        }
      } else if (keep) {
        scores.add(of_picture, labels[at], data.name(fed.indices[at]));
      } else {
        scores.add(of_picture, labels[at]);
      }
    }
    if (!options.loss) continue;
    if (!loss) {
      const auto graph = [this, classes, soft = soft_labels()](std::int64_t n) {
        Graph result;
        const ValueId x = result.input("logits", {n, classes});
        const ValueId labels = soft ? result.input("labels", {n, classes}) : result.input("labels", {n}, DType::i32);
        result.mark_output(options.loss(result, x, labels), "loss");
        return result;
      };
      loss = std::make_unique<Executors>(
          device, Executors::Setup{.purpose = "loss", .graph = graph, .compile = compile_options(), .group_of = {}},
          plans, fed.count());
    }
    Executor& judge = loss->at(fed.count());
    const std::span<const float> kept(logits.values<float>().data(), static_cast<std::size_t>(fed.count() * classes));
    judge.set_input("logits", Tensor::from<float>({fed.count(), classes}, kept));
    if (soft_labels()) {  // as in training, but plain: neither smoothed nor weighed nor mixed
      if (!multi_label())
        for (const std::int32_t label : labels) sets.push_back({label});
      judge.set_input("labels", targets_of(sets, classes, {.multi_label = multi_label()}));
    } else {
      judge.set_input("labels", fed.labels);
    }
    judge.run();
    own_loss += judge.output("loss").values<float>()[0] * static_cast<double>(fed.count());
  }
  return scores.result(options.loss ? &own_loss : nullptr);
}

Evaluation Learner::State::evaluate(const Dataset& data, bool keep, std::int64_t epoch) {
  if (data.shape() != valid->shape()) fail("these pictures are of another size than the model was prepared for");
  const BatchesOptions sizes = batches_options(data.size(), false);
  PictureBatches batches(borrowed(data), sizes);
  return *score(evaluator_for(sizes.batch), batches, sizes.batch, data, keep, false, epoch);
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

Evaluation Learner::evaluate(const Dataset& data) {
  return state_->evaluate(data, true);
}

Evaluation Learner::validate() {
  return state_->evaluate(*state_->valid, true);
}

namespace {

void forget_labels(std::vector<Prediction>& predictions) {
  for (Prediction& prediction : predictions) {
    prediction.label = -1;
    prediction.labels.clear();
  }
}

}  // namespace

Evaluation Learner::evaluate(const Dataset& data, const Dataset& augmented, int versions) {
  if (versions < 1) return evaluate(data);
  if (augmented.size() != data.size()) fail("the augmented pictures are not those to evaluate: their number differs");
  struct Sum {
    std::vector<double> probabilities;
    double weight = 0;
  };
  std::map<std::string, Sum> sums;
  const auto add = [&sums](const std::vector<Prediction>& predictions, double weight) {
    for (const Prediction& prediction : predictions) {
      Sum& sum = sums[prediction.path];
      sum.probabilities.resize(prediction.probabilities.size());
      for (std::size_t c = 0; c < sum.probabilities.size(); ++c)
        sum.probabilities[c] += weight * prediction.probabilities[c];
      sum.weight += weight;
    }
  };
  std::vector<Prediction> plain = evaluate(data).predictions;
  add(plain, (versions + 3) / 4);
  for (int version = 0; version < versions; ++version) add(state_->evaluate(augmented, true, version).predictions, 1);
  Scores scores(static_cast<std::int64_t>(state_->model.classes().size()), state_->multi_label(),
                state_->options.threshold);
  for (Prediction& prediction : plain) {
    const Sum& sum = sums[prediction.path];
    for (std::size_t c = 0; c < sum.probabilities.size(); ++c)
      prediction.probabilities[c] = static_cast<float>(sum.probabilities[c] / sum.weight);
    scores.add(std::move(prediction));
  }
  return scores.result();
}

std::vector<Prediction> Learner::predict(const Dataset& data, const Dataset& augmented, int versions) {
  std::vector<Prediction> predictions = evaluate(data, augmented, versions).predictions;
  forget_labels(predictions);
  return predictions;
}

std::vector<Prediction> Learner::predict(const Dataset& data) {
  std::vector<Prediction> predictions = state_->evaluate(data, true).predictions;
  forget_labels(predictions);
  return predictions;
}

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
