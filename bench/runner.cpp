#include "bench/runner.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <regex>

#include "core/version.h"
#include "kernels/error.h"

namespace weft::bench {
namespace {

/// What a measurement's line says beyond its name.
std::string line_of(const Row& row) {
  if (!row.fault.empty()) return row.fault;
  std::string line =
      fmt::format("{:>10} ({} to {})  {:8.3g} TFLOP/s {:8.4g} GB/s", time_text(row.seconds), time_text(row.low),
                  time_text(row.high), row.flops / row.seconds * 1e-12, row.bytes / row.seconds * 1e-9);
  if (std::isfinite(row.ceiling_share)) line += fmt::format("  {:3.0f}% of ceiling", 100 * row.ceiling_share);
  if (std::isfinite(row.peer_ratio)) line += fmt::format("  {:.2f}x peer", row.peer_ratio);
  return line + fmt::format("  error {:.1e}", std::max(row.error_before, row.error_after));
}

/// Prints a line a measurement, as they come.
class LineReporter final : public ::benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      fmt::print("{:<64} {}\n", run.run_name.function_name,
                 run.error_occurred ? "FAULT: " + run.error_message : run.report_label);
    }
    std::fflush(stdout);
  }
};

std::string without_suffix(const char* text) {
  const std::string whole = text;
  return whole.substr(0, whole.find(','));
}

}  // namespace

Runner::Runner(const Place& place, std::vector<Case> cases, const RunOptions& options)
    : place_(place), clock_(make_clock(place_)), cases_(std::move(cases)), options_(options) {
  report_.date = timestamp();
  report_.version = version();
  report_.place = place_.name;
  report_.device = place_.on_gpu()    ? without_suffix(place_.target->describe(place_.index))
                   : place_.has_rungs ? place_.target->describe(place_.index)
                                      : processor();
  report_.versions = versions_text(place_);
  report_.host = processor();
  report_.capability = place_.capability;
  report_.meaningless = !place_.on_gpu() && place_.has_rungs;
  if (options_.peers) peers_ = open_peers(place_, report_.left_out, options_.search_seconds);
  for (const auto& peer : peers_) report_.peers.push_back(peer->name());
}

Session& Runner::session(std::size_t which) {
  if (session_ == nullptr || session_of_ != which) {
    session_.reset();  // its memory first
    session_ = std::make_unique<Session>(place_, *clock_, cases_[which], peers_, options_.measure, report_.ceilings);
    session_of_ = which;
  }
  return *session_;
}

PassedOver Runner::part_of(const Item& item) const {
  const Case& its = cases_[item.which];
  return {its.set, its.op->name, its.arithmetic(), 0, 0, options_.budget};
}

void Runner::measure(const Item& item, void* untyped) {
  auto& state = *static_cast<::benchmark::State*>(untyped);
  if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count() > options_.budget) {
    PassedOver late = part_of(item);
    const auto same = [&](const PassedOver& one) {
      return one.set == late.set && one.op == late.op && one.arithmetic == late.arithmetic;
    };
    auto mine = std::ranges::find_if(report_.passed_over, same);
    if (mine == report_.passed_over.end()) {
      for (const Item& other : items_) late.of += same(part_of(other));
      mine = report_.passed_over.insert(mine, late);
    }
    mine->count += 1;
    state.SkipWithError("passed over: the time is up");
    return;
  }
  Row row;
  try {
    Session& here = session(item.which);
    if (item.rung != nullptr) {
      row = here.measure(*item.rung);
    } else if (std::optional<Row> found = here.measure_peer()) {
      row = *found;
    } else {
      state.SkipWithError("no peer has this call");
      return;
    }
  } catch (const std::exception& error) {  // the buffers do not fit, say
    const Case& failed = cases_[item.which];
    row.op = failed.op->name;
    row.dtype = dtype_text(failed.problem.dtype);
    row.shape = shape_text(*failed.op, failed.problem);
    row.set = failed.set;
    row.who = item.rung != nullptr ? item.rung->name : "peer";
    row.is_peer = item.rung == nullptr;
    row.arithmetic = failed.arithmetic();
    row.fault = error.what();
  }
  report_.rows.push_back(row);
  row_case_.push_back(item.which);
  if (!row.fault.empty()) {
    state.SkipWithError(row.fault.c_str());
    return;
  }
  // One iteration is a whole measurement, and its time the median of the samples: a kernel's time is taken by the clock
  // that is right for its device, not by the host's.
  for (auto iteration : state) {
    (void)iteration;
    state.SetIterationTime(row.seconds);
  }
  state.counters["p10"] = row.low;
  state.counters["p90"] = row.high;
  state.counters["FLOP/s"] = row.flops / row.seconds;
  state.counters["B/s"] = row.bytes / row.seconds;
  state.counters["ceiling_share"] = row.ceiling_share;
  state.counters["peer_ratio"] = row.peer_ratio;
  state.counters["error"] = std::max(row.error_before, row.error_after);
  state.SetLabel(line_of(row));
}

void Runner::register_all() {
  const std::regex wanted(options_.rung);
  for (std::size_t which = 0; which < cases_.size(); ++which) {
    const Case& item = cases_[which];
    const auto add = [&](const Rung* rung) {
      items_.push_back({which, rung});
      const Item& mine = items_.back();
      const std::string name = fmt::format("{}/{}/{}/{}", item.op->name, rung != nullptr ? rung->name : "peer",
                                           item.arithmetic(), shape_text(*item.op, item.problem));
      ::benchmark::RegisterBenchmark(name.c_str(), [this, &mine](::benchmark::State& state) { measure(mine, &state); })
          ->Iterations(1)
          ->UseManualTime();
    };
    if (!peers_.empty() && (item.op->peer != nullptr || !place_.on_gpu())) add(nullptr);
    if (!options_.rungs || !place_.has_rungs) continue;
    for (const Rung& rung : item.op->rungs)
      if (can_run(rung, item.problem, place_.capability) && std::regex_search(rung.name, wanted)) add(&rung);
  }
}

const Report& Runner::run() {
  start_ = std::chrono::steady_clock::now();
  report_.ceilings = measure_ceilings(place_, *clock_);
  register_all();
  LineReporter reporter;
  ::benchmark::RunSpecifiedBenchmarks(&reporter);
  session_.reset();
  return report_;
}

std::vector<std::string> Runner::fastest() const {
  std::vector<std::string> names(cases_.size());
  std::vector<double> seconds(cases_.size(), INFINITY);
  for (std::size_t i = 0; i < report_.rows.size(); ++i) {
    const Row& row = report_.rows[i];
    const std::size_t which = row_case_[i];
    if (row.is_peer || !row.fault.empty() || !(row.seconds < seconds[which])) continue;
    seconds[which] = row.seconds;
    names[which] = row.who;
  }
  return names;
}

}  // namespace weft::bench
