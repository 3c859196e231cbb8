// Augmentation, soft labels, several labels a picture and a second data set, through the program.

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;
using nlohmann::json;

namespace {

std::vector<std::string> train(const fs::path& data, const fs::path& run, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"train", data.string(), "--out", run.string(), "--device", "cpu",    "--size",
                                        "32",    "--batch",     "8",     "--epochs",   "2",        "--arch", "lenet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json evaluated(const fs::path& run, const fs::path& data, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"evaluate", run.string(), data.string(), "--device", "cpu", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const auto result = dogs_vs_cats(arguments);
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  return json::parse(result.out);
}

/// Writes RUN's report, which says `words`, and of every class what `evaluate` said of it.
void check_report(const fs::path& run, const json& evaluation, const std::string& words) {
  const auto made = dogs_vs_cats({"report", run.string(), "--device", "cpu"});
  REQUIRE_MESSAGE(made.status == 0, made.err);
  const std::string page = read_all(run / "report.html");
  CHECK(page.find(words) != std::string::npos);
  const auto row = [](const std::string& name, const json& metrics) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(4);
    for (const char* metric : {"precision", "recall", "f1"}) text << "<td>" << metrics[metric].get<double>() << "</td>";
    return std::pair("<tr><td>" + name + "</td>", text.str());
  };
  std::vector<std::pair<std::string, std::string>> rows = {row("(mean)", evaluation["macro"])};
  for (const auto& [name, metrics] : evaluation["by_class"].items()) {
    rows.push_back(row(name, metrics));
    CHECK(page.find("data-class=\"" + name + "\" data-group=\"most uncertain\"") != std::string::npos);
  }
  for (const auto& [name, numbers] : rows) {
    CAPTURE(name);
    CAPTURE(numbers);
    bool there = false;  // a class's row is the one with its numbers: other tables have a row of that name too
    for (std::size_t at = page.find(name); at != std::string::npos; at = page.find(name, at + 1))
      there = there || page.substr(at, page.find("</tr>", at) - at).ends_with(numbers);
    CHECK(there);
  }
}

bool is_png(const fs::path& path) {
  return read_all(path).starts_with("\x89PNG");
}

}  // namespace

