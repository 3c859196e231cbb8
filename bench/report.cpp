#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/error.h"

namespace weft::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 2;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

double number_of(const Json& json) {
  return json.is_null() ? kUnknown : json.get<double>();
}

/// The doubles of a row that may be unknown, by name: written and read by one list.
struct Field {
  const char* name;
  double Row::*value;
};
constexpr Field kFields[] = {{"flops", &Row::flops},
                             {"bytes", &Row::bytes},
                             {"seconds", &Row::seconds},
                             {"seconds_p10", &Row::low},
                             {"seconds_p90", &Row::high},
                             {"ceiling_share", &Row::ceiling_share},
                             {"peer_ratio", &Row::peer_ratio},
                             {"error_before", &Row::error_before},
                             {"error_after", &Row::error_after},
                             {"bound_share_before", &Row::bound_before},
                             {"bound_share_after", &Row::bound_after}};
struct TextField {
  const char* name;
  std::string Row::*value;
};
constexpr TextField kTexts[] = {
    {"op", &Row::op},      {"dtype", &Row::dtype}, {"shape", &Row::shape},         {"set", &Row::set},
    {"note", &Row::note},  {"who", &Row::who},     {"algorithm", &Row::algorithm}, {"arithmetic", &Row::arithmetic},
    {"fault", &Row::fault}};
struct HeadField {
  const char* name;
  std::string Report::*value;
};
constexpr HeadField kHead[] = {{"date", &Report::date},     {"weft", &Report::version},      {"place", &Report::place},
                               {"device", &Report::device}, {"versions", &Report::versions}, {"host", &Report::host}};

std::string ratio_text(double ratio) {
  return std::isfinite(ratio) ? fmt::format("{:.2f}", ratio) : "";
}

std::string percent_text(double share) {
  return std::isfinite(share) ? fmt::format("{:.0f}%", 100 * share) : "";
}

std::string error_text(const Row& row) {
  if (!std::isfinite(row.error_before) || !std::isfinite(row.error_after)) return "";
  return fmt::format("{:.1e} ({:.0f}% of bound)", std::max(row.error_before, row.error_after),
                     100 * std::max(row.bound_before, row.bound_after));
}

std::string call_of(const Row& row) {
  return fmt::format("{} {} {} {}", row.set, row.op, row.dtype, row.shape);
}

/// A rung's error over the peer's on the same call; NaN where no sound peer has one. A rung that a launcher picks
/// should stay within 2.
double error_over_peers(const Report& report, const Row& rung) {
  for (const Row& row : report.rows)
    if (row.is_peer && row.fault.empty() && call_of(row) == call_of(rung) && row.arithmetic == rung.arithmetic)
      return std::max(rung.error_before, rung.error_after) / std::max(row.error_before, row.error_after);
  return kUnknown;
}

/// Which peers' choices among their algorithms ended before all were tried; empty where none did.
std::string cut_short_text(const Report& report) {
  int peers = 0, cut = 0;
  std::string calls;
  for (const Row& row : report.rows) {
    peers += row.is_peer;
    if (!row.cut_short) continue;
    cut += 1;
    calls += fmt::format("{}{} {} {}", calls.empty() ? "" : "; ", row.op, row.arithmetic,
                         row.note.empty() ? row.shape : row.note);
  }
  if (cut == 0) return "";
  return fmt::format(
      "Of {} calls of peers {} were not tried with every algorithm that the library proposes, for the search's time "
      "(--search) was up, so the peer may be faster than it looks: {}",
      peers, cut, calls);
}

}  // namespace

std::string time_text(double seconds) {
  if (!std::isfinite(seconds)) return "";
  if (seconds < 1e-3) return fmt::format("{:.1f} us", 1e6 * seconds);
  if (seconds < 1) return fmt::format("{:.2f} ms", 1e3 * seconds);
  return fmt::format("{:.2f} s", seconds);
}

std::string to_json(const Report& report) {
  Json json;
  json["format"] = kFormat;
  for (const HeadField& field : kHead) json[field.name] = report.*field.value;
  json["capability"] = report.capability;
  json["meaningless_as_kernel_speed"] = report.meaningless;
  json["peers"] = report.peers;
  json["left_out"] = report.left_out;
  json["passed_over"] = Json::array();
  for (const PassedOver& one : report.passed_over)
    json["passed_over"].push_back({{"set", one.set},
                                   {"op", one.op},
                                   {"arithmetic", one.arithmetic},
                                   {"count", one.count},
                                   {"of", one.of},
                                   {"budget", one.budget}});
  json["ceilings"] = {{"bytes_per_second", number(report.ceilings.bytes_per_second)},
                      {"flops_per_second", report.ceilings.flops_per_second}};
  json["rows"] = Json::array();
  for (const Row& row : report.rows) {
    Json one;
    for (const TextField& field : kTexts) one[field.name] = row.*field.value;
    one["is_peer"] = row.is_peer;
    one["search_cut_short"] = row.cut_short;
    one["count"] = row.count;
    one["samples"] = row.samples;
    one["launches"] = row.launches;
    for (const Field& field : kFields) one[field.name] = number(row.*field.value);
    json["rows"].push_back(std::move(one));
  }
  return json.dump(1) + "\n";
}

