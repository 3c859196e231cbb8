// Using a model without training it: evaluation, prediction, and the mean over augmented versions of a picture.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "kernels/error.h"
#include "nn/learner.h"
#include "nn/learner_state.h"

namespace weft {

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

/// Adds a batch's logits to the scores. `keep`: predictions too.
void Learner::State::count(Scores& scores, const Fed& fed, const Tensor& logits, const Dataset& data, bool keep) const {
  const std::size_t classes = model.classes().size();
  const std::span<const std::int32_t> labels = fed.labels.values<std::int32_t>();
  const float* row = logits.values<float>().data();
  for (std::size_t i = 0; i < fed.indices.size(); ++i, row += classes) {
    const std::span<const float> of_picture(row, classes);
    const auto add = [&](const auto& truth) {
      if (keep) {
        scores.add(of_picture, truth, data.name(fed.indices[i]));
      } else {
        scores.add(of_picture, truth);
      }
    };
    if (multi_label()) {
      add(data.labels(fed.indices[i]));
    } else {
      add(labels[i]);
    }
  }
}

/// The sum over a batch's pictures of a loss that is not cross-entropy, on plain labels: neither smoothed nor weighed
/// nor mixed.
double Learner::State::own_loss(const Fed& fed, const Tensor& logits, const Dataset& data) {
  const auto classes = static_cast<std::int64_t>(model.classes().size());
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
  if (soft_labels()) {
    std::vector<std::vector<int>> labels;
    for (const std::int64_t index : fed.indices) labels.push_back(data.labels(index));
    judge.set_input("labels", targets_of(labels, classes, {.multi_label = multi_label()}));
  } else {
    judge.set_input("labels", fed.labels);
  }
  judge.run();
  return judge.output("loss").values<float>()[0] * static_cast<double>(fed.count());
}

std::optional<Evaluation> Learner::State::score(Executors& executors, Batches& batches, std::int64_t batch,
                                                const Dataset& data, bool keep, bool stoppable, std::int64_t epoch) {
  Scores scores(static_cast<std::int64_t>(model.classes().size()), multi_label(), options.threshold);
  double own_losses = 0;
  Fed fed;
  batches.start(epoch, 0);
  while (batches.next(fed)) {
    if (stoppable && stop_requested()) return std::nullopt;
    Executor& executor = executors.at(batch);
    executor.set_input(batches.input(), fed.x);
    executor.run();
    const Tensor logits = executor.output("logits");
    count(scores, fed, logits, data, keep);
    if (options.loss) own_losses += own_loss(fed, logits, data);
  }
  return scores.result(options.loss ? &own_losses : nullptr);
}

Evaluation Learner::State::evaluate(const Dataset& data, bool keep, std::int64_t epoch) {
  if (data.shape() != valid->shape()) fail("these pictures are of another size than the model was prepared for");
  const BatchesOptions sizes = batches_options(data.size(), false);
  PictureBatches batches(borrowed(data), sizes);
  return *score(evaluator_for(sizes.batch), batches, sizes.batch, data, keep, false, epoch);
}

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

}  // namespace weft
