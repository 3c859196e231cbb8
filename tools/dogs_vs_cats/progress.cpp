#include "tools/dogs_vs_cats/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace weft::cli {

std::string duration(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  if (s >= 60) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{} s", s);
}

double TimeLeft::seconds(const StepResult& step) {
  using Clock = std::chrono::steady_clock;
  if (first_step_ < 0) {
    first_step_ = step.step;
    first_seconds_ = step.seconds;
    start_ = Clock::now();
  }
  const auto done = static_cast<double>(step.step - first_step_ + 1);
  const double spent = first_seconds_ + std::chrono::duration<double>(Clock::now() - start_).count();
  return spent / done * static_cast<double>(step.total_steps - step.step - 1);
}

Progress::Progress() : terminal_(::isatty(STDOUT_FILENO) == 1) {}

void Progress::stage(std::size_t number, std::size_t count) {
  stage_ = number;
  stages_ = count;
}

void Progress::bar(const std::string& label, double share, const std::string& text, const std::string& brief) {
  // A line that is longer than the terminal is wide would leave its beginning behind each time.
  winsize terminal{};
  const int columns = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &terminal) == 0 && terminal.ws_col > 0 ? terminal.ws_col : 120;
  constexpr int kFixed = 10, kNarrowest = 4;  // brackets, blanks and the percentage; the bar itself
  const int room = std::max(0, columns - kFixed - kNarrowest - static_cast<int>(label.size()));
  const std::string said =
      static_cast<int>(text.size()) <= room ? text : brief.substr(0, static_cast<std::size_t>(room));
  const int width = std::clamp(kNarrowest + room - static_cast<int>(said.size()), kNarrowest, 30);
  // Ten times a second is as fast as anyone reads; the last state is always shown.
  const auto now = Clock::now();
  if (share < 1 && now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  const int full = static_cast<int>(share * width);
  fmt::print("\r{} [{}{}] {:3.0f}% {}\033[K", label, std::string(static_cast<std::size_t>(full), '='),
             std::string(static_cast<std::size_t>(width - full), ' '), share * 100, said);
  std::fflush(stdout);
  open_ = true;
}

void Progress::show(const std::string& label, double share, const std::string& text) {
  if (terminal_) bar(label, share, text, text);
}

void Progress::finish() {
  if (open_) fmt::print("\n");
  open_ = false;
  std::fflush(stdout);
}

void Progress::on_note(const std::string& line) {
  finish();
  fmt::print("Note: {}\n", line);
}

void Progress::on_memory(const std::string& line) {
  finish();
  fmt::print("Memory of {}\n", line);
  std::fflush(stdout);
}

void Progress::on_features(std::int64_t done, std::int64_t total) {
  if (features_from_ < 0) {
    features_from_ = done;
    start_ = Clock::now();
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const std::int64_t computed = done - features_from_;
  const double rate = seconds > 0 ? static_cast<double>(computed) / seconds : 0;
  if (terminal_) {
    show("features", total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 1,
         fmt::format("{:.1f} img/s", rate));
    if (done == total) finish();
  } else if (done == total) {
    fmt::print("features of {} pictures in {:.1f} s ({:.1f} img/s)\n", computed, seconds, rate);
    std::fflush(stdout);
  }
  if (done == total) features_from_ = -1;
}

void Progress::on_step(const StepResult& step) {
  if (step.epoch != epoch_) {
    epoch_ = step.epoch;
    start_ = Clock::now();
    smooth_loss_ = step.loss;
    pictures_ = 0;
    seconds_ = data_seconds_ = 0;
  }
  pictures_ += step.pictures;
  seconds_ += step.seconds;
  data_seconds_ += step.data_seconds;
  smooth_loss_ = 0.9 * smooth_loss_ + 0.1 * step.loss;
  if (!terminal_) return;
  const auto in_epoch = step.step % step.steps_per_epoch + 1;
  const double images_per_second = static_cast<double>(pictures_) / std::max(seconds_, 1e-9);
  const double waiting = 100 * data_seconds_ / std::max(seconds_, 1e-9);
  const double spent = std::chrono::duration<double>(Clock::now() - start_).count();
  const std::string left =
      duration(spent / static_cast<double>(in_epoch) * static_cast<double>(step.steps_per_epoch - in_epoch));
  const std::string left_in_fit = duration(left_.seconds(step));
  const std::string fit = stage_ + 1 < stages_ ? fmt::format("stage {} of {}", stage_ + 1, stages_) : "the run";
  bar(fmt::format("epoch {}", step.epoch), static_cast<double>(in_epoch) / static_cast<double>(step.steps_per_epoch),
      fmt::format("loss {:.4f} lr {:.2g}, {:.1f} img/s, {:.0f}% waiting for data, {} left in the epoch, {} in {}",
                  smooth_loss_, step.lr, images_per_second, waiting, left, left_in_fit, fit),
      fmt::format("loss {:.3f} lr {:.2g} {:.0f} img/s data {:.0f}% left {}, {}", smooth_loss_, step.lr,
                  images_per_second, waiting, left, left_in_fit));
}

void Progress::on_epoch(const EpochResult& epoch) {
  if (open_) fmt::print("\r\033[K");
  open_ = false;
  if (!header_) fmt::print("epoch  train_loss  valid_loss  accuracy  seconds  images/s  rate      data\n");
  header_ = true;
  fmt::print("{:5}  {:10.4f}  {:10.4f}  {:7.2f}%  {:7.1f}  {:8.1f}  {:<8.2g}  {:3.0f}%\n", epoch.epoch,
             epoch.train_loss, epoch.valid_loss, epoch.accuracy * 100, epoch.seconds, epoch.images_per_second, epoch.lr,
             100 * epoch.data_share);
  std::fflush(stdout);
}

}  // namespace weft::cli
