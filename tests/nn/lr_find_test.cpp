// The learning-rate finder leaves a learner as it was, to the byte, however it ends.

#include "nn/lr_find.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/image_folder.h"
#include "kernels/error.h"
#include "tests/nn/harness.h"
#include "tests/real_data.h"

using namespace weft;
using namespace weft::tests;

namespace {

LearnerOptions options(bool freeze) {
  LearnerOptions result;
  result.device = "simt";
  result.batch = 8;
  result.freeze = freeze;
  return result;
}

Learner learner(bool freeze) {
  return {small_model(3), std::make_shared<Stripes>(24, 1), std::make_shared<Stripes>(8, 2), options(freeze)};
}

/// The optimiser's, between two calls of fit() as well.
class Velocities : public Callback {
 public:
  void begin_fit(Training& training) override { store_ = &training.store(); }
  StateDict now() const { return store_->save_velocity(); }

 private:
  ParameterStore* store_ = nullptr;
};

const LrFindOptions kShort = {.sweep = {.lowest = 1e-4, .highest = 1, .steps = 20}};

}  // namespace

TEST_CASE("lr_find: training after it comes to the bytes of training without it") {
  for (const bool freeze : {false, true}) {
    CAPTURE(freeze);
    Learner plain = learner(freeze), searched = learner(freeze);
    plain.fit(0.05, 1);
    searched.fit(0.05, 1);
    const StateDict before = searched.model().state();
    const LrFindResult result = searched.lr_find(kShort);
    CHECK((result.points.size() == 20 || result.diverged));
    CHECK(result.points.front().lr == doctest::Approx(1e-4));
    CHECK(same_bits(searched.model().state(), before));
    plain.fit(0.05, 1);
    searched.fit(0.05, 1);
    CHECK(same_bits(searched.model().state(), plain.model().state()));
    CHECK_FALSE(same_bits(searched.model().state(), before));
  }
}

TEST_CASE("lr_find: stopped, or ended by an exception, it has changed nothing") {
  Learner plain = learner(false), searched = learner(false);
  const auto velocities = std::make_shared<Velocities>();
  plain.fit(0.05, 1);
  searched.add(velocities).fit(0.05, 1);
  const StateDict before = searched.model().state(), velocity = velocities->now();
  bool moved = false;
  for (const auto& [name, tensor] : velocity) moved |= largest_difference(tensor, Tensor::zeros(tensor.shape())) > 0;
  REQUIRE(moved);

  LrFindOptions stopping = kShort;
  stopping.watch = [](int done, const LrPoint&) { Learner::stop_requested() = done == 3; };
  const LrFindResult stopped = searched.lr_find(stopping);
  Learner::stop_requested() = false;
  CHECK(stopped.interrupted);
  CHECK(stopped.points.size() == 3);
  CHECK_FALSE(stopped.suggestions.valley);
  CHECK(same_bits(searched.model().state(), before));
  CHECK(same_bits(velocities->now(), velocity));

  LrFindOptions throwing = kShort;
  throwing.watch = [](int done, const LrPoint&) {
    if (done == 2) fail("enough");
  };
  CHECK_THROWS_WITH_AS(searched.lr_find(throwing), "enough", Error);
  CHECK(same_bits(searched.model().state(), before));
  CHECK(same_bits(velocities->now(), velocity));

  // Counters and random streams too: dropout and the order of the pictures go on where they were.
  const auto rows = plain.fit(0.05, 2), again = searched.fit(0.05, 2);
  CHECK(same_bits(searched.model().state(), plain.model().state()));
  CHECK_FALSE(same_bits(searched.model().state(), before));
  REQUIRE(again.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(again[i].epoch == rows[i].epoch);
    CHECK(again[i].train_loss == rows[i].train_loss);
  }
}

TEST_CASE("lr_find: stopped while features are computed, it leaves no half of them to the training after it") {
  Learner plain = learner(true), searched = learner(true);
  const auto stop = std::make_shared<StopAfter>(StopAfter::When::features, 2);  // the training pictures' are there
  CHECK(searched.add(stop).lr_find(kShort).interrupted);
  Learner::stop_requested() = false;
  const auto rows = plain.fit(0.05, 2), again = searched.fit(0.05, 2);
  CHECK(same_bits(searched.model().state(), plain.model().state()));
  REQUIRE(again.size() == 2);
  CHECK(again.back().valid_loss == rows.back().valid_loss);
}

