// Every rung of every op beside its peer.
//
//   weft_bench [--device cuda|simt|cpu] [--sets gemm,resnet34,...] [--op RE] [--rung RE] [--shape RE] [--dtype
//   f32,bf16]
//              [--out FOLDER] [--tune FILE] [Google Benchmark's own flags]
//   weft_bench --rungs [--resources]        lists all rungs, or the threads and shared memory of what they launch
//   weft_bench --from FILE... --out FOLDER  makes table and charts of earlier runs' JSON again, of several as of one;
//                                           without --out their summary

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

#include "bench/runner.h"
#include "core/chart.h"
#include "core/version.h"
#include "kernels/error.h"
#include "kernels/rung_table.h"
#include "kernels/simt/rung_resources.h"
#include "tools/command_line.h"

using namespace weft;
using namespace weft::bench;

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string device = "cuda", tune, name = "bench";
  std::vector<std::string> from;
  fs::path out;
  std::vector<std::string> dtypes = {"f32", "bf16"};
  bool list_rungs = false, resources = false, describe = false, no_rotate = false, no_peers = false, no_charts = false;
  CaseOptions cases;
  RunOptions run;
};

/// "sm_90a alone; bf16; lda and ldb multiples of 8; addresses of whole 16 bytes", "any GPU; f32, bf16".
std::string needs_text(const Needs& needs) {
  std::string text = needs.exact_capability != 0 ? fmt::format("sm_{}a alone", needs.exact_capability)
                     : needs.min_capability != 0 ? fmt::format("sm_{} or newer", needs.min_capability)
                                                 : "any GPU";
  const char* separator = "; ";
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::u8})
    if (needs.dtypes & (1u << static_cast<unsigned>(dtype))) {
      text += separator + dtype_text(dtype);
      separator = ", ";
    }
  if (needs.takes_what != nullptr) text += fmt::format("; {}", needs.takes_what);
  if (needs.alignment > 1) text += fmt::format("; addresses of whole {} bytes", needs.alignment);
  return text;
}

void list_rungs(const std::string& op_pattern) {
  const std::regex wanted(op_pattern);
  for (const Op* op : weft::simt::target().catalogue()) {
    if (!std::regex_search(op->name, wanted)) continue;
    fmt::print("{}: {}{}\n", op->name, op->formula, op->peer == nullptr ? "" : fmt::format("  [peer {}]", op->peer));
    for (const Rung& rung : op->rungs)
      fmt::print("  {}/{}  ({})\n      {}\n", op->name, rung.name, needs_text(rung.needs), rung.idea);
  }
}

/// What each rung's launches ask for, a line a place; tools/kernel_resources appends it to what the compiler says.
void list_resources(const std::string& op_pattern) {
  const std::regex wanted(op_pattern);
  fmt::print(
      "Launches of each rung: the largest figures over the catalogue's shapes, in float32 and bfloat16, as simt ran "
      "them;\na larger shape may want more of a rung that cuts its work by the shape. Shared memory is in bytes; "
      "allowed is what\nthe least GPU that the rung may run on gives a block.\n\n"
      "{:>9}{:>9}{:>16}{:>15}{:>10}{:>10}  {:<52} launched at\n",
      "threads", "cluster", "dynamic shared", "static shared", "together", "allowed", "rung");
  const auto all = weft::simt::rung_launches([&](const Op& op) { return std::regex_search(op.name, wanted); });
  for (const auto& launches : all)
    fmt::print("{:>9}{:>9}{:>16}{:>15}{:>10}{:>10}  {:<52} {}\n", launches.threads, launches.cluster_blocks,
               launches.dynamic_shared_bytes, launches.static_shared_bytes, launches.shared_bytes,
               weft::simt::shared_limit(launches.rung->needs),
               fmt::format("{}/{}", launches.op->name, launches.rung->name), launches.place);
}

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) fail(fmt::format("cannot write {}", path.string()));
}

/// JSON, Markdown and, where gnuplot is, charts.
void write_report(const Report& report, const Options& options) {
  if (options.out.empty()) return;
  std::error_code error;
  fs::create_directories(options.out, error);
  write_text(options.out / (options.name + ".json"), to_json(report));
  write_text(options.out / (options.name + ".md"), to_markdown(report));
  if (options.no_charts) return;
  if (!can_draw()) {
    fmt::print("No charts: gnuplot is not here. Elsewhere: weft_bench --from {}.json --out FOLDER\n", options.name);
    return;
  }
  fmt::print("{} charts in {}\n", draw_charts(report, options.out, options.name).size(), options.out.string());
}

