// lr-find: a learning rate for `train`, found by trying them all; the model is left untouched.

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "core/chart.h"
#include "tools/command_line.h"
#include "tools/dogs_vs_cats/commands.h"
#include "tools/dogs_vs_cats/progress.h"
#include "tools/dogs_vs_cats/training_options.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

struct LrFindVerb {
  explicit LrFindVerb(CLI::App* verb) : kept(verb) {}
  KeptOptions kept;
  TrainingOptions options;
  LrSweep sweep;
};

/// Where frozen features go that are too large for memory, and no longer than the search takes: those that a stopped
/// training left in RUN are let alone.
struct Scratch {
  explicit Scratch(fs::path folder) : path(std::move(folder)) {}
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path path;
};

void run(LrFindVerb& o) {
  check(o.options, "lr-find");
  check(o.sweep);
  prepare_run(o.options.out);
  const LabelledData data = open_data(o.options);
  Model model = make_model(o.options, data);
  LearnerOptions options = learner_options(o.options, data);
  const Scratch scratch(fs::path(o.options.out) / "lr-find.tmp");
  options.run = scratch.path;

  stop_on_signals();
  Learner learner(std::move(model), data, options);
  const auto progress = std::make_shared<Progress>();
  learner.add(progress);
  const std::string before = fingerprint(learner.model().state());
  fmt::print("Trying rates from {:g} to {:g} on {}\n", o.sweep.lowest, o.sweep.highest, learner.device().describe());
  std::fflush(stdout);
  const LrFindResult result = learner.lr_find({.sweep = o.sweep, .watch = [&](int done, const LrPoint& p) {
                                                 progress->show("lr-find", double(done) / o.sweep.steps,
                                                                fmt::format("loss {:.4f} lr {:.2g}", p.smooth, p.lr));
                                               }});
  progress->finish();
  const std::string after = fingerprint(learner.model().state());
  if (before != after) fail("lr-find changed the model's weights: a fault of this program");
  if (result.interrupted) {
    fmt::print(stderr, "dogs_vs_cats: stopped after {} of {} steps; the model is as it was, and nothing was written\n",
               result.points.size(), o.sweep.steps);
    throw CLI::RuntimeError(1);
  }
  fmt::print("{} steps{}; the weights are as they were (fingerprint {} before and after)\n", result.points.size(),
             result.diverged ? fmt::format(", then the loss ran away at {:.2g}", result.points.back().lr) : "", before);
  const LrSuggestions& s = result.suggestions;
  if (!s.valley) {
    fmt::print("No suggestion: {} steps are too few to tell; start from a lower --lowest, or take more --steps\n",
               result.points.size());
  }
  if (s.valley && !s.proposed)
    fmt::print("No proposal: the loss does not fall clearly; take a larger --batch or more --steps\n");
  for (const NamedRate& rate : listed(s)) fmt::print("{:<13} {:<9.2g}  {}\n", rate.name, rate.lr, rate.what);
  for (const auto& file : save_lr_find(o.options.out, result)) fmt::print("{}\n", file.string());
  if (!can_draw()) fmt::print("No pictures: gnuplot is not here (apt-get install gnuplot-nox)\n");
}

}  // namespace

void add_lr_find(CLI::App& app) {
  auto* verb = app.add_subcommand("lr-find", "Finds a learning rate, draws the search, leaves the model untouched");
  const auto o = std::make_shared<LrFindVerb>(verb);
  add_training_options(o->kept, o->options);
  verb->add_option("--out", o->options.out, "RUN: the folder for lr_find.csv and its pictures")->required();
  verb->add_option("--lowest", o->sweep.lowest, "First rate")->check(finite_number())->capture_default_str();
  verb->add_option("--highest", o->sweep.highest, "Last rate")->check(finite_number())->capture_default_str();
  verb->add_option("--steps", o->sweep.steps, "Mini-batches, a rate each")->capture_default_str();
  verb->add_flag("--linear", o->sweep.linear, "By equal differences instead of equal factors");
  verb->callback([o] { run(*o); });
}

}  // namespace weft::cli
