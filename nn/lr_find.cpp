// The learning-rate finder's training: on a trainer of its own, so that the learner's stays as it is whatever happens.

#include "nn/lr_find.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "core/files.h"
#include "kernels/error.h"
#include "nn/fit.h"

namespace weft {
namespace {

const char* const kFile = "lr_find.csv";
const std::string kHead = "step,lr,loss,smoothed_loss";

/// Puts aside what training changes of a learner, and puts it back at the end, also of an exception: parameters,
/// running statistics and velocities lie in the trainer's store; of random streams there are only counters, in the
/// position.
class PutAside {
 public:
  explicit PutAside(Learner::State& state) : s_(state) {
    s_.update_model();
    position_ = s_.position;
    fits_called_ = s_.fits_called;
    groups_ = s_.groups;
    exchange();
  }
  ~PutAside() {
    exchange();
    s_.position = std::move(position_);
    s_.fits_called = fits_called_;
    s_.groups = groups_;
    s_.model_behind = false;  // the model has had the trainer's numbers since before
  }
  PutAside(const PutAside&) = delete;
  PutAside& operator=(const PutAside&) = delete;

 private:
  void exchange() noexcept {
    std::swap(s_.trainer, trainer_);
    std::swap(s_.evaluator, evaluator_);
    std::swap(s_.head_evaluator, head_evaluator_);
    std::swap(s_.evaluator_behind, evaluator_behind_);
  }

