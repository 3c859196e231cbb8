// Losses over shares of every class, against torch's numbers (make_loss_fixtures.py), and training with them.

#include "nn/losses.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "core/executor.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "nn/predictions.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

struct LossCase {
  std::string kind;
  std::int64_t n = 0, c = 0;
  TargetOptions options;
  Mixture mixture;
  std::vector<std::vector<int>> labels;
  std::vector<float> logits;
  double loss = 0;
  std::vector<double> gradient;
};

template <class T>
std::vector<T> numbers(const std::string& line) {
  std::istringstream text(line);
  std::vector<T> values;
  for (T value; text >> value;) values.push_back(value);
  return values;
}

std::vector<LossCase> cases() {
  std::ifstream file(std::string(WEFT_FIXTURES) + "/losses.txt");
  std::vector<LossCase> all;
  std::string line;
  const auto next = [&] {
    std::getline(file, line);
    return line;
  };
  while (std::getline(file, line)) {
    LossCase one;
    std::string word;
    std::istringstream(line) >> word >> one.kind >> one.n >> one.c >> one.options.label_smoothing >> one.mixture.share;
    if (next() != "none") one.options.class_weights = numbers<float>(line);
    std::istringstream rows(next());
    for (std::int64_t i = 0; i < one.n; ++i) {
      std::getline(rows, word, '/');
      one.labels.push_back(numbers<int>(word));
    }
    if (next() != "none") one.mixture.partner = numbers<std::int64_t>(line);
    one.logits = numbers<float>(next());
    one.loss = numbers<double>(next()).at(0);
    one.gradient = numbers<double>(next());
    one.options.multi_label = one.kind == "several";
    all.push_back(std::move(one));
  }
  return all;
}

Learner learner(const LearnerOptions& options) {
  return Learner(tests::small_model(options.seed), std::make_shared<Stripes>(29, 1, true),
                 std::make_shared<Stripes>(13, 2), options);
}

/// Stripes with labels "upright" (0) and "noisy" (1, which is no more than every third): several, one or none.
class Labelled : public Stripes {
 public:
  using Stripes::Stripes;
  int label(std::int64_t index) const override { return static_cast<int>(index % 2); }
  bool multi_label() const override { return true; }
  std::vector<int> labels(std::int64_t index) const override {
    return index % 2 == 0 ? std::vector<int>{0} : index % 4 == 1 ? std::vector<int>{} : std::vector<int>{0, 1};
  }
  void load(std::int64_t index, Philox& random, float* item) const override {
    Stripes::load(index, random, item);
    const bool first = index % 4 != 1, second = index % 4 == 3;
    for (std::int64_t i = 0; i < shape().size(); i += 3) {
      item[i] = first ? 1.0f : -1.0f;
      item[i + 1] = second ? 1.0f : -1.0f;
    }
  }
};

}  // namespace

TEST_CASE("losses and gradients are torch's, on every device") {
  const std::vector<LossCase> all = cases();
  REQUIRE(all.size() == 10);
  for (const std::string& device_name : tests::devices()) {
    CAPTURE(device_name);
    for (const LossCase& one : all) {
      CAPTURE(one.kind);
      CAPTURE(one.options.label_smoothing);
      const bool mixed = one.kind == "mixture", several = one.options.multi_label;
      const bool weighed = !one.options.class_weights.empty();
      CAPTURE(weighed);
      const Tensor targets = targets_of(one.labels, one.c, one.options, mixed ? &one.mixture : nullptr);
      Graph graph;
      const ValueId logits = graph.parameter("logits", {one.n, one.c}), shares = graph.input("labels", targets.shape());
      const Loss loss = !several  ? soft_cross_entropy_loss()
                        : weighed ? weighted_binary_cross_entropy_loss()
                                  : binary_cross_entropy_loss();
      graph.mark_output(loss(graph, logits, shares), "loss");
      Executor executor(make_device(device_name), with_gradients(std::move(graph), "loss"), {});
      executor.store()->load({{"logits", Tensor::from<float>({one.n, one.c}, one.logits)}});
      executor.set_input("labels", targets);
      executor.run();
      CHECK(executor.output("loss").values<float>()[0] == doctest::Approx(one.loss).epsilon(1e-6));
      const Tensor gradient = executor.store()->gradient("logits");
      REQUIRE(one.gradient.size() == one.logits.size());
      for (std::size_t i = 0; i < one.gradient.size(); ++i)
        CHECK(std::abs(gradient.values<float>()[i] - one.gradient[i]) <= 1e-6 * (1 + std::abs(one.gradient[i])));
    }
  }
}

TEST_CASE("targets refuse what makes no sense") {
  CHECK(error_of([] { targets_of({{2}}, 2, {}); }) == "a picture has label 2, and the model knows 2 classes");
  CHECK(error_of([] { targets_of({{0}}, 2, {.label_smoothing = 1}); }).find("between 0 and 1") != std::string::npos);
  CHECK(error_of([] { targets_of({{0}}, 2, {.class_weights = {1}}); }) == "1 class weights for 2 classes");
  CHECK(error_of([] { targets_of({{0}}, 2, {.class_weights = {1, 0}}); }) == "a class weight is above 0, not 0");
}

