#include "tools/dogs_vs_cats/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

#include "nn/checkpoint.h"
#include "tools/dogs_vs_cats/watch_page.h"

namespace weft::cli {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// Steps in one answer: a megabyte or so; who wants more asks again.
constexpr std::size_t kMostSteps = 10000;
// Who asked within this time has the page open: it asks once a second.
constexpr std::chrono::milliseconds kOpen{2500}, kLinger{1500};

/// What steps.csv says of a step, and how long it took; steps before a break have no times.
struct Point {
  LoggedStep logged;
  float pictures = 0, seconds = 0, data_seconds = 0;
};

/// Where the training stands.
struct Standing {
  std::string state = "starting";  ///< then features, training, validating; finished, stopped, failed
  std::string text;                ///< of how it ended
  std::int64_t features = 0, features_total = 0;
  StepResult step;
  std::string left;  ///< time until the fit's end
};

Json json_of(const Standing& now) {
  return {{"state", now.state},
          {"text", now.text},
          {"features", now.features},
          {"features_total", now.features_total},
          {"epoch", now.step.epoch},
          {"step", now.step.step},
          {"steps_per_epoch", now.step.steps_per_epoch},
          {"total_steps", now.step.total_steps},
          {"left", now.left}};
}

/// By column: the names stand once.
Json json_of(const std::vector<Point>& points) {
  Json step = Json::array(), epoch = Json::array(), loss = Json::array(), lr = Json::array(), pictures = Json::array(),
       seconds = Json::array(), data_seconds = Json::array();
  for (const Point& point : points) {
    step.push_back(point.logged.step);
    epoch.push_back(point.logged.epoch);
    loss.push_back(point.logged.loss);
    lr.push_back(point.logged.lr);
    pictures.push_back(point.pictures);
    seconds.push_back(point.seconds);
    data_seconds.push_back(point.data_seconds);
  }
  return {{"step", step},
          {"epoch", epoch},
          {"loss", loss},
          {"lr", lr},
          {"pictures", pictures},
          {"seconds", seconds},
          {"data_seconds", data_seconds}};
}

/// Named as log.csv's columns are.
Json json_of(const std::vector<EpochResult>& epochs) {
  Json rows = Json::array();
  for (const EpochResult& row : epochs) {
    Json fields = {{"epoch", row.epoch}};
    for (const LogColumn& column : log_columns()) fields[column.name] = row.*column.value;
    rows.push_back(fields);
  }
  return rows;
}

/// The elements from `from` on, `most` at most.
template <class T>
std::vector<T> part(const std::vector<T>& all, std::size_t from, std::size_t most) {
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(std::min(from, all.size()));
  const auto rest = static_cast<std::size_t>(all.end() - begin);
  return {begin, begin + static_cast<std::ptrdiff_t>(std::min(rest, most))};
}

}  // namespace

struct Watch::Points {
  std::mutex mutex;  // of all below
  std::condition_variable heard;
  bool end_was_heard = false;
  Clock::time_point asked{};
  std::string title, run;
  std::size_t stages = 1;
  Standing now;
  std::vector<std::string> notes;
  std::vector<Point> steps;
  std::vector<EpochResult> epochs;
  // Tells a page left open that this is another training than the one it has drawn.
  const std::int64_t id = std::chrono::system_clock::now().time_since_epoch().count() / 1000;

  bool ended() const { return now.state == "finished" || now.state == "stopped" || now.state == "failed"; }
  std::string json(std::size_t step, std::size_t epoch);
};

std::string Watch::Points::json(std::size_t step, std::size_t epoch) {
  std::unique_lock lock(mutex);
  asked = Clock::now();
  const std::vector<Point> new_steps = part(steps, step, kMostSteps);
  const std::vector<EpochResult> new_epochs = part(epochs, epoch, epochs.size());
  const bool more = step + new_steps.size() < steps.size(), last = ended() && !more;
  const Standing standing = now;
  Json json = {{"id", id}, {"title", title}, {"run", run}, {"stages", stages}, {"notes", notes}, {"more", more}};
  lock.unlock();
  json["now"] = json_of(standing);
  json["steps"] = json_of(new_steps);
  json["epochs"] = json_of(new_epochs);
  // A path need not be UTF-8.
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (last) {
    lock.lock();
    end_was_heard = true;
    heard.notify_all();
  }
  return text;
}

Watch::Watch(int port, std::shared_ptr<const StepLog> log) : points_(std::make_shared<Points>()), log_(std::move(log)) {
  server_ = std::make_unique<WatchServer>(
      port, WatchAnswers{.page = watch_page(), .points = [points = points_](std::size_t step, std::size_t epoch) {
                           return points->json(step, epoch);
                         }});
}

Watch::~Watch() = default;

std::string Watch::address() const {
  return fmt::format("http://127.0.0.1:{}/", server_->port());
}

void Watch::describe(const std::string& title, const std::string& run, std::size_t stages) {
  const std::lock_guard lock(points_->mutex);
  points_->title = title;
  points_->run = run;
  points_->stages = stages;
}

void Watch::ended(End how, const std::string& text) {
  std::unique_lock lock(points_->mutex);
  points_->now.state = how == End::finished ? "finished" : how == End::stopped ? "stopped" : "failed";
  points_->now.text = text;
  points_->now.left.clear();
  if (Clock::now() - points_->asked > kOpen) return;
  points_->heard.wait_for(lock, kLinger, [this] { return points_->end_was_heard; });
}

void Watch::on_note(const std::string& line) {
  const std::lock_guard lock(points_->mutex);
  points_->notes.push_back(line);
}

void Watch::on_features(std::int64_t done, std::int64_t total) {
  const std::lock_guard lock(points_->mutex);
  points_->now.state = "features";
  points_->now.features = done;
  points_->now.features_total = total;
}

void Watch::begin_fit(Training& training) {
  run_ = training.run();
  left_.begin();
}

/// What was done before this program went on with it. The first step says from which epoch on RUN's rows are another
/// training's, or undone.
void Watch::catch_up(int epoch) {
  caught_up_ = true;
  std::vector<EpochResult> epochs;
  if (!run_.empty()) epochs = load_log(run_);
  std::erase_if(epochs, [epoch](const EpochResult& row) { return row.epoch >= epoch; });
  std::vector<Point> steps;
  for (const LoggedStep& row : log_->steps()) steps.push_back({row});
  const std::lock_guard lock(points_->mutex);
  points_->epochs = std::move(epochs);
  points_->steps = std::move(steps);
}

void Watch::on_step(const StepResult& step) {
  const bool first = !caught_up_;
  if (first) catch_up(step.epoch);
  std::string left = duration(left_.seconds(step));
  const std::lock_guard lock(points_->mutex);
  if (!first) points_->steps.push_back({log_->latest()});
  Point& point = points_->steps.back();
  point.pictures = static_cast<float>(step.pictures);
  point.seconds = static_cast<float>(step.seconds);
  point.data_seconds = static_cast<float>(step.data_seconds);
  points_->now.state = "training";
  points_->now.step = step;
  points_->now.left = std::move(left);
}

void Watch::before_validation(Training&) {
  const std::lock_guard lock(points_->mutex);
  points_->now.state = "validating";
}

void Watch::on_epoch(const EpochResult& epoch) {
  if (!caught_up_) catch_up(epoch.epoch);
  const std::lock_guard lock(points_->mutex);
  points_->epochs.push_back(epoch);
  points_->now.state = "training";
}

}  // namespace weft::cli
