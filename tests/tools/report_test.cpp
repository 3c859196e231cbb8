// report.html: that it shows what predict says, and stands alone. (In a browser: report_browser_test.cpp.)

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/chart.h"
#include "data/image.h"
#include "tests/tools/harness.h"
#include "tests/tools/harness_report.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

/// A figure of the page: the file, and what stands above it.
struct Figure {
  std::string path, said, probability;
};

/// Those of one group of the page, in order.
std::vector<Figure> figures(const std::string& page, const std::string& of_class, const std::string& group) {
  const std::string open = "data-class=\"" + of_class + "\" data-group=\"" + group + "\">";
  const std::size_t start = page.find(open);
  REQUIRE(start != std::string::npos);
  const std::string part = page.substr(start, page.find("<h3>", start) - start);
  std::vector<Figure> found;
  const std::regex figure("<figure data-path=\"([^\"]*)\"><figcaption><b>(\\S+) ([0-9.]+)</b>");
  for (auto match = std::sregex_iterator(part.begin(), part.end(), figure); match != std::sregex_iterator(); ++match)
    found.push_back({(*match)[1], (*match)[2], (*match)[3]});
  std::size_t all = 0;
  for (std::size_t at = part.find("<figure "); at != std::string::npos; at = part.find("<figure ", at + 1)) ++all;
  CHECK(found.size() == all);
  return found;
}

std::vector<std::string> shown(const std::string& page, const std::string& of_class, const std::string& group) {
  std::vector<std::string> paths;
  for (const Figure& figure : figures(page, of_class, group)) paths.push_back(figure.path);
  return paths;
}

/// Bytes from base64, so that what the page holds is decoded by something else than what wrote it.
std::vector<std::uint8_t> decoded(const std::string& text) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint8_t> bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const std::size_t value = alphabet.find(c);
    REQUIRE(value != std::string::npos);
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::uint8_t>(bits >> count));
  }
  return bytes;
}

}  // namespace

TEST_CASE("report: the pictures shown as most incorrect are those that predict ranks so") {
  const auto predicted = dogs_vs_cats(
      {"predict", reported().run.string(), (drawn_sample() / "valid").string(), "--device", "cpu", "--json"});
  REQUIRE(predicted.status == 0);
  // By true class, which is the folder: wrong and right ones with the probability of what they were taken for.
  std::map<std::string, std::vector<std::pair<double, std::string>>> wrong, right;
  std::istringstream text(predicted.out);
  for (std::string line; std::getline(text, line);) {
    const auto json = nlohmann::json::parse(line);
    const std::string path = json["path"], truth = fs::path(path).parent_path().filename();
    (json["class"] == truth ? right : wrong)[truth].emplace_back(-json["probability"].get<double>(), path);
  }
  REQUIRE(!wrong.empty());
  REQUIRE(!right.empty());
  for (const char* of_class : {"cats", "dogs"}) {
    for (const auto& [group, ranked] : {std::pair{"most incorrect", &wrong}, std::pair{"most correct", &right}}) {
      auto expected = (*ranked)[of_class];
      std::ranges::stable_sort(expected, [](const auto& a, const auto& b) { return a.first < b.first; });
      expected.resize(std::min<std::size_t>(expected.size(), 4));
      std::vector<std::string> paths;
      for (const auto& [probability, path] : expected) paths.push_back(path);
      CAPTURE(of_class);
      CAPTURE(group);
      CHECK(shown(reported().page, of_class, group) == paths);
    }
    CHECK(shown(reported().page, of_class, "most uncertain").size() == 4);
  }
}