TEST_CASE("lr_find: of a model that is frozen up to a layer, what is frozen stays in the search") {
  LearnerOptions settings = options(false);
  const auto curve = [&settings] {
    Learner learn(small_model(3), std::make_shared<Stripes>(24, 1), std::make_shared<Stripes>(8, 2), settings);
    const StateDict before = learn.model().state();
    const LrFindResult result = learn.lr_find({.sweep = {.lowest = 0.1, .highest = 0.5, .steps = 10}});
    CHECK(same_bits(learn.model().state(), before));
    return result.points;
  };
  const auto whole = curve();
  settings.freeze_to = "head";
  const auto head = curve();
  settings.freeze_to.clear();
  settings.fixed_batch_norm = true;
  const auto fixed = curve();
  REQUIRE(head.size() > 2);
  REQUIRE(whole.size() > 2);
  REQUIRE(fixed.size() > 2);
  CHECK(head[2].loss != whole[2].loss);
  CHECK(fixed[2].loss != whole[2].loss);
}

namespace {

/// A fall from 2 to 1 around 1e-3, then up.
LrFindResult searched() {
  LrCurve curve;
  for (int step = 0; step < 60; ++step) {
    const double lr = lr_at({.lowest = 1e-5, .highest = 1, .steps = 60}, step), x = std::log10(lr);
    if (!curve.add(lr, 2 - 1 / (1 + std::exp(-5 * (x + 3))) + (x > -1 ? 9 * (x + 1) : 0))) break;
  }
  return {.points = curve.points(), .suggestions = suggest(curve.points())};
}

}  // namespace

TEST_CASE("lr_find: what is written of it, and read again to the bit") {
  const TemporaryFolder folder;
  const LrFindResult result = searched();
  REQUIRE(result.suggestions.proposed);
  const auto files = save_lr_find(folder / "run", result);
  REQUIRE_FALSE(files.empty());
  CHECK(files.front() == folder / "run/lr_find.csv");
  for (const auto& file : files) CHECK(std::filesystem::file_size(file) > 100);
  if (can_draw()) {
    REQUIRE(files.size() == 5);
    const std::string svg = read_file(folder / "run/lr_find.svg");
    for (const char* name : {"proposed: ", "valley: ", "steepest: ", "minimum / 10: "})
      CHECK_MESSAGE(svg.find(name) != std::string::npos, name);
  }

  CHECK(load_lr_find(folder / "nowhere").empty());
  const std::vector<LrPoint> again = load_lr_find(folder / "run");
  REQUIRE(again.size() == result.points.size());
  for (std::size_t i = 0; i < again.size(); ++i) {
    CHECK(again[i].lr == result.points[i].lr);
    CHECK(again[i].loss == result.points[i].loss);
    CHECK(again[i].smooth == result.points[i].smooth);
  }
  CHECK(suggest(again).proposed == result.suggestions.proposed);

  for (const char* wrong : {"0,1e-3,2", "0,1e-3,2,2,2", "0,x,2,2", "0,1e-3,,2", "0,1e-3,nan,2"}) {
    CAPTURE(wrong);
    write_file_atomically(folder / "run/lr_find.csv", std::string("step,lr,loss,smoothed_loss\n") + wrong + "\n");
    CHECK_THROWS_WITH_AS(load_lr_find(folder / "run"), doctest::Contains("lr_find.csv, line 2"), Error);
  }
  write_file_atomically(folder / "run/lr_find.csv", "rate\n");
  CHECK_THROWS_WITH_AS(load_lr_find(folder / "run"), doctest::Contains("not a table of lr-find"), Error);
}

TEST_CASE("lr_find: the proposal crosses its chart as a line, the other suggestions are points of the curve") {
  const LrFindResult result = searched();
  const Chart chart = lr_find_chart(result.points);
  REQUIRE(chart.series.size() == 6);
  CHECK(chart.log_x);
  const Series& proposal = chart.series[2];
  CHECK(proposal.name.starts_with("proposed: "));
  CHECK(proposal.mark == Mark::line);
  REQUIRE(proposal.points.size() == 2);
  for (const auto& [lr, loss] : proposal.points) CHECK(lr == *result.suggestions.proposed);
  CHECK(proposal.points[0].second < proposal.points[1].second);
  for (std::size_t i = 3; i < 6; ++i) {
    CHECK(chart.series[i].mark == Mark::points);
    CHECK(chart.series[i].points.size() == 1);
  }
  CHECK(lr_find_chart({}).series.size() == 2);
}

namespace {

/// A loss that falls from 2.3 to 1.1 and then blows up: its last smoothed values are 14 and 80.
std::vector<LrPoint> blown_up(const LrSweep& sweep) {
  std::vector<LrPoint> points;
  for (int i = 0; i < 43; ++i) {
    const double smooth = i < 41 ? 2.3 - 0.03 * i : i == 41 ? 14 : 80;
    points.push_back({.lr = lr_at(sweep, i), .loss = smooth, .smooth = smooth});
  }
  return points;
}

}  // namespace