  Learner::State& s_;
  std::unique_ptr<Executors> trainer_, evaluator_, head_evaluator_;
  bool evaluator_behind_ = false;
  Position position_;
  std::size_t fits_called_;
  int groups_;
};

std::vector<std::filesystem::path> draw_both(const Chart& chart, const std::filesystem::path& stem) {
  std::vector<std::filesystem::path> files;
  for (const char* ending : {".png", ".svg"}) {
    files.emplace_back(stem.string() + ending);
    draw(chart, files.back());
  }
  return files;
}

/// The smoothed loss at a rate of the curve, or between two: that of the first point from there on.
double loss_at(const std::vector<LrPoint>& points, double lr) {
  const auto at = std::find_if(points.begin(), points.end(), [lr](const LrPoint& p) { return p.lr >= lr; });
  return at == points.end() ? points.back().smooth : at->smooth;
}

/// Where the chart ends: half as far again as the smoothed loss falls to its lowest, or half of that where it hardly
/// falls. Behind it the loss soars to any height (a point is four times the lowest before the sweep ends, and may be a
/// hundred), and an axis up to there would leave the fall, which one looks for, a flat line.
double top_of(const std::vector<LrPoint>& points) {
  constexpr double kHeadroom = 1.5;
  const auto by_loss = [](const LrPoint& a, const LrPoint& b) { return a.smooth < b.smooth; };
  const auto low = std::min_element(points.begin(), points.end(), by_loss);
  const auto high = std::max_element(points.begin(), std::next(low), by_loss);
  return std::max(low->smooth + kHeadroom * (high->smooth - low->smooth), kHeadroom * low->smooth);
}

/// Whether the rates were tried by equal differences: then the middle one is the mean of the outer ones, and not, as
/// with equal factors, their geometric mean.
bool by_differences(const std::vector<LrPoint>& points) {
  if (points.size() < 3) return false;
  const std::size_t last = (points.size() - 1) / 2 * 2;  // an even number, so that there is a middle
  const double first = points[0].lr, middle = points[last / 2].lr, end = points[last].lr;
  return std::abs(middle - (first + end) / 2) < std::abs(middle - std::sqrt(first * end));
}

}  // namespace

LrFindResult Fit::sweep(const LrFindOptions& options) {
  LrFindResult result;
  fingerprint_trunk();
  make_trainer();
  start_afresh();
  if (s_.options.freeze && !compute_features()) {
    result.interrupted = true;
    return result;
  }
  make_batches();
  LrCurve curve;
  Fed fed;
  std::int64_t epoch = 0;
  batches_->start(epoch, 0);
  for (int step = 0; step < options.sweep.steps; ++step) {
    if (Learner::stop_requested()) {
      result.interrupted = true;
      break;
    }
    if (!batches_->next(fed)) {
      batches_->start(++epoch, 0);
      if (!batches_->next(fed)) fail("there is no batch to look for a learning rate with");
    }
    Executor& executor = s_.trainer->at(fed.count());
    const Tensor labels = s_.training_labels(fed, epoch);
    executor.set_input(batches_->input(), fed.x);
    executor.set_input("labels", labels);
    executor.run(static_cast<std::uint64_t>(step));
    const double loss = executor.output("loss").values<float>()[0], lr = lr_at(options.sweep, step);
    // Before the first step it is not the rate's fault.
    if (step == 0 && !std::isfinite(loss)) fail_not_finite(executor, fed, loss);
    const bool goes_on = curve.add(lr, loss);
    if (options.watch && !curve.points().empty()) options.watch(step + 1, curve.points().back());
    if (!goes_on) {
      result.diverged = true;
      break;
    }
    sgd_->step(*s_.trainer->store(), lr);
  }
  result.points = curve.points();
  result.suggestions = suggest(result.points);
  return result;
}

LrFindResult Learner::lr_find(const LrFindOptions& options) {
  check(options.sweep);
  const PutAside aside(*state_);
  // One rate for all groups: their own factors are in the learner's options.
  state_->groups = 1;
  return Fit(*state_, {options.sweep.highest}, 1, {}).sweep(options);
}

Chart lr_find_chart(const std::vector<LrPoint>& points) {
  Chart chart{.title = "Loss by learning rate",
              .x_label = "learning rate",
              .y_label = "loss (nats)",
              .series = {},
              .log_x = true};
  chart.series = {{.name = "of the batch", .points = {}, .mark = Mark::points}, {.name = "smoothed", .points = {}}};
  if (points.empty()) return chart;
  const double top = top_of(points);
  chart.log_x = !by_differences(points);
  chart.y_max = top;
  double low = top;
  for (const LrPoint& p : points) {
    chart.series[0].points.emplace_back(p.lr, p.loss);
    chart.series[1].points.emplace_back(p.lr, p.smooth);
    low = std::min(low, p.smooth);
  }
  const LrSuggestions suggestions = suggest(points);
  const std::vector<NamedRate> rates = listed(suggestions);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const double lr = rates[i].lr;
    Series series{.name = fmt::format("{}: {:.2g}", rates[i].name, lr), .points = {}};
    if (i == 0 && suggestions.proposed) {  // it comes first
      series.points = {{lr, low}, {lr, top}};
    } else {
      series.points = {{lr, loss_at(points, lr)}};
      series.mark = Mark::points;
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::vector<std::filesystem::path> save_lr_find(const std::filesystem::path& run, const LrFindResult& result) {
  std::filesystem::create_directories(run);
  std::string csv = kHead + "\n";
  for (std::size_t i = 0; i < result.points.size(); ++i) {
    const LrPoint& p = result.points[i];
    // To the last digit: who reads them back comes to the same suggestions.
    csv += fmt::format("{},{},{},{}\n", i, p.lr, p.loss, p.smooth);
  }
  std::vector<std::filesystem::path> files = {run / kFile};
  write_file_atomically(files.back(), csv);
  if (!can_draw() || result.points.empty()) return files;

  Chart rate{
      .title = "Learning rate by mini-batch", .x_label = "mini-batch", .y_label = "learning rate", .series = {{}}};
  rate.log_y = !by_differences(result.points);
  for (std::size_t i = 0; i < result.points.size(); ++i)
    rate.series[0].points.emplace_back(static_cast<double>(i), result.points[i].lr);
  for (const auto& [chart, stem] :
       {std::pair{lr_find_chart(result.points), "lr_find"}, {std::move(rate), "lr_find_rate"}}) {
    const auto drawn = draw_both(chart, run / stem);
    files.insert(files.end(), drawn.begin(), drawn.end());
  }
  return files;
}

std::vector<LrPoint> load_lr_find(const std::filesystem::path& run) {
  std::vector<LrPoint> points;
  const std::filesystem::path path = run / kFile;
  if (!std::filesystem::exists(path)) return points;
  std::istringstream text(read_file(path));
  std::string line;
  std::getline(text, line);
  if (line != kHead)
    fail(fmt::format("{}: not a table of lr-find: its first line is not \"{}\"", path.string(), kHead));
  for (int number = 2; std::getline(text, line); ++number) {
    std::istringstream fields(line);
    std::vector<double> numbers;
    bool understood = true;
    for (std::string field; std::getline(fields, field, ',');) {
      char* end = nullptr;
      numbers.push_back(std::strtod(field.c_str(), &end));
      understood = understood && !field.empty() && *end == '\0' && std::isfinite(numbers.back());
    }
    if (!understood || numbers.size() != 4)
      fail(fmt::format("{}, line {}: \"{}\" is not four numbers; run lr-find again, or remove the file", path.string(),
                       number, line));
    points.push_back({.lr = numbers[1], .loss = numbers[2], .smooth = numbers[3]});
  }
  return points;
}

}  // namespace weft