Report read_report(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) fail(fmt::format("cannot read {}", path));
  return from_json(text.str(), path);
}

/// The capability that a table is written for: the device's, or what a test forces on simt.
int table_capability(const Place& place) {
  const char* forced = std::getenv("WEFT_CAPABILITY");
  if (place.on_gpu()) return place.capability;
  if (forced == nullptr || std::atoi(forced) <= 0)
    fail(
        "--tune measures GPUs: what is fast on simt says nothing (WEFT_CAPABILITY=90 makes it write a table all the "
        "same, for tests)");
  return std::atoi(forced);
}

void write_tuned(const Runner& runner, const Report& report, const Place& place, const std::string& path) {
  RungTable table(report.device, table_capability(place));
  std::ifstream file(path);
  std::stringstream before;
  before << file.rdbuf();
  const std::vector<std::string> fastest = runner.fastest();
  for (std::size_t i = 0; i < fastest.size(); ++i)
    if (!fastest[i].empty()) table.add(*runner.cases()[i].op, runner.cases()[i].problem, fastest[i]);
  const std::size_t measured = table.entries().size();
  if (file) {
    const RungTable older = RungTable::parse(before.str(), path);
    if (older.device() == table.device()) table.keep(older);
  }
  write_text(path, table.text());
  fmt::print("{} of {} calls have a fastest rung in {}\n", measured, fastest.size(), path);
}

/// What would be measured on, and beside what; a line each.
void describe(const Options& options) {
  const Place place = make_place(options.device);
  std::vector<std::string> said;
  const auto peers = open_peers(place, said);
  fmt::print("{}: {}\n{}\nhost: {}; weft {}, {}\n", place.name,
             place.has_rungs ? place.target->describe(place.index) : processor(), versions_text(place), processor(),
             version(), timestamp());
  for (const auto& peer : peers) fmt::print("beside {}\n", peer->name());
  for (const std::string& line : said) fmt::print("{}\n", line);
}