TEST_CASE("weights of several labels a picture are pairs: what is not there, and what is, by its weight") {
  const Tensor pairs = targets_of({{1}, {}}, 2, {.class_weights = {4, 3}, .multi_label = true});
  CHECK(pairs.shape() == Shape{2, 4});
  const std::vector<float> expected = {1, 0, 0, 3, 1, 0, 1, 0},
                           got(pairs.values<float>().begin(), pairs.values<float>().end());
  CHECK(got == expected);
  // In double precision, far from where single precision would show anything but the formula.
  const double x[] = {0.7, -1.3, 2.1, 0.2};
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    const double s = 1 / (1 + std::exp(-x[i]));
    sum -= expected[2 * i] * std::log(1 - s) + expected[2 * i + 1] * std::log(s);
  }
  Graph graph;
  const ValueId logits = graph.input("logits", {2, 2}), labels = graph.input("labels", {2, 4});
  graph.mark_output(weighted_binary_cross_entropy_loss()(graph, logits, labels), "loss");
  Executor executor(make_device("simt"), std::move(graph), {});
  executor.set_input("logits", Tensor::from<float>({2, 2}, std::vector<float>{0.7f, -1.3f, 2.1f, 0.2f}));
  executor.set_input("labels", pairs);
  executor.run();
  CHECK(executor.output("loss").values<float>()[0] == doctest::Approx(sum / 4).epsilon(1e-6));
}

TEST_CASE("a learner refuses targets that make no sense before it computes anything") {
  LearnerOptions options = tests::small_options();
  options.targets.class_weights = {1, 2, 3};
  CHECK(error_of([&] { learner(options); }) == "3 class weights for 2 classes");
}

TEST_CASE("class weights: balanced makes each class weigh the same, and a list is read or refused") {
  const Stripes data(9, 1);  // 5 of class 0, 4 of class 1
  const std::vector<float> weights = balanced_weights(data, 3);
  CHECK(weights[0] == doctest::Approx(9.0 / 3 / 5));
  CHECK(weights[1] == doctest::Approx(9.0 / 3 / 4));
  CHECK(weights[2] == 1);
  CHECK(parse_class_weights("", data, 2).empty());
  CHECK(parse_class_weights("1,2.5", data, 2) == std::vector<float>{1, 2.5f});
  CHECK(parse_class_weights("balanced", data, 2) == balanced_weights(data, 2));
  // Labels of 8 pictures: the first in 6 of them, the second in 2, the third in none.
  const Labelled several(8, 1);
  CHECK(balanced_weights(several, 3) == std::vector<float>{2.0f / 6, 6.0f / 2, 1});
  for (const char* wrong : {"1,x", "1,", "1,-2", "1,2,3", "nan,1"}) {
    CAPTURE(wrong);
    CHECK(error_of([&] { parse_class_weights(wrong, data, 2); }).find("--class-weights") == 0);
  }
}

TEST_CASE("a mixture: shares follow Beta(alpha, alpha), partners are a permutation, rows are blended") {
  double sum = 0, squares = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const double share = draw_mixture(0.2, 1, 0, i, 4).share;
    CHECK(share >= 0);
    CHECK(share <= 1);
    sum += share;
    squares += share * share;
  }
  const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
  CHECK(std::abs(mean - 0.5) < 0.03);
  CHECK(std::abs(variance - 0.25 / 1.4) < 0.01);  // 1 / (4 (2 alpha + 1))
  const Mixture mixture = draw_mixture(1, 3, 2, 5, 6), same = draw_mixture(1, 3, 2, 5, 6);
  CHECK(mixture.share == same.share);
  CHECK(mixture.partner == same.partner);
  CHECK(mixture.share != draw_mixture(1, 3, 2, 6, 6).share);
  std::vector<std::int64_t> sorted = mixture.partner;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});
  std::vector<float> rows = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, scratch;
  const std::vector<float> before = rows;
  mix_rows(rows.data(), 2, mixture, scratch);
  for (std::size_t i = 0; i < 12; ++i) {
    const std::size_t other = static_cast<std::size_t>(mixture.partner[i / 2]) * 2 + i % 2;
    CHECK(rows[i] == doctest::Approx(mixture.share * before[i] + (1 - mixture.share) * before[other]));
  }
}

