// dogs_vs_cats compare: two runs' predictions.json, made by hand, against counts and p worked out by hand.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/paired_comparison.h"
#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;
using weft::Prediction;
using weft::Predictions;

namespace {

/// Pictures FOLDER/cats/0.jpg and so on, half of them dogs; the i-th is right where `right[i]` is '+'.
Predictions run_of(const std::string& folder, const std::string& right) {
  Predictions result{.classes = {"cats", "dogs"}, .predictions = {}};
  for (std::size_t i = 0; i < right.size(); ++i) {
    const int label = i < right.size() / 2 ? 0 : 1;
    const bool says_cat = (label == 0) == (right[i] == '+');
    const std::string path = folder + (label == 0 ? "/cats/" : "/dogs/") + std::to_string(i) + ".jpg";
    result.predictions.push_back({path, label, {says_cat ? 0.75f : 0.25f, says_cat ? 0.25f : 0.75f}});
  }
  return result;
}

struct TwoRuns {
  TemporaryFolder folder;
  std::string a = (folder / "a").string(), b = (folder / "b").string();

  TwoRuns() {
    fs::create_directories(a);
    fs::create_directories(b);
  }
  ProcessResult compare(const Predictions& in_a, const Predictions& in_b, const std::vector<std::string>& more = {}) {
    save_predictions(fs::path(a) / "predictions.json", in_a);
    save_predictions(fs::path(b) / "predictions.json", in_b);
    std::vector<std::string> arguments = {"compare", a, b};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return dogs_vs_cats(arguments);
  }
  /// Refused in one line that holds `words`.
  void refuses(const Predictions& in_a, const Predictions& in_b, const std::string& words) {
    const ProcessResult result = compare(in_a, in_b);
    CAPTURE(result.err);
    CHECK(result.status == 1);
    CHECK(lines(result.err) == 1);
    CHECK_MESSAGE(result.err.find(words) != std::string::npos, words);
    CHECK(result.out.empty());
  }
};

}  // namespace

TEST_CASE("compare: counts, names and p of two runs that name the same pictures from different places") {
  TwoRuns runs;
  const Predictions a = run_of("data/valid", "++----+-++"), b = run_of("/elsewhere/valid", "++++++-+++");
  const auto text = runs.compare(a, b, {"--list"});
  CAPTURE(text.err);
  REQUIRE(text.status == 0);
  CHECK(text.out.find("A: accuracy 50.00%, 5 of 10 pictures") == 0);
  CHECK(text.out.find("\nB: accuracy 90.00%, 9 of 10 pictures") != std::string::npos);
  CHECK(
      text.out.find("\n5 mended (A wrong, B right), 1 broken (A right, B wrong); 4 right in both, 0 wrong in both\n") !=
      std::string::npos);
  // 2 (C(6, 0) + C(6, 1)) / 2^6 = 14 / 64.
  CHECK(text.out.find("\np = 0.2188: ") != std::string::npos);
  CHECK(text.out.find("\nmended\t/elsewhere/valid/cats/2.jpg\n") != std::string::npos);
  CHECK(text.out.ends_with("\nbroken\t/elsewhere/valid/dogs/6.jpg\n"));

  const auto json = nlohmann::json::parse(runs.compare(a, b, {"--json", "--list"}).out);
  CHECK(json["pictures"] == 10);
  CHECK(json["a"]["right"] == 5);
  CHECK(json["a"]["accuracy"] == 0.5);
  CHECK(json["b"]["accuracy"] == 0.9);
  CHECK(json["b"]["run"] == runs.b);
  CHECK(json["mended"] == 5);
  CHECK(json["broken"] == 1);
  CHECK(json["right_in_both"] == 4);
  CHECK(std::abs(json["p"].get<double>() - 14.0 / 64) < 1e-12);
  CHECK(json["mended_pictures"].size() == 5);
  CHECK(json["broken_pictures"] == nlohmann::json({"/elsewhere/valid/dogs/6.jpg"}));

  // The other way round what was mended is broken; a run beside itself differs nowhere; a file does for its folder.
  const auto turned = nlohmann::json::parse(runs.compare(b, a, {"--json"}).out);
  CHECK(turned["mended"] == 1);
  CHECK(turned["broken"] == 5);
  CHECK_FALSE(turned.contains("mended_pictures"));
  const auto same = dogs_vs_cats({"compare", runs.a, runs.a + "/predictions.json", "--json"});
  CHECK(nlohmann::json::parse(same.out)["p"] == 1.0);
  CHECK(nlohmann::json::parse(same.out)["mended"] == 0);
}