TEST_CASE("report: above each picture stands what predict says of that very file, in the order of its probability") {
  for (const char* of_class : {"cats", "dogs"}) {
    for (const char* group : {"most correct", "most incorrect", "most uncertain"}) {
      const std::vector<Figure> all = figures(reported().page, of_class, group);
      if (all.empty()) continue;
      std::vector<std::string> arguments = {"predict", reported().run.string()};
      for (const Figure& figure : all) arguments.push_back(figure.path);
      arguments.insert(arguments.end(), {"--device", "cpu", "--json"});
      const auto predicted = dogs_vs_cats(arguments);
      REQUIRE_MESSAGE(predicted.status == 0, predicted.err);
      std::map<std::string, nlohmann::json> by_path;
      std::istringstream text(predicted.out);
      for (std::string line; std::getline(text, line);) {
        auto json = nlohmann::json::parse(line);
        by_path[json["path"].get<std::string>()] = json;
      }
      double before = 1;
      for (const Figure& figure : all) {
        CAPTURE(of_class);
        CAPTURE(group);
        CAPTURE(figure.path);
        REQUIRE(by_path.contains(figure.path));
        const auto& json = by_path[figure.path];
        CHECK(figure.said == json["class"]);
        const double probability = json["probability"];
        CHECK(figure.probability == fmt::format("{:.4f}", probability));
        CHECK(fs::path(figure.path).parent_path().filename() == of_class);
        if (std::string(group) != "most uncertain") {
          CHECK((figure.said == of_class) == (std::string(group) == "most correct"));
          CHECK(probability <= before);
          before = probability;
        } else {
          // Of two classes the distance between both is that of the likelier one from a half.
          if (&figure != &all.front()) CHECK(probability >= before);
          before = probability;
        }
      }
    }
  }
}

TEST_CASE("report: one file that needs nothing beside it, and every picture in it decodes") {
  const std::string& page = reported().page;
  for (const char* outside : {"http://", "https://", "src=\"/", "url("}) {
    std::string rest = page;
    // Names of XML's namespaces are no addresses that anything fetches.
    rest = std::regex_replace(rest, std::regex("xmlns(:xlink)?=\"[^\"]*\""), "");
    CHECK_MESSAGE(rest.find(outside) == std::string::npos, outside);
  }
  const auto uris = data_uris(page);
  CHECK(uris.size() > 16);
  std::set<std::string> kinds;
  for (const std::string& uri : uris) {
    const std::size_t comma = uri.find(";base64,");
    REQUIRE(comma != std::string::npos);
    kinds.insert(uri.substr(0, comma));
    const weft::Image image = weft::decode_image(decoded(uri.substr(comma + 8)), "in the page");
    CHECK(image.width >= 32);
  }
  CHECK(kinds == std::set<std::string>{"data:image/jpeg", "data:image/png"});
  for (const char* part : {"A lenet learned to tell cats and dogs apart from 40 pictures", "most confused", "conv1",
                           "Grad-CAM", "<td>20</td>", "--arch lenet"})
    CHECK_MESSAGE(std::regex_search(page, std::regex(part, std::regex::icase)), part);
}

