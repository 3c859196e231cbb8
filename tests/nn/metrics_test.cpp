// Metrics on a case worked out by hand (and equal to scikit-learn's), and predictions.json.

#include "nn/metrics.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "core/files.h"
#include "kernels/error.h"
#include "nn/predictions.h"
#include "tests/temporary_folder.h"

using namespace weft;

namespace {

/// Truth 0 0 0 1 1 2, said 0 1 0 1 2 2.
Evaluation six_pictures() {
  Scores scores(3);
  const int truth[] = {0, 0, 0, 1, 1, 2};
  const std::vector<float> logits[] = {{3, 1, 0}, {1, 2, 0}, {5, 1, 2}, {0, 4, 1}, {2, 1, 3}, {1, 0, 2}};
  for (int i = 0; i < 6; ++i) scores.add(logits[i], truth[i], fmt::format("p{}", i));
  return scores.result();
}

}  // namespace

TEST_CASE("precision, recall and F by class, macro, micro and top-k, worked out by hand") {
  const Evaluation result = six_pictures();
  CHECK(result.accuracy == doctest::Approx(4.0 / 6));
  CHECK(result.counts[0] == ClassCounts{2, 0, 1, 3});
  CHECK(result.counts[1] == ClassCounts{1, 1, 1, 3});
  CHECK(result.counts[2] == ClassCounts{1, 1, 0, 4});
  CHECK(precision(result.counts[0]) == doctest::Approx(1));
  CHECK(recall(result.counts[0]) == doctest::Approx(2.0 / 3));
  CHECK(f_beta(result.counts[0]) == doctest::Approx(0.8));
  CHECK(f_beta(result.counts[2], 2) == doctest::Approx(5.0 / 6));  // 5 / (5 + 0 + 1)
  CHECK(macro_precision(result.counts) == doctest::Approx((1 + 0.5 + 0.5) / 3));
  CHECK(macro_recall(result.counts) == doctest::Approx((2.0 / 3 + 0.5 + 1) / 3));
  CHECK(macro_f_beta(result.counts) == doctest::Approx((0.8 + 0.5 + 2.0 / 3) / 3));
  CHECK(micro_f_beta(result.counts) == doctest::Approx(4.0 / 6));
  CHECK(top_k_accuracy(result, 1) == doctest::Approx(4.0 / 6));
  CHECK(top_k_accuracy(result, 2) == doctest::Approx(5.0 / 6));  // picture 4's class comes third
  CHECK(top_k_accuracy(result, 3) == 1);
  CHECK(f_beta(ClassCounts{0, 0, 0, 9}) == 0);  // nothing to divide by
}

TEST_CASE("several labels a picture: F by picture, exact matches and the best threshold") {
  Scores scores(3, true);
  // logit 2 is 0.88, 0.5 is 0.62, -0.5 is 0.38, -2 is 0.12.
  scores.add(std::vector<float>{2, -2, 0.5f}, std::vector<int>{0, 2}, "all right");
  scores.add(std::vector<float>{2, -0.5f, -2}, std::vector<int>{0, 1}, "one missed");
  scores.add(std::vector<float>{0.5f, -2, -2}, std::vector<int>{}, "one too many");
  const Evaluation result = scores.result();
  CHECK(result.accuracy == doctest::Approx(7.0 / 9));
  CHECK(exact_match(result.predictions, 0.5) == doctest::Approx(1.0 / 3));
  CHECK(samples_f_beta(result.predictions, 0.5, 2) == doctest::Approx((1 + 5.0 / 9 + 0) / 3));
  CHECK(best_threshold(result.predictions, 2) == doctest::Approx(0.12));  // 0.11920 itself is no label above it
  CHECK(samples_f_beta(result.predictions, 0.3, 2) == doctest::Approx(2.0 / 3));
  CHECK(exact_match(result.predictions, 0.63) == doctest::Approx(1.0 / 3));
  CHECK(labels_above(result.predictions[0], 0.5) == std::vector<int>{0, 2});
  double loss = 0;
  for (const double x : {2.0, 2.0, 0.5, 2.0, 2.0, 2.0}) loss += std::log1p(std::exp(-x));
  loss += std::log1p(std::exp(0.5)) + std::log1p(std::exp(0.5)) + std::log1p(std::exp(-2.0));
  CHECK(result.loss == doctest::Approx(loss / 9));
}

TEST_CASE("predictions.json keeps what was said, and refuses what it is not") {
  test::TemporaryFolder folder;
  const auto path = folder.path() / "predictions.json";
  Predictions written{{"cats", "dogs", "owls"}, false, 0.5, six_pictures().predictions};
  written.predictions[0].path = "a \"quoted\" name \xff.jpg";
  written.predictions[1].label = -1;
  save_predictions(path, written);
  const Predictions read = load_predictions(path);
  CHECK(read.classes == written.classes);
  REQUIRE(read.predictions.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(read.predictions[i].label == written.predictions[i].label);
    CHECK(read.predictions[i].probabilities == written.predictions[i].probabilities);
    if (i > 0) CHECK(read.predictions[i].path == written.predictions[i].path);
  }
  Predictions several{{"cat", "dog"}, true, 0.4, {{"x.jpg", -1, {0.9f, 0.1f}, {0, 1}}}};
  save_predictions(path, several);
  CHECK(load_predictions(path).predictions[0].labels == std::vector<int>{0, 1});
  CHECK(load_predictions(path).threshold == 0.4);
  const auto refused = [&](const std::string& text) {
    write_file_atomically(path, text);
    try {
      load_predictions(path);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  CHECK(refused("{").find("not a file of predictions") != std::string::npos);
  CHECK(refused(R"({"classes": ["a", "b"], "multi_label": false,
                    "predictions": [{"path": "p", "label": "c", "probabilities": [1, 0]}]})")
            .find("\"c\" is not one of its classes") != std::string::npos);
  CHECK(refused(R"({"classes": ["a", "b"], "multi_label": false,
                    "predictions": [{"path": "p", "probabilities": [1]}]})")
            .find("1 probabilities") != std::string::npos);
}