Report from_json(const std::string& text, const std::string& where) {
  try {
    const Json json = Json::parse(text);
    if (json.at("format") != kFormat)
      fail(fmt::format("{}: written by another weft_bench (format {}, wanted {})", where, json.at("format").dump(),
                       kFormat));
    Report report;
    for (const HeadField& field : kHead) report.*field.value = json.at(field.name).get<std::string>();
    report.capability = json.at("capability").get<int>();
    report.meaningless = json.at("meaningless_as_kernel_speed").get<bool>();
    report.peers = json.at("peers").get<std::vector<std::string>>();
    report.left_out = json.at("left_out").get<std::vector<std::string>>();
    for (const Json& one : json.at("passed_over"))
      report.passed_over.push_back({one.at("set").get<std::string>(), one.at("op").get<std::string>(),
                                    one.at("arithmetic").get<std::string>(), one.at("count").get<int>(),
                                    one.at("of").get<int>(), one.at("budget").get<double>()});
    report.ceilings.bytes_per_second = number_of(json.at("ceilings").at("bytes_per_second"));
    report.ceilings.flops_per_second = json.at("ceilings").at("flops_per_second").get<std::map<std::string, double>>();
    for (const Json& one : json.at("rows")) {
      Row row;
      for (const TextField& field : kTexts) row.*field.value = one.at(field.name).get<std::string>();
      row.is_peer = one.at("is_peer").get<bool>();
      row.cut_short = one.at("search_cut_short").get<bool>();
      row.count = one.at("count").get<int>();
      row.samples = one.at("samples").get<int>();
      row.launches = one.at("launches").get<int>();
      for (const Field& field : kFields) row.*field.value = number_of(one.at(field.name));
      report.rows.push_back(std::move(row));
    }
    return report;
  } catch (const nlohmann::json::exception& error) {
    fail(fmt::format("{}: not a result of weft_bench: {}", where, error.what()));
  }
}

std::vector<std::string> passed_over_lines(const Report& report) {
  std::vector<std::string> lines;
  std::set<std::string> sets;
  for (const PassedOver& first : report.passed_over) {
    if (!sets.insert(first.set).second) continue;
    int count = 0, of = 0;
    double budget = 0;
    std::string calls;
    for (const PassedOver& one : report.passed_over) {
      if (one.set != first.set) continue;
      count += one.count;
      of += one.of;
      budget = std::max(budget, one.budget);
      calls += fmt::format("{}{} of {} {}", calls.empty() ? "" : ", ", one.count, one.op, one.arithmetic);
    }
    lines.push_back(fmt::format("{}: {} of {} measurements are left out, for the {:.0f} s were up: {}", first.set,
                                count, of, budget, calls));
  }
  return lines;
}

Report merged(Report older, const Report& newer) {
  if (older.device != newer.device || older.capability != newer.capability)
    fail(fmt::format("results of different devices do not make one report: {}, and {}", older.device, newer.device));
  const auto key = [](const Row& row) { return fmt::format("{} {} {}", call_of(row), row.who, row.is_peer); };
  // By op and arithmetic: a set may be measured in several goes, an op or a type each.
  const auto part = [](const auto& one) { return fmt::format("{} {} {}", one.set, one.op, one.arithmetic); };
  std::set<std::string> rows, parts;
  for (const Row& row : newer.rows) {
    rows.insert(key(row));
    parts.insert(part(row));
  }
  for (const PassedOver& one : newer.passed_over) parts.insert(part(one));
  std::erase_if(older.rows, [&](const Row& row) { return rows.contains(key(row)); });
  std::erase_if(older.passed_over, [&](const PassedOver& one) { return parts.contains(part(one)); });
  Report both = newer;
  both.passed_over.insert(both.passed_over.begin(), older.passed_over.begin(), older.passed_over.end());
  both.rows = std::move(older.rows);
  both.rows.insert(both.rows.end(), newer.rows.begin(), newer.rows.end());
  const auto unite = [](std::vector<std::string>& all, const std::vector<std::string>& more) {
    for (const std::string& one : more)
      if (std::ranges::find(all, one) == all.end()) all.push_back(one);
  };
  unite(both.left_out, older.left_out);
  unite(both.peers, older.peers);
  both.ceilings.bytes_per_second = std::max(both.ceilings.bytes_per_second, older.ceilings.bytes_per_second);
  for (const auto& [arithmetic, flops] : older.ceilings.flops_per_second) {
    double& most = both.ceilings.flops_per_second[arithmetic];
    most = std::max(most, flops);
  }
  return both;
}