TEST_CASE("report: the most exciting patches of each convolution's layer, or of the last of each size") {
  const auto layers = [](const std::string& page) {
    std::vector<std::string> names;
    const std::regex open("<details data-layer=\"([^\"]*)\"( open)?>");
    for (auto match = std::sregex_iterator(page.begin(), page.end(), open); match != std::sregex_iterator(); ++match)
      names.push_back((*match)[1].str() + (*match)[2].str());
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(layers(reported().page) == Names{"conv1 open", "conv2 open"});  // a lenet has no ReLU behind them
  CHECK(reported().page.find("looked for in 10 of 10 validation pictures.") != std::string::npos);
  const TemporaryFolder folder;
  const std::string run = (folder / "run").string();
  const auto trained = dogs_vs_cats({"train", drawn_sample().string(), "--out", run, "--arch", "resnet18", "--size",
                                     "32", "--batch", "8", "--epochs", "1", "--device", "cpu"});
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const auto with = [&](const std::string& which) {
    const auto made = dogs_vs_cats({"report", run, "--device", "cpu", "--no-audit", "--layers", which});
    REQUIRE_MESSAGE(made.status == 0, made.err);
    return layers(read_all(folder / "run/report.html"));
  };
  // Its first convolution, and two in each of eight blocks: the shortcuts' end in the same ReLU as a block's second.
  const Names all = with("all");
  CHECK(all.size() == 17);
  CHECK(std::ranges::count_if(all, [](const std::string& name) { return name.ends_with(" open"); }) == 5);
  CHECK(all.back() == "layer4.1.relu open");
  Names last;
  std::ranges::copy_if(all, std::back_inserter(last), [](const std::string& name) { return name.ends_with(" open"); });
  CHECK(with("sizes") == last);
}

TEST_CASE("report: what lr-find left in the folder is drawn, with the suggestions that it printed") {
  const std::string& page = reported().page;
  CHECK(page.find("The rate, looked for beforehand") != std::string::npos);
  if (weft::can_draw()) CHECK(page.find("Loss by learning rate") != std::string::npos);
  int compared = 0;
  for (const char* name : {"proposed", "valley", "steepest", "minimum / 10"}) {
    CAPTURE(name);
    std::smatch rate;
    const std::regex line(std::string("\n").append(name).append(" +([0-9.e+-]+) "));
    const bool printed = std::regex_search(reported().searched, rate, line);
    const std::string cell = std::string("<td>").append(name).append("</td>");
    CHECK((page.find(cell) != std::string::npos) == printed);
    if (!printed) continue;
    CHECK(page.find(cell + std::string("<td>").append(rate[1]).append("</td>")) != std::string::npos);
    ++compared;
  }
  CHECK(compared >= 3);  // there need not be a proposal
}

TEST_CASE("report: every chart has both axes and says its values under the mouse") {
  if (!weft::can_draw()) {
    MESSAGE("skipped: no gnuplot");
    return;
  }
  const std::string& page = reported().page;
  // Title, horizontal axis, vertical axis with its unit, and what one of its marks says.
  const std::vector<std::array<const char*, 4>> charts = {
      {"Loss", "epoch", "loss (nats)", "validation loss [0-9.e-]+ at epoch 1"},
      {"Accuracy and F1", "epoch", "%", "macro F1 [0-9.e-]+ at epoch 1"},
      {"Learning rate", "step", "learning rate", "learning rate 0.01 at step 4"},
      {"Training loss, smoothed", "step", "loss (nats)", "loss .nats. [0-9.e-]+ at step 4"},
      {"Loss by learning rate", "learning rate", "loss (nats)", "smoothed [0-9.e-]+ at learning rate [0-9.e-]+"},
      {"Pictures of each class", "class", "pictures", "dogs, training: 20 pictures"},
  };
  std::size_t drawn = 0;
  for (std::size_t at = page.find("<svg"); at != std::string::npos; at = page.find("<svg", at + 1), ++drawn) {
    REQUIRE(drawn < charts.size());
    const std::string svg = page.substr(at, page.find("</svg>", at) - at);
    const auto& [title, x, y, mark] = charts[drawn];
    CAPTURE(title);
    for (const char* text : {title, x, y})
      CHECK_MESSAGE(svg.find(std::string(">").append(text).append("<")) != std::string::npos, text);
    CHECK(std::regex_search(svg, std::regex(std::string("showHypertext\\(evt,'").append(mark).append("'\\)"))));
  }
  CHECK(drawn == charts.size());
}

TEST_CASE("report: stages and whatever else was asked for are told in words; what is the default is not") {
  const std::string& plain = reported().page;
  CHECK(plain.find("It went through the pictures 1 time, at a learning rate of 0.01 (constant schedule). "
                   "It used batches of 8 pictures. Of ") != std::string::npos);
  const TemporaryFolder folder;
  const auto told = [&](const char* name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"train",           drawn_sample().string(),
                                          "--out",           (folder / name).string(),
                                          "--arch",          "squeezenet1_1",
                                          "--size",          "32",
                                          "--device",        "cpu",
                                          "--feature-cache", "none"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto trained = dogs_vs_cats(arguments);
    REQUIRE_MESSAGE(trained.status == 0, trained.err);
    const auto made = dogs_vs_cats({"report", (folder / name).string(), "--device", "cpu", "--no-audit"});
    REQUIRE_MESSAGE(made.status == 0, made.err);
    const std::string page = read_all(folder / name / "report.html");
    return page.substr(page.find("<p>A "), page.find("<div class=\"cards\">") - page.find("<p>A "));
  };
  const std::string staged =
      told("staged", {"--stages", "head:2@1e-2; features.12:1@1e-3; all:sgdr(1 cycles, cycle_mult=2)@1e-4,1e-3,1e-2",
                      "--policy", "cosine", "--augment", "side-on", "--cutout", "0.25", "--mixup", "0.2",
                      "--label-smoothing", "0.1", "--ema", "0.9", "--clip", "2"});
  CAPTURE(staged);
  CHECK(staged.find("It was trained in 3 stages: its head alone, 2 epochs at a learning rate of up to 0.01 (cosine "
                    "schedule); its layers from features.12 on, 1 epoch at a learning rate of up to 0.001 (cosine "
                    "schedule); then all its layers, 1 epoch at learning rates of up to 0.0001, 0.001 and 0.01 from "
                    "its input to its head (sgdr schedule, cycle_mult 2). It used augmented pictures (side-on, cutout "
                    "0.25; not while its head alone was trained), mixup (alpha 0.2), label smoothing of 0.1, gradients "
                    "clipped to a norm of 2 and the exponential average of its weights (decay 0.9). Of 10 ") !=
        std::string::npos);
  const std::string head = told("head", {"--freeze", "--epochs", "2", "--lr", "0.05", "--weight-decay", "0.001",
                                         "--warmup", "0.5", "--best", "accuracy"});
  CAPTURE(head);
  CHECK(head.find("Only its last layer was trained; the layers below were kept as they came. It went through the "
                  "pictures 2 times, at a learning rate of 0.05 (constant schedule, warmup 0.5). It used weight decay "
                  "0.001 and the weights of its best epoch by accuracy. Of ") != std::string::npos);
}

TEST_CASE("report: pictures with several labels each") {
  const TemporaryFolder folder;
  const std::string data = (folder / "sample").string(), run = (folder / "run").string();
  REQUIRE(dogs_vs_cats({"sample", data, "--labels", "--count", "32", "--size", "48"}).status == 0);
  const auto trained = dogs_vs_cats({"train", data, "--out", run, "--arch", "lenet", "--size", "32", "--batch", "8",
                                     "--epochs", "1", "--device", "cpu"});
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const auto made = dogs_vs_cats({"report", run, "--device", "cpu"});
  REQUIRE_MESSAGE(made.status == 0, made.err);
  const std::string page = read_all(folder / "run/report.html");
  CHECK(page.find("learned which of the labels") != std::string::npos);
  CHECK(page.find("<th>wrongly said</th>") != std::string::npos);
  // What is shown as most uncertain is closest to the threshold of all that predictions.json has.
  const auto kept = nlohmann::json::parse(read_all(folder / "run/predictions.json"));
  const std::string label = kept["classes"][0];
  std::vector<std::pair<double, std::string>> ranked;
  for (const auto& one : kept["predictions"])
    ranked.emplace_back(std::abs(one["probabilities"][0].get<double>() - 0.5), one["path"]);
  std::ranges::stable_sort(ranked, [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < 4; ++i) expected.push_back(ranked[i].second);
  CHECK(shown(page, label, "most uncertain") == expected);
}

TEST_CASE("report: a run that is none, and data that moved, are one line each") {
  const TemporaryFolder folder;
  // What, where, and what to do: of no folder, of one that is no RUN, of a RUN that lost its model.
  fs::create_directories(folder / "empty");
  fs::create_directories(folder / "lost");
  fs::copy(reported().run / "config.json", folder / "lost/config.json");
  for (const auto& [name, what] : {std::pair{"nowhere", "no such folder: "},
                                   {"empty", "no config.json here: "},
                                   {"lost", "no model.safetensors here: "}}) {
    const auto none = dogs_vs_cats({"report", (folder / name).string(), "--device", "cpu"});
    CAPTURE(none.err);
    CHECK(none.status == 1);
    CHECK(lines(none.err) == 1);
    CHECK(none.err.find((folder / name).string() + ": " + what) != std::string::npos);
    CHECK(none.err.find("`train --out RUN`") != std::string::npos);
  }
  auto config = nlohmann::json::parse(read_all(reported().run / "config.json"));
  config["options"]["DATA"] = "/nowhere/at/all";
  write_all(folder / "moved/config.json", config.dump());
  fs::copy(reported().run / "model.safetensors", folder / "moved/model.safetensors");
  const auto moved = dogs_vs_cats({"report", (folder / "moved").string(), "--device", "cpu"});
  CHECK(moved.status == 1);
  CHECK(lines(moved.err) == 1);
  CHECK(moved.err.find("/nowhere/at/all, which is not there: give --data DATA") != std::string::npos);
}
