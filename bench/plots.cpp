// The report's charts: bars by rung, and a roofline.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "bench/report.h"
#include "core/chart.h"
#include "kernels/error.h"

namespace weft::bench {
namespace {

constexpr std::size_t kMostShapes = 8;  // groups of bars that a chart holds readably

bool usable(const Row& row) {
  return row.fault.empty() && std::isfinite(row.seconds) && row.seconds > 0;
}

std::string caption(const Report& report, const std::string& what) {
  return fmt::format("{}, {}{}", what, report.device,
                     report.meaningless ? " (no speed of a kernel: emulated on the CPU)" : "");
}

/// One group of bars a shape, one bar a rung or peer: GB/s where the op moves more than it computes, else TFLOP/s.
BarChart bars_of(const Report& report, const std::string& op, const std::string& dtype) {
  BarChart chart;
  std::vector<std::string> shapes;
  double flops = 0, bytes = 0;
  for (const Row& row : report.rows) {
    if (row.op != op || row.dtype != dtype || !usable(row)) continue;
    flops += row.flops;
    bytes += row.bytes;
    if (std::ranges::find(shapes, row.shape) == shapes.end() && shapes.size() < kMostShapes)
      shapes.push_back(row.shape);
  }
  const bool by_flops = flops > 20 * bytes;
  chart.title = caption(report, fmt::format("{} {}", op, dtype));
  chart.x_label = "call";
  chart.y_label = by_flops ? "TFLOP/s" : "GB/s";
  for (const Row& row : report.rows) {
    if (row.op != op || row.dtype != dtype || !usable(row)) continue;
    const auto shape = std::ranges::find(shapes, row.shape);
    if (shape == shapes.end()) continue;
    auto bars = std::ranges::find(chart.series, row.who, &BarChart::Bars::name);
    if (bars == chart.series.end())
      bars = chart.series.insert(chart.series.end(), {row.who, std::vector<double>(shapes.size(), kUnknown)});
    bars->values[static_cast<std::size_t>(shape - shapes.begin())] =
        (by_flops ? row.flops * 1e-12 : row.bytes * 1e-9) / row.seconds;
  }
  for (const std::string& shape : shapes) {
    std::string label;
    for (const Row& row : report.rows)
      if (label.empty() && row.shape == shape && row.op == op)
        label = row.note.empty() || row.note == "product" ? shape : row.note;
    chart.categories.push_back(label.size() > 28 ? label.substr(0, 28) : label);
  }
  return chart;
}

/// Every call's best rung and its peer against the ceilings, by operations a byte (Williams, Waterman, Patterson:
/// "Roofline", CACM 2009).
Chart roofline_of(const Report& report, const std::string& arithmetic) {
  Chart chart{.title = caption(report, "roofline, " + arithmetic),
              .x_label = "operations a byte",
              .y_label = "TFLOP/s",
              .log_x = true,
              .log_y = true};
  double least = INFINITY, most = 0;
  Series ours{"best rung", {}, Mark::points}, peers{"peer", {}, Mark::points};
  const auto add = [&](Series& series, const Row& row) {
    if (row.arithmetic != arithmetic || !usable(row) || !(row.flops > 0)) return;
    const double intensity = row.flops / row.bytes;
    least = std::min(least, intensity);
    most = std::max(most, intensity);
    series.points.emplace_back(intensity, row.flops / row.seconds * 1e-12);
  };
  for (const Row* row : best_rungs(report)) add(ours, *row);
  for (const Row& row : report.rows)
    if (row.is_peer) add(peers, row);
  const auto peak = report.ceilings.flops_per_second.find(arithmetic);
  const double flops = peak == report.ceilings.flops_per_second.end() ? 0 : peak->second,
               bytes = report.ceilings.bytes_per_second;
  if (bytes > 0 && most > 0) {
    Series roof{"ceiling", {}, Mark::line};
    const double knee = flops > 0 ? flops / bytes : 2 * most;
    for (const double x : {std::min(least, knee) / 2, knee, std::max(most, knee) * 2})
      roof.points.emplace_back(x, std::min(x * bytes, flops > 0 ? flops : INFINITY) * 1e-12);
    chart.series.push_back(roof);
  }
  chart.series.push_back(ours);
  chart.series.push_back(peers);
  return chart;
}

}  // namespace

std::vector<std::filesystem::path> draw_charts(const Report& report, const std::filesystem::path& folder,
                                               const std::string& prefix) {
  std::vector<std::filesystem::path> files;
  std::vector<std::pair<std::string, std::string>> calls;
  std::vector<std::string> arithmetics;
  for (const Row& row : report.rows) {
    if (!usable(row)) continue;
    if (std::ranges::find(calls, std::pair{row.op, row.dtype}) == calls.end()) calls.emplace_back(row.op, row.dtype);
    if (row.flops > 0 && std::ranges::find(arithmetics, row.arithmetic) == arithmetics.end())
      arithmetics.push_back(row.arithmetic);
  }
  for (const auto& [op, dtype] : calls) {
    files.push_back(folder / fmt::format("{}-{}-{}.svg", prefix, op, dtype));
    draw(bars_of(report, op, dtype), files.back());
  }
  for (const std::string& arithmetic : arithmetics) {
    files.push_back(folder / fmt::format("{}-roofline-{}.svg", prefix, arithmetic));
    draw(roofline_of(report, arithmetic), files.back());
  }
  return files;
}

}  // namespace weft::bench