std::vector<const Row*> best_rungs(const Report& report) {
  std::map<std::string, std::size_t> index;
  std::vector<const Row*> best;
  for (const Row& row : report.rows) {
    if (row.is_peer || !row.fault.empty() || !std::isfinite(row.seconds)) continue;
    const auto [known, fresh] = index.try_emplace(call_of(row), best.size());
    if (fresh)
      best.push_back(&row);
    else if (row.seconds < best[known->second]->seconds)
      best[known->second] = &row;
  }
  return best;
}

std::string to_markdown(const Report& report) {
  std::string text = fmt::format("# weft_bench on {}\n\n{}, {}; host: {}; weft {}, {}.\n", report.device, report.place,
                                 report.versions, report.host, report.version, report.date);
  if (report.meaningless)
    text += "\n**These times say nothing about a kernel's speed: the SIMT machine ran the kernels on the CPU.**\n";
  for (const std::string& line : report.left_out) text += fmt::format("\n{}.\n", line);
  for (const std::string& line : passed_over_lines(report)) text += fmt::format("\n{}.\n", line);
  if (const std::string cut = cut_short_text(report); !cut.empty()) text += fmt::format("\n{}.\n", cut);
  if (report.ceilings.bytes_per_second > 0) {
    text += fmt::format("\nCeilings measured in this run: copy {:.4g} GB/s", report.ceilings.bytes_per_second * 1e-9);
    for (const auto& [name, flops] : report.ceilings.flops_per_second)
      text +=
          flops > 0 ? fmt::format(", {} {:.4g} TFLOP/s", name, flops * 1e-12) : fmt::format(", {} not measured", name);
    text += ".\n";
  }
  text += fmt::format("\n{}", summary_markdown(report));
  std::vector<std::string> ops;
  for (const Row& row : report.rows)
    if (std::ranges::find(ops, row.op) == ops.end()) ops.push_back(row.op);
  for (const std::string& op : ops) {
    text += fmt::format(
        "\n## {}\n\n| type | shape | who | time (p10 to p90) | TFLOP/s | GB/s | of ceiling | x peer | error before, "
        "after |\n"
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
        op);
    for (const Row& row : report.rows) {
      if (row.op != op) continue;
      const std::string who = row.algorithm.empty() ? row.who : fmt::format("{} ({})", row.who, row.algorithm);
      if (!row.fault.empty()) {
        text += fmt::format("| {} | {} {} | {} | **{}** | | | | | |\n", row.arithmetic, row.note, row.shape, who,
                            row.fault);
        continue;
      }
      text += fmt::format("| {} | {} {} | {} | {} ({} to {}) | {:.3g} | {:.3g} | {} | {} | {} |\n", row.arithmetic,
                          row.note, row.shape, who, time_text(row.seconds), time_text(row.low), time_text(row.high),
                          row.flops / row.seconds * 1e-12, row.bytes / row.seconds * 1e-9,
                          percent_text(row.ceiling_share), ratio_text(row.peer_ratio), error_text(row));
    }
  }
  return text;
}

std::string summary_markdown(const Report& report) {
  struct Sum {
    double log_ratio = 0, worst = INFINITY, log_share = 0, worst_error = kUnknown;
    int calls = 0, ratios = 0, shares = 0;
    std::string rungs;
  };
  std::vector<std::pair<std::string, Sum>> groups;  // in the rows' order
  for (const Row* row : best_rungs(report)) {
    const std::string key = fmt::format("{} | {} | {}", row->set, row->op, row->arithmetic);
    auto found = std::ranges::find(groups, key, &std::pair<std::string, Sum>::first);
    if (found == groups.end()) found = groups.insert(groups.end(), {key, {}});
    Sum& sum = found->second;
    sum.calls += 1;
    if (sum.rungs.find(row->who) == std::string::npos) sum.rungs += (sum.rungs.empty() ? "" : ", ") + row->who;
    if (std::isfinite(row->peer_ratio)) {
      sum.log_ratio += std::log(row->peer_ratio);
      sum.worst = std::min(sum.worst, row->peer_ratio);
      sum.ratios += 1;
    }
    sum.worst_error = std::fmax(sum.worst_error, error_over_peers(report, *row));
    if (std::isfinite(row->ceiling_share) && row->ceiling_share > 0) {
      sum.log_share += std::log(row->ceiling_share);
      sum.shares += 1;
    }
  }
  std::string text =
      "| set | op | type | calls | x peer, geometric mean | worst | of ceiling | largest error, x peer's | best rungs "
      "|\n"
      "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n";
  for (const auto& [key, sum] : groups)
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", key, sum.calls,
                        sum.ratios > 0 ? ratio_text(std::exp(sum.log_ratio / sum.ratios)) : "",
                        sum.ratios > 0 ? ratio_text(sum.worst) : "",
                        sum.shares > 0 ? percent_text(std::exp(sum.log_share / sum.shares)) : "",
                        ratio_text(sum.worst_error), sum.rungs);
  return text;
}

}  // namespace weft::bench