TEST_CASE("augmented, mixed and smoothed: a sheet of what the model saw, the same bits again, and TTA") {
  const TemporaryFolder folder;
  const std::vector<std::string> options = {
      "--augment",  "side-on", "--cutout",          "0.3", "--mixup",         "0.2",     "--erase", "0.2",
      "--lighting", "0.2",     "--label-smoothing", "0.1", "--class-weights", "balanced"};
  std::string former;
  for (const char* name : {"one", "two"}) {
    const auto run = folder / name;
    const auto result = dogs_vs_cats(train(drawn_sample(), run, options));
    CAPTURE(result.err);
    REQUIRE(result.status == 0);
    CHECK(is_png(run / "augmented.png"));
    const std::string weights = read_all(run / "model.safetensors") + read_all(run / "augmented.png");
    if (!former.empty()) CHECK(weights == former);
    former = weights;
  }
  const auto run = folder / "one";
  // `augment` shows the same, partners of mixup from the whole batch included.
  const auto sheet = [&](const char* batch) {
    std::vector<std::string> arguments = {"augment", drawn_sample().string(), "--size",  "32", "--count", "8",
                                          "--out",   folder / "sheet.png",    "--batch", batch};
    arguments.insert(arguments.end(), options.begin(), options.end() - 4);  // but for labels
    const auto result = dogs_vs_cats(arguments);
    REQUIRE_MESSAGE(result.status == 0, result.err);
    return read_all(folder / "sheet.png");
  };
  CHECK(sheet("8") == read_all(run / "augmented.png"));
  CHECK(sheet("16") != read_all(run / "augmented.png"));
  const json kept = json::parse(read_all(run / "predictions.json"));
  CHECK(kept["classes"] == json({"cats", "dogs"}));
  REQUIRE(kept["predictions"].size() == 10);
  // F-beta by its definition, from the confusion matrix; F1 stands beside any other, F2 where none is asked for.
  const json asked = evaluated(run, drawn_sample(), {"--beta", "0.5"}), standard = evaluated(run, drawn_sample());
  CHECK(asked["beta"] == 0.5);
  CHECK(standard["by_class"]["cats"].contains("f2"));
  double mean = 0;
  for (std::size_t c = 0; c < 2; ++c) {
    const double tp = asked["confusion"][c][c], fn = asked["confusion"][c][1 - c], fp = asked["confusion"][1 - c][c];
    const double p = tp > 0 ? tp / (tp + fp) : 0, r = tp / (tp + fn);
    const double f_half = tp > 0 ? 1.25 * p * r / (0.25 * p + r) : 0;
    const json& of_class = asked["by_class"][std::string(c == 0 ? "cats" : "dogs")];
    CHECK(of_class["f0.5"].get<double>() == doctest::Approx(f_half));
    CHECK(of_class["f1"].get<double>() == doctest::Approx(tp > 0 ? 2 * p * r / (p + r) : 0));
    mean += f_half / 2;
  }
  CHECK(asked["macro"]["f0.5"].get<double>() == doctest::Approx(mean));
  CHECK(dogs_vs_cats({"evaluate", run.string(), drawn_sample().string(), "--beta", "0"}).status == 2);
  // What training left is what evaluate says of the validation pictures, and predict of each.
  const json plain = evaluated(run, drawn_sample());
  const json again = json::parse(read_all(run / "predictions.json"));
  int right = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    const json &a = kept["predictions"][i], &b = again["predictions"][i];
    CHECK(a["path"] == b["path"]);
    CHECK(a["predicted"] == b["predicted"]);
    CHECK(std::abs(a["probabilities"][0].get<double>() - b["probabilities"][0].get<double>()) < 1e-5);
    right += a["label"] == a["predicted"];
  }
  CHECK(plain["accuracy"].get<double>() == doctest::Approx(right / 10.0));
  for (const char* key : {"by_class", "macro", "micro_f1", "confusion"}) CHECK(plain.contains(key));
  CHECK(plain["by_class"]["cats"]["pictures"] == 5);

  const json tta = evaluated(run, drawn_sample(), {"--tta", "4"}),
             same = evaluated(run, drawn_sample(), {"--tta", "4"});
  CHECK(tta["loss"] == same["loss"]);
  CHECK(tta["loss"] != plain["loss"]);
  const auto predicted = dogs_vs_cats(
      {"predict", run.string(), (drawn_sample() / "valid").string(), "--device", "cpu", "--tta", "4", "--json"});
  REQUIRE(predicted.status == 0);
  const json with_tta = json::parse(read_all(run / "predictions.json"));
  std::istringstream text(predicted.out);
  int compared = 0;
  for (std::string line; std::getline(text, line);) {
    const json one = json::parse(line);
    for (const json& other : with_tta["predictions"])
      if (other["path"] == one["path"]) {
        CHECK(std::abs(other["probabilities"][0].get<double>() - one["probabilities"]["cats"].get<double>()) < 1e-5);
        ++compared;
      }
  }
  CHECK(compared == 10);
}

TEST_CASE("augment draws a sheet, and wrong sets and weights are usage errors") {
  const TemporaryFolder folder;
  const auto sheet = (folder / "sheet.png").string();
  const auto drawn = dogs_vs_cats({"augment", drawn_sample().string(), "--out", sheet, "--size", "40", "--count", "3",
                                   "--versions", "5", "--augment", "top-down"});
  CHECK(drawn.status == 0);
  CHECK(is_png(sheet));
  const auto wrong = dogs_vs_cats(train(drawn_sample(), folder / "run", {"--augment", "upside-down"}));
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find("none, crop, side-on, top-down") != std::string::npos);
  CHECK(dogs_vs_cats(train(drawn_sample(), folder / "run", {"--class-weights", "1,2,3"})).status == 2);
}