TEST_CASE("compare: pictures in another order are the same pictures") {
  TwoRuns runs;
  Predictions a = run_of("x", "+-+-"), b = run_of("x", "++--");
  std::reverse(b.predictions.begin(), b.predictions.end());
  const auto json = nlohmann::json::parse(runs.compare(a, b, {"--json", "--list"}).out);
  CHECK(json["mended_pictures"] == nlohmann::json({"x/cats/1.jpg"}));
  CHECK(json["broken_pictures"] == nlohmann::json({"x/dogs/2.jpg"}));
}

TEST_CASE("compare: with several labels a picture is right where all are, at each run's own threshold") {
  TwoRuns runs;
  const auto labelled = [](double threshold) {
    return Predictions{{"cat", "indoors"},
                       true,
                       threshold,
                       {{"d/1.jpg", -1, {0.9f, 0.4f}, {0, 1}}, {"d/2.jpg", -1, {0.8f, 0.1f}, {0}}}};
  };
  const auto json = nlohmann::json::parse(runs.compare(labelled(0.5), labelled(0.3), {"--json", "--list"}).out);
  CHECK(json["a"]["right"] == 1);
  CHECK(json["b"]["right"] == 2);
  CHECK(json["mended_pictures"] == nlohmann::json({"d/1.jpg"}));
  runs.refuses(labelled(0.5), run_of("d", "++"), "several labels");
}

TEST_CASE("compare: what cannot be compared is refused in a line") {
  TwoRuns runs;
  const Predictions whole = run_of("data/valid", "++--++");
  Predictions other_classes = whole, fewer = whole, renamed = whole, relabelled = whole, unknown = whole, twice = whole;
  other_classes.classes = {"cats", "wolves"};
  fewer.predictions.erase(fewer.predictions.begin() + 1);
  renamed.predictions[4].path = "data/valid/dogs/rex.jpg";
  relabelled.predictions[2].label = 1;
  unknown.predictions[3].label = -1;
  twice.predictions[5].path = twice.predictions[4].path;
  runs.refuses(whole, other_classes, "cats, wolves");
  runs.refuses(whole, fewer, "data/valid/cats/1.jpg");
  runs.refuses(fewer, whole, "data/valid/cats/1.jpg");
  runs.refuses(renamed, whole, "data/valid/dogs/rex.jpg");
  runs.refuses(whole, relabelled, "data/valid/cats/2.jpg");
  runs.refuses(whole, unknown, "does not know the class of data/valid/dogs/3.jpg");
  runs.refuses(twice, whole, "has data/valid/dogs/4.jpg twice");
  runs.refuses(whole, run_of("x", ""), "no picture");
  const auto nowhere = dogs_vs_cats({"compare", runs.a, (runs.folder / "none").string()});
  CHECK(nowhere.status == 1);
  CHECK(lines(nowhere.err) == 1);
  CHECK(nowhere.err.find("evaluate RUN DATA") != std::string::npos);
}

TEST_CASE("the sign test's p is exact") {
  using weft::sign_test;
  CHECK(sign_test(0, 0) == 1);
  CHECK(sign_test(1, 0) == doctest::Approx(1).epsilon(1e-12));
  CHECK(sign_test(3, 3) == 1);
  CHECK(sign_test(9, 1) == doctest::Approx(22.0 / 1024).epsilon(1e-12));
  CHECK(sign_test(1, 9) == sign_test(9, 1));
  CHECK(sign_test(0, 20) == doctest::Approx(std::ldexp(1.0, -19)).epsilon(1e-12));
  // Beyond n = 1023, where C(n, i) leaves a double's range: one side alone is 2 / 2^n, and an even split is no sign.
  CHECK(sign_test(0, 1070) == doctest::Approx(std::ldexp(1.0, -1069)));
  CHECK(sign_test(2000, 2000) == 1);
  // n = 2000, 50 more one way than the other: by the normal approximation, corrected for continuity, 2 Phi(-49 / sqrt
  // n).
  CHECK(sign_test(1025, 975) == doctest::Approx(std::erfc(49 / std::sqrt(2 * 2000.0))).epsilon(1e-3));
}