TEST_CASE("lr_find: a loss that blows up leaves its chart, where the fall before has most of the height") {
  const std::vector<LrPoint> points = blown_up({.steps = 60});
  const Chart chart = lr_find_chart(points);
  REQUIRE(chart.y_max.has_value());
  CHECK(*chart.y_max == doctest::Approx(1.1 + 1.5 * 1.2));
  CHECK(script_of(chart).find("set yrange [*:2.9]") != std::string::npos);
  for (const Series& series : chart.series)
    if (series.name.starts_with("proposed")) CHECK(series.points[1].second == *chart.y_max);
  // One that never falls is not left a chart without height.
  std::vector<LrPoint> rising = points;
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i].smooth = 2 + 0.1 * static_cast<double>(i * i);
  CHECK(*lr_find_chart(rising).y_max == doctest::Approx(3));
  if (!can_draw()) return;
  // In the picture: the vertical axis has a tick below the top, and none near what the loss blew up to.
  const std::string svg = svg_of(chart);
  CHECK(svg.find("> 2.8<") != std::string::npos);
  CHECK(svg.find("> 14<") == std::string::npos);
  CHECK(svg.find("> 80<") == std::string::npos);
}

TEST_CASE("lr_find: rates tried by equal differences stand on a linear axis, also where the loss ran away early") {
  for (const std::size_t kept : {3, 4, 20, 43}) {
    CAPTURE(kept);
    for (const bool linear : {false, true}) {
      std::vector<LrPoint> points = blown_up({.lowest = 1e-4, .highest = 1, .steps = 60, .linear = linear});
      points.resize(kept);
      CHECK(lr_find_chart(points).log_x == !linear);
    }
  }
  const test::TemporaryFolder folder;
  if (!can_draw()) return;
  for (const bool linear : {false, true}) {
    LrFindResult result;
    result.points = blown_up({.lowest = 1e-4, .highest = 1, .steps = 60, .linear = linear});
    save_lr_find(folder.path(), result);
    for (const char* name : {"lr_find.svg", "lr_find_rate.svg"})
      CHECK((read_file(folder / name).find(">0.001<") != std::string::npos) == !linear);
  }
}

namespace {

namespace fs = std::filesystem;

/// A folder of links to the first `train` and `valid` photos of each class.
void link_photos(const fs::path& from, const fs::path& to, std::size_t train, std::size_t valid) {
  for (const auto& [part, count] : {std::pair{"train", train}, std::pair{"valid", valid}})
    for (const char* name : {"cats", "dogs"}) {
      std::vector<fs::path> photos;
      for (const auto& entry : fs::directory_iterator(from / part / name)) photos.push_back(entry.path());
      REQUIRE(photos.size() >= count);
      std::ranges::sort(photos);
      fs::create_directories(to / part / name);
      for (std::size_t i = 0; i < count; ++i)
        fs::create_symlink(fs::absolute(photos[i]), to / part / name / photos[i].filename());
    }
}

}  // namespace

// A sixth of the photos, and small: what a head needs to be told from features, within seconds.
TEST_CASE("lr_find: on photos it proposes about 1e-2 for a new head on pretrained ResNet-18, and changes no weight") {
  const std::string photos = test::real_data("catsdogs");
  const std::string folder_of_weights = photos.empty() ? "" : test::real_data("weights");
  if (folder_of_weights.empty()) return;
  fs::path weights;
  for (const auto& entry : fs::directory_iterator(folder_of_weights)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("resnet18") && name.ends_with(".safetensors")) weights = entry.path();
  }
  if (weights.empty()) {
    MESSAGE("skipped: no resnet18*.safetensors in " << folder_of_weights);
    return;
  }
  const TemporaryFolder folder;
  link_photos(photos, folder.path(), 160, 8);
  const LabelledData data = open_dataset(folder.path().string(), {.size = 128});
  Model model = make_model("resnet18", data.classes());
  model.set_size(128, 128);
  model.load(weights);
  LearnerOptions settings;
  settings.device = "cpu";
  settings.threads = 2;
  settings.freeze = true;
  Learner learner(std::move(model), data, settings);
  const StateDict before = learner.model().state();
  const LrFindResult result = learner.lr_find();
  CHECK(same_bits(learner.model().state(), before));
  REQUIRE(result.suggestions.proposed);
  MESSAGE("proposed: " << *result.suggestions.proposed);
  CHECK(*result.suggestions.proposed >= 1e-2 / 5);
  CHECK(*result.suggestions.proposed <= 1e-2 * 5);
}