TEST_CASE("several labels a picture go the whole way, with frozen features too") {
  const TemporaryFolder folder;
  const auto data = folder / "scenes";
  REQUIRE(dogs_vs_cats({"sample", data.string(), "--labels", "--count", "32", "--size", "48"}).status == 0);
  const auto run = folder / "run";
  const auto trained =
      dogs_vs_cats(train(data, run, {"--policy", "one-cycle", "--augment", "side-on", "--mixup", "0.1"}));
  CAPTURE(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(trained.out.find("4 labels") != std::string::npos);
  CHECK(json::parse(read_all(run / "config.json"))["multi_label"] == true);
  const json result = evaluated(run, data, {"--threshold", "0.3", "--tta", "2"});
  CHECK(result["threshold"] == 0.3);
  CHECK_FALSE(result.contains("confusion"));
  CHECK(result["by_class"].size() == 4);
  CHECK(result["samples_f2"].get<double>() >= 0);
  const json kept = json::parse(read_all(run / "predictions.json"));
  CHECK(kept["multi_label"] == true);
  REQUIRE(kept["predictions"].size() == 8);
  CHECK(kept["predictions"][0]["labels"].is_array());
  const auto predicted =
      dogs_vs_cats({"predict", run.string(), (data / "valid").string(), "--device", "cpu", "--threshold", "0"});
  REQUIRE(predicted.status == 0);
  CHECK(lines(predicted.out) == 8);
  CHECK(std::count(predicted.out.begin(), predicted.out.end(), '\t') == 8 * 4 * 2);
  CHECK(dogs_vs_cats(train(data, folder / "frozen", {"--arch", "resnet18", "--freeze"})).status == 0);
  const auto mismatch = dogs_vs_cats({"evaluate", run.string(), drawn_sample().string(), "--device", "cpu"});
  CHECK(mismatch.status == 1);
  CHECK(mismatch.err.find("labels.csv") != std::string::npos);
}

TEST_CASE("several labels a picture, weighed: trained, evaluated and reported, with the same numbers in each") {
  const TemporaryFolder folder;
  const auto data = folder / "scenes", run = folder / "run";
  REQUIRE(dogs_vs_cats({"sample", data.string(), "--labels", "--count", "32", "--size", "48"}).status == 0);
  const auto trained = dogs_vs_cats(train(data, run, {"--class-weights", "balanced", "--best", "macro_f1"}));
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const json result = evaluated(run, data);
  check_report(run, result, "learned which of the labels");
  CHECK(dogs_vs_cats(train(data, folder / "wrong", {"--class-weights", "1,2"})).status == 2);
}

TEST_CASE("digits, as class folders and as they come, go the whole way to the report") {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& bytes) {
    write_all(folder / "idx" / name, bytes);
  };
  fs::create_directories(folder / "idx");
  const auto pictures = [](char count) {
    std::string bytes("\0\0\x08\x03\0\0\0", 7);
    bytes += count;
    bytes += std::string("\0\0\0\x1c\0\0\0\x1c", 8);
    for (int i = 0; i < count; ++i)
      for (int p = 0; p < 28 * 28; ++p) bytes += static_cast<char>(p % 28 / 3 == i % 10 ? 255 : 0);
    return bytes;
  };
  const auto labels = [](char count) {
    std::string bytes("\0\0\x08\x01\0\0\0", 7);
    bytes += count;
    for (int i = 0; i < count; ++i) bytes += static_cast<char>(i % 10);
    return bytes;
  };
  write("train-images-idx3-ubyte", pictures(60));
  write("train-labels-idx1-ubyte", labels(60));
  write("t10k-images-idx3-ubyte", pictures(20));
  write("t10k-labels-idx1-ubyte", labels(20));
  const auto data = folder / "digits";
  const auto unpacked = dogs_vs_cats({"unpack", (folder / "idx").string(), data.string(), "--count", "40"});
  CAPTURE(unpacked.err);
  REQUIRE(unpacked.status == 0);
  CHECK(unpacked.out.find("50 pictures") != std::string::npos);
  for (const fs::path& from : {data, folder / "idx"}) {
    CAPTURE(from);
    const auto run = folder / ("run-of-" + from.filename().string());
    const auto trained = dogs_vs_cats(train(from, run, {"--augment", "none", "--lr", "0.02"}));
    REQUIRE_MESSAGE(trained.status == 0, trained.err);
    const json result = evaluated(run, from);
    CHECK(result["classes"].size() == 10);
    CHECK(result["top_5"].get<double>() >= result["top_3"].get<double>());
    CHECK(result["top_3"].get<double>() >= result["accuracy"].get<double>());
    check_report(run, result, "learned to tell 0, 1, 2, 3, 4, 5, 6, 7, 8 and 9 apart from");
  }
}