TEST_CASE("smoothing of 0 and weights of 1 train like plain cross-entropy, and the rest learns and repeats itself") {
  LearnerOptions plain = tests::small_options(), shares = tests::small_options();
  shares.targets.class_weights = {1, 1};
  const auto rows = learner(plain).fit(0.02, 2), same = learner(shares).fit(0.02, 2);
  CHECK(same.back().train_loss == doctest::Approx(rows.back().train_loss).epsilon(1e-4));
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    for (const bool freeze : {false, true}) {
      LearnerOptions options = tests::small_options(device);
      options.targets.label_smoothing = 0.1;
      options.targets.class_weights = {1, 2};
      options.mixup = 0.4;
      options.freeze = freeze;
      const auto train = [&] {
        return Learner(tests::small_model(5), std::make_shared<Stripes>(29, 1, !freeze),
                       std::make_shared<Stripes>(13, 2), options);
      };
      Learner one = train(), two = train();
      const auto first = one.fit(0.05, freeze ? 2 : 5);
      two.fit(0.05, freeze ? 2 : 5);
      CHECK(tests::same_bits(one.model().state(), two.model().state()));
      if (!freeze) CHECK(first.back().accuracy > 0.9);
    }
  }
}

TEST_CASE("several labels a picture: trained, evaluated, kept in RUN, and used from there") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    TemporaryFolder folder;
    LearnerOptions options = tests::small_options(device);
    options.run = folder.path() / "run";
    Learner learn(tests::small_model(5), std::make_shared<Labelled>(40, 1), std::make_shared<Labelled>(16, 2), options);
    const auto rows = learn.fit(0.1, 6);
    CHECK(rows.back().train_loss < 0.5 * rows.front().train_loss);
    CHECK(rows.back().accuracy > 0.9);
    const RunConfig config = load_run_config(options.run);
    CHECK(config.multi_label);
    const Predictions kept = load_predictions(options.run / kPredictionsFile);
    const Evaluation evaluation = learn.validate();
    REQUIRE(kept.predictions.size() == 16);
    REQUIRE(evaluation.predictions.size() == 16);
    CHECK(evaluation.confusion.empty());
    for (std::size_t i = 0; i < 16; ++i) {
      CHECK(kept.predictions[i].labels == Labelled(16, 2).labels(static_cast<std::int64_t>(i)));
      CHECK(kept.predictions[i].probabilities == evaluation.predictions[i].probabilities);
      // Not a distribution: two labels may both be likely, or neither.
      for (const float p : kept.predictions[i].probabilities) CHECK((p > 0 && p < 1));
    }
    const ClassCounts& upright = evaluation.counts[0];
    CHECK(upright.tp + upright.fn == 12);
    CHECK(evaluation.counts[1].tp + evaluation.counts[1].fn == 4);
    CHECK(learn.predict(Labelled(4, 3)).at(0).labels.empty());
  }
  CHECK(error_of([] {
          Learner(tests::small_model(5), std::make_shared<Labelled>(8, 1), std::make_shared<Stripes>(8, 2),
                  tests::small_options());
        }).find("several labels") != std::string::npos);
}

TEST_CASE(
    "several labels a picture, weighed: a label that weighs more is said sooner, and weights of 1 change nothing") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    const auto trained = [&](std::vector<float> weights, bool freeze) {
      LearnerOptions options = tests::small_options(device);
      options.targets.class_weights = std::move(weights);
      options.freeze = freeze;
      Learner learn(tests::small_model(5), std::make_shared<Labelled>(40, 1), std::make_shared<Labelled>(16, 2),
                    options);
      const double loss = learn.fit(0.02, 1).back().train_loss;
      double said = 0;  // of the second label, which is seldom there
      for (const Prediction& one : learn.validate().predictions) said += one.probabilities[1];
      return std::pair(loss, said);
    };
    for (const bool freeze : {false, true}) {
      CAPTURE(freeze);
      const auto [plain_loss, plain] = trained({}, freeze);
      const auto [same_loss, same] = trained({1, 1}, freeze);
      CHECK(same_loss == doctest::Approx(plain_loss).epsilon(1e-4));
      CHECK(same == doctest::Approx(plain).epsilon(1e-3));
      CHECK(trained({1, 8}, freeze).second > plain + 0.5);
    }
  }
  LearnerOptions options = tests::small_options();
  options.targets.class_weights = {1, 2};
  options.loss = binary_cross_entropy_loss();
  CHECK(error_of([&] {
          Learner(tests::small_model(5), std::make_shared<Labelled>(8, 1), std::make_shared<Labelled>(8, 2), options);
        }).find("a loss of its own: weigh there") != std::string::npos);
}

TEST_CASE("a loss of one's own is given shares where they are asked for") {
  LearnerOptions options = tests::small_options();
  options.targets.label_smoothing = 0.2;
  options.loss = [](Graph& graph, ValueId logits, ValueId labels) {
    return ops::scale(graph, "loss", ops::cross_entropy_soft(graph, "mine", logits, labels), 2);
  };
  Learner learn = learner(options);
  const auto rows = learn.fit(0.02, 2);
  options.loss = nullptr;
  CHECK(learner(options).fit(0.01, 1).front().train_loss < rows.front().train_loss);
  // Validation is by the own loss as well, on plain labels.
  const Evaluation evaluation = learn.validate();
  double sum = 0;
  for (const Prediction& one : evaluation.predictions)
    sum -= std::log(static_cast<double>(one.probabilities[static_cast<std::size_t>(one.label)]));
  CHECK(evaluation.loss == doctest::Approx(2 * sum / 13).epsilon(1e-4));
}
