#pragma once
// What a run of weft_bench found, on paper: JSON that holds all of it and can be read back, Markdown tables and charts
// made from that. A table or a chart is therefore the same whether it is made where the GPU is or later from the file.

#include <filesystem>
#include <string>
#include <vector>

#include "bench/measure.h"

namespace weft::bench {

/// Measurements of an op in a set for which the budget left no time: `count` of the `of` that were to be made.
struct PassedOver {
  std::string set, op, arithmetic;
  int count = 0, of = 0;
  double budget = 0;  ///< seconds
};

struct Report {
  std::string date, version, place, device, versions, host;  ///< place: "cuda:0"; device: its name, as it calls itself
  int capability = 0;
  /// True where the figures say nothing about a kernel's speed: on simt.
  bool meaningless = false;
  std::vector<std::string> peers, left_out;  ///< left out: peers that are not here, a sentence each
  std::vector<PassedOver> passed_over;
  Ceilings ceilings;
  std::vector<Row> rows;
};

/// JSON text; NaN becomes null.
std::string to_json(const Report& report);
/// Reads to_json()'s text. Throws Error naming `where` and what is wrong with it.
Report from_json(const std::string& text, const std::string& where);

/// Two runs on the same device as one report, so that a long measurement can be made in several goes: `newer`'s rows
/// take the place of `older`'s of the same set, call and rung; what `older` had no time for is forgotten where `newer`
/// has the op in that set and arithmetic; the head is newer's, the ceilings are the higher ones. Throws Error where the
/// devices differ.
Report merged(Report older, const Report& newer);
/// A line a set that the budget cut short: "gemm: 2 of 5 measurements are left out, for the 10 s were up: 2 of gemm
/// bf16". Measurements of what was there whole are not counted.
std::vector<std::string> passed_over_lines(const Report& report);

/// The whole report: what it ran on, a table for each op, and what went wrong.
std::string to_markdown(const Report& report);
/// One line a set, op and type for a short look: the geometric mean of the ratio of the best rung to the peer, the
/// worst of the ratios, the share of the ceiling, and the largest of the best rungs' errors as a multiple of the
/// peer's.
std::string summary_markdown(const Report& report);

/// Draws bars by rung (one chart an op) and a roofline a type, as FOLDER/PREFIX-*.svg. Returns the files. Throws Error
/// as draw() does.
std::vector<std::filesystem::path> draw_charts(const Report& report, const std::filesystem::path& folder,
                                               const std::string& prefix);

/// The fastest sound rung of each call of each set, in the order of the rows.
std::vector<const Row*> best_rungs(const Report& report);
/// "1.23 ms", "45.6 us".
std::string time_text(double seconds);

}  // namespace weft::bench
