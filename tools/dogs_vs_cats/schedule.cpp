// schedule: the learning rate over the steps, before any training.

#include "optim/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/chart.h"
#include "nn/run.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/policy_options.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

struct ScheduleVerb {
  explicit ScheduleVerb(CLI::App* verb) : kept(verb) {}
  KeptOptions kept;
  SchedulePolicy policy;
  std::string out = ".";
  std::vector<double> lr = {0.01};
  double momentum = 0.9;
  int epochs = 3, steps_per_epoch = 32;
};

/// Rates of all steps, of the group that learns fastest.
std::vector<Rates> curve(const ScheduleVerb& o) {
  const Schedule schedule = make_schedule(o.policy.policy, {.lr = o.lr.back(),
                                                            .momentum = o.momentum,
                                                            .steps_per_epoch = o.steps_per_epoch,
                                                            .policy_options = o.policy.options});
  const std::int64_t total = std::int64_t{o.epochs} * o.steps_per_epoch;
  std::vector<Rates> rates;
  for (std::int64_t step = 0; step < total; ++step) {
    rates.push_back(schedule(step, total));
    if (rates.back().momentum < 0) rates.back().momentum = o.momentum;
  }
  return rates;
}

/// A line an epoch, or every so many where there are very many.
void print_table(const ScheduleVerb& o, const std::vector<Rates>& rates) {
  constexpr int kMostLines = 40;
  const int every = (o.epochs + kMostLines - 1) / kMostLines;
  fmt::print("{} over {} epochs of {} steps{}\n", o.policy.policy, o.epochs, o.steps_per_epoch,
             o.lr.size() > 1 ? fmt::format("; rates of the last of {} parameter groups", o.lr.size()) : "");
  fmt::print("epoch       first     highest      lowest        last   momentum\n");
  for (int epoch = 0; epoch < o.epochs; epoch += every) {
    const auto first = rates.begin() + std::int64_t{epoch} * o.steps_per_epoch, last = first + o.steps_per_epoch;
    const auto [lowest, highest] = std::minmax_element(first, last, [](Rates a, Rates b) { return a.lr < b.lr; });
    fmt::print("{:5}  {:10.4g}  {:10.4g}  {:10.4g}  {:10.4g}   {:.3f}{}\n", epoch, first->lr, highest->lr, lowest->lr,
               (last - 1)->lr, first->momentum,
               (last - 1)->momentum == first->momentum ? "" : fmt::format(" to {:.3f}", (last - 1)->momentum));
  }
}

void draw_both(const Chart& chart, const fs::path& stem) {
  for (const char* ending : {".png", ".svg"}) {
    const fs::path file = stem.string() + ending;
    draw(chart, file);
    fmt::print("{}\n", file.string());
  }
}

void run(const ScheduleVerb& o) {
  check(o.policy);
  prepare_run(o.out);  // before the table, so that a wrong place is known before it
  const std::vector<Rates> rates = curve(o);
  print_table(o, rates);

  Chart lr{.title = "Learning rate, " + o.policy.policy,
           .x_label = "mini-batch",
           .y_label = "learning rate",
           .series = {},
           .log_x = false,
           .log_y = o.lr.size() > 1};
  for (std::size_t group = 0; group < o.lr.size(); ++group) {
    Series series{.name = o.lr.size() > 1 ? fmt::format("group {}", group + 1) : "", .points = {}, .mark = Mark::line};
    for (std::size_t step = 0; step < rates.size(); ++step)
      series.points.emplace_back(static_cast<double>(step), rates[step].lr * o.lr[group] / o.lr.back());
    lr.series.push_back(std::move(series));
  }
  draw_both(lr, fs::path(o.out) / "schedule");

  const bool moves = std::any_of(rates.begin(), rates.end(), [&](Rates r) { return r.momentum != rates[0].momentum; });
  if (!moves) return;
  Chart momentum{
      .title = "Momentum, " + o.policy.policy, .x_label = "mini-batch", .y_label = "momentum", .series = {{}}};
  for (std::size_t step = 0; step < rates.size(); ++step)
    momentum.series[0].points.emplace_back(static_cast<double>(step), rates[step].momentum);
  draw_both(momentum, fs::path(o.out) / "schedule_momentum");
}

}  // namespace

void add_schedule(CLI::App& app) {
  auto* verb = app.add_subcommand("schedule", "Draws the learning rate over the steps, before any training");
  const auto o = std::make_shared<ScheduleVerb>(verb);
  add_policy_options(o->kept, o->policy);
  verb->add_option("--lr", o->lr, "Learning rate, the largest of the schedule; several: of parameter groups")
      ->delimiter(',')
      ->check(number_above(0))
      ->capture_default_str();
  verb->add_option("--momentum", o->momentum, "Of SGD")->check(number_from_to(0, 1))->capture_default_str();
  verb->add_option("--epochs", o->epochs, "Passes over the training pictures")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  verb->add_option("--steps-per-epoch", o->steps_per_epoch, "Mini-batches in one: pictures over --batch")
      ->check(CLI::Range(1, 10000000))
      ->capture_default_str();
  verb->add_option("--out", o->out, "Folder for schedule.png and schedule.svg")->capture_default_str();
  verb->callback([o] { run(*o); });
}

}  // namespace weft::cli
