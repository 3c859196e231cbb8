#include "bench/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/error.h"

namespace weft::bench {
namespace {

/// Peers may use Winograd, whose sums round more: a kernel of ours that does is allowed as much.
constexpr double kPeerSlack = 8;

/// A launch should be timed for longer than the clock's grain and the launch's own cost.
constexpr double kShortestSample = 2e-4;
constexpr int kMostLaunches = 2000;

double percentile(const std::vector<double>& sorted, double p) {
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Session::Session(const Place& place, Clock& clock, const Case& item, std::vector<std::unique_ptr<Peer>>& peers,
                 const MeasureOptions& options, const Ceilings& ceilings)
    : place_(place),
      clock_(clock),
      item_(item),
      peers_(peers),
      options_(options),
      ceilings_(ceilings),
      call_(place, *item.op, item.problem, options.rotate ? clock.cache_bytes() : 0, clock.stream()),
      truth_(call_) {}

Row Session::row_of(const std::string& who) const {
  const Op& op = *item_.op;
  Row row;
  row.op = op.name;
  row.dtype = dtype_text(item_.problem.dtype);
  row.shape = shape_text(op, item_.problem);
  row.set = item_.set;
  row.note = item_.note;
  row.count = item_.count;
  row.who = who;
  row.arithmetic = item_.arithmetic();
  row.flops = op.flops(item_.problem);
  row.bytes = op.bytes(item_.problem);
  return row;
}

void Session::take_samples(Row& row, const Work& work) {
  int set = 0;
  const auto launch_all = [&](int launches) {
    return clock_.seconds([&] {
      for (int i = 0; i < launches; ++i) {
        work.run(set);
        set = (set + 1) % call_.sets();
      }
    });
  };
  // Warm-up: every set once; and from it, how many launches make a sample.
  const double first = launch_all(call_.sets()) / call_.sets();
  const double estimate = std::min(first, launch_all(call_.sets()) / call_.sets());
  const double per_sample = std::max(kShortestSample, options_.seconds / options_.samples);
  row.launches = std::clamp(static_cast<int>(per_sample / std::max(estimate, 1e-9)), 1, kMostLaunches);
  const double sample = estimate * row.launches;
  row.samples = std::clamp(static_cast<int>(2 * options_.seconds / std::max(sample, 1e-9)), options_.fewest,
                           std::max(options_.fewest, options_.samples));
  std::vector<double> seconds;
  for (int i = 0; i < row.samples; ++i) seconds.push_back(launch_all(row.launches) / row.launches);
  std::ranges::sort(seconds);
  row.seconds = percentile(seconds, 0.5);
  row.low = percentile(seconds, 0.1);
  row.high = percentile(seconds, 0.9);
}

void Session::measure(Row& row, const Work& work) {
  const auto look = [&](double& error, double& bound, const char* when) {
    if (work.collect) work.collect();
    const Deviation found = truth_.judge(work.slack, work.unwritten);
    error = found.norm;
    bound = found.bound;
    if (!found.passes() && row.fault.empty())
      row.fault = fmt::format("wrong {}: {}", when, found.wrong.empty() ? "beyond the bound" : found.wrong.front());
  };
  try {
    call_.reset(0);
    work.run(0);
    place_.target->synchronize(place_.index);
    look(row.error_before, row.bound_before, "before timing");
    take_samples(row, work);
    place_.target->synchronize(place_.index);
    // What the timed launches left is looked at as it lies; an in-out has moved on, and is run once more from its
    // start.
    if (call_.has_inout() && !work.collect) {
      call_.reset(0);
      work.run(0);
      place_.target->synchronize(place_.index);
    }
    look(row.error_after, row.bound_after, "after timing");
  } catch (const std::exception& error) {
    row.fault = error.what();
    return;
  }
  const double floor = ceilings_.floor(row.arithmetic, row.flops, row.bytes);
  if (floor > 0) row.ceiling_share = floor / row.seconds;
  // A little faster is the ceiling's own noise. Below a launch's cost and inside the cache the copy's ceiling does not
  // hold.
  const double least = ceilings_.least(row.op, row.arithmetic, row.flops, row.bytes);
  if (place_.on_gpu() && least > 1.03 * row.seconds &&
      call_.sets() * row.bytes > 2.0 * static_cast<double>(clock_.cache_bytes()) && row.fault.empty())
    row.fault =
        fmt::format("{:.3g} s, and nothing is faster than {:.3g} s: a fault of this benchmark", row.seconds, least);
}

Row Session::measure(const Rung& rung) {
  Row row = row_of(rung.name);
  try {
    const Memory workspace(place_,
                           static_cast<std::size_t>(rung.workspace_bytes ? rung.workspace_bytes(item_.problem) : 0));
    measure(row, {[&](int set) { rung.launch(item_.problem, call_.operands(set), workspace.data(), clock_.stream()); },
                  nullptr,
                  {},
                  rung.bound_factor});
  } catch (const std::exception& error) {
    row.fault = error.what();
  }
  row.peer_ratio = peer_seconds_ / row.seconds;
  return row;
}

std::optional<Row> Session::measure_peer() {
  for (const auto& peer : peers_) {
    Row row = row_of(peer->name());
    row.is_peer = true;
    try {
      call_.reset(0);
      std::optional<PeerCall> prepared = peer->prepare(item_, call_, clock_);
      if (!prepared) continue;
      row.algorithm = prepared->algorithm;
      row.cut_short = prepared->cut_short;
      // Its choice among algorithms has moved what is in-out.
      for (int set = 0; set < call_.sets(); ++set) call_.reset(set);
      measure(row, {prepared->run, prepared->collect, prepared->unwritten, kPeerSlack});
    } catch (const std::exception& error) {
      row.fault = error.what();
    }
    if (row.fault.empty()) peer_seconds_ = row.seconds;
    return row;
  }
  return {};
}

}  // namespace weft::bench