int measure(Options& options) {
  const Place place = make_place(options.device);
  if (!options.tune.empty()) table_capability(place);  // refused before hours of measuring
  options.cases.dtypes.clear();
  for (const std::string& name : options.dtypes)
    options.cases.dtypes.push_back(name == "bf16" ? DType::bf16 : DType::f32);
  std::vector<Case> cases = make_cases(place, options.cases);
  if (cases.empty()) fail("no call of the catalogue matches --op, --shape and --dtype");
  options.run.peers = !options.no_peers;
  options.run.measure.rotate = !options.no_rotate;
  Runner runner(place, std::move(cases), options.run);
  const Report& report = runner.run();
  for (const std::string& line : report.left_out) fmt::print("{}\n", line);
  for (const std::string& line : passed_over_lines(report)) fmt::print("{}\n", line);
  if (report.meaningless)
    fmt::print("These times say nothing about a kernel's speed: the SIMT machine ran them on the CPU.\n");
  write_report(report, options);
  if (!options.tune.empty()) write_tuned(runner, report, place, options.tune);
  int faults = 0, of_peers = 0, peer_faults = 0;
  for (const Row& row : report.rows) {
    faults += !row.fault.empty() && !row.is_peer;
    of_peers += row.is_peer;
    peer_faults += !row.fault.empty() && row.is_peer;
    if (!row.fault.empty() && row.is_peer) fmt::print("peer: {} {} {}: {}\n", row.op, row.dtype, row.shape, row.fault);
  }
  std::fflush(stdout);
  if (faults > 0) fmt::print(stderr, "weft_bench: {} of {} measurements failed\n", faults, report.rows.size());
  // One call that a library refuses leaves a gap; where it refuses all of them nothing was compared.
  const bool no_peer = of_peers > 0 && peer_faults == of_peers;
  if (no_peer)
    fmt::print(stderr, "weft_bench: all {} measurements of the peer failed: nothing was compared\n", of_peers);
  return faults > 0 || no_peer ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Google Benchmark answers --help by itself, with its own flags alone, and ends the program; -h it leaves to us.
  char help[] = "-h";
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--help") argv[i] = help;
  ::benchmark::Initialize(&argc, argv);  // takes its own flags out
  CLI::App app("Every rung of every op, beside cuBLAS, cuDNN or oneDNN.", "weft_bench");
  app.set_help_flag("-h,--help", "Print this, and Google Benchmark's flags");
  Options options;
  cli::add_version(app);
  CLI::Option* const list = app.add_flag("--rungs", options.list_rungs, "List every rung: what it needs, and its idea");
  app.add_flag("--resources", options.resources,
               "With --rungs: threads, clusters and shared memory of each rung's launches, from a run on simt")
      ->needs(list);
  app.add_flag("--describe", options.describe, "Say what device, driver and libraries are here; measure nothing");
  app.add_option("--device", options.device, "cuda, cuda:N, simt (times mean nothing there) or cpu (oneDNN alone)")
      ->capture_default_str();
  app.add_option("--sets", options.cases.sets,
                 "Shapes: gemm, ops, catalogue, or a model's training step, and what fusing and gathering make of it")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--batches", options.cases.batches, "Pictures a batch, of a model")
      ->delimiter(',')
      ->check(cli::number_above(0))
      ->capture_default_str();
  app.add_option("--size", options.cases.size, "Pixels a side, of a model")
      ->check(cli::number_above(0))
      ->capture_default_str();
  app.add_option("--op", options.cases.op, "Only ops whose name holds this regular expression");
  app.add_option("--rung", options.run.rung, "Only rungs whose name holds this one");
  app.add_option("--shape", options.cases.shape, "Only shapes (M=256,N=256,K=256) that hold this one");
  app.add_option("--dtype", options.dtypes,
                 "f32 (with TF32 where an op knows it), bf16; the first named is measured first")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--seconds", options.run.measure.seconds, "To spend on the samples of a measurement")
      ->check(cli::number_above(0))
      ->capture_default_str();
  app.add_option("--samples", options.run.measure.samples, "Samples of a measurement")
      ->check(cli::number_above(0))
      ->capture_default_str();
  app.add_option("--budget", options.run.budget, "Seconds after which the rest is passed over")
      ->check(cli::number_above(0));
  app.add_option("--search", options.run.search_seconds,
                 "Seconds that cuDNN's choice of a convolution's engine may take")
      ->check(cli::number_above(0))
      ->capture_default_str();
  app.add_flag("--no-peers", options.no_peers, "Measure the rungs alone");
  app.add_flag("--no-rotate", options.no_rotate, "Run on one set of buffers, be they in the cache");
  app.add_flag("--no-charts", options.no_charts, "Draw no charts");
  app.add_option("--out", options.out, "Folder for NAME.json, NAME.md and the charts");
  app.add_option("--name", options.name, "Of those files")->capture_default_str();
  app.add_option("--tune", options.tune,
                 "Write the fastest rung of each call to this file, for kernels/tuned/; what it says of other calls on "
                 "this GPU stays");
  app.add_option(
      "--from", options.from,
      "Make the tables and charts of these JSON files again, together, or without --out print their summary; "
      "measure nothing");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}\nGoogle Benchmark's flags:\n", app.help());
    std::fflush(stdout);
    ::benchmark::PrintDefaultHelp();
    return 0;
  } catch (const CLI::ParseError& error) {
    return cli::answer(app, error);
  }
  try {
    if (options.list_rungs) {
      if (options.resources)
        list_resources(options.cases.op);
      else
        list_rungs(options.cases.op);
      return 0;
    }
    if (options.describe) {
      describe(options);
      return 0;
    }
    if (!options.from.empty()) {
      Report report = read_report(options.from.front());
      for (std::size_t i = 1; i < options.from.size(); ++i)
        report = merged(std::move(report), read_report(options.from[i]));
      if (options.out.empty())
        fmt::print("{}", summary_markdown(report));
      else
        write_report(report, options);
      return 0;
    }
    return measure(options);
  } catch (const UsageError& error) {
    fmt::print(stderr, "weft_bench: {}\n", error.what());
    return 2;
  } catch (const std::regex_error& error) {
    fmt::print(stderr, "weft_bench: --op, --rung and --shape want regular expressions: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "weft_bench: {}\n", error.what());
    return 1;
  }
}
