// weft_bench and readme_table as a person runs them, without a GPU.

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "bench/report.h"
#include "core/chart.h"
#include "core/problem.h"
#include "kernels/rung_table.h"
#include "tests/bench/programs.h"

namespace weft::tests {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kTiny = {"--device",  "simt",
                                        "--sets",    "catalogue",
                                        "--op",      "^(relu|softmax)$",
                                        "--shape",   "^(n=33|rows=3,C=2)$",
                                        "--dtype",   "f32,bf16",
                                        "--seconds", "0.001",
                                        "--samples", "3"};

std::vector<std::string> tiny(std::vector<std::string> more) {
  more.insert(more.begin(), kTiny.begin(), kTiny.end());
  return more;
}

TEST_CASE("weft_bench --rungs: each rung with what it needs and its idea") {
  const auto listed = weft_bench({"--rungs"});
  CHECK(listed.status == 0);
  for (const Op* op : simt::target().catalogue())
    for (const Rung& rung : op->rungs) {
      CHECK(has(listed.out, std::string("  ") + op->name + "/" + rung.name + "  ("));
      CHECK(has(listed.out, rung.idea));
    }
  const auto one = weft_bench({"--rungs", "--op", "^relu$"});
  CHECK(lines(one.out) == 5);
  CHECK(has(one.out, "relu/float4  (any GPU; f32, bf16)"));
  CHECK(has(weft_bench({"--rungs", "--op", "^gemm$"}).out,
            "gemm/wgmma-tma  (sm_90a alone; bf16; lda and ldb multiples of 8; addresses of whole 16 bytes)"));
}

TEST_CASE("weft_bench --rungs --resources: what each rung's launches ask for, the dynamic shared memory included") {
  const auto listed = weft_bench({"--rungs", "--resources", "--op", "^log_softmax$"});
  CHECK(listed.status == 0);
  INFO(listed.out);
  std::size_t rungs = 0;
  for (const Op* op : simt::target().catalogue())
    if (std::string(op->name) == "log_softmax") rungs = op->rungs.size();
  CHECK(rungs > 0);
  CHECK(lines(listed.out) == 4 + rungs);  // the head, and a line a rung
  // A row of 50021 floats, wherever it starts, and the warps' sums.
  CHECK(
      has(listed.out, "1024        1          200112            256    200368    232448  log_softmax/shared-resident"));
  CHECK(has(listed.out, "kernels/softmax.cu:"));
  CHECK(weft_bench({"--resources"}).status == 2);
}

TEST_CASE(
    "weft_bench on simt: measures, verifies, writes JSON, table and charts, and says that its times mean nothing") {
  const TemporaryFolder folder;
  const auto run = weft_bench(tiny({"--out", (folder / "out").string(), "--name", "tiny"}));
  CHECK(run.status == 0);
  INFO(run.out);
  INFO(run.err);
  CHECK(has(run.out, "say nothing about a kernel's speed"));
  CHECK(has(run.out, "relu/float4/bf16/n=33"));
  const auto json = nlohmann::json::parse(read_all(folder / "out/tiny.json"));
  CHECK(json["meaningless_as_kernel_speed"] == true);
  CHECK(json["place"] == "simt");
  int rungs = 0, peers = 0;
  for (const auto& row : json["rows"]) {
    CHECK(row["fault"] == "");
    CHECK(row["seconds"].get<double>() > 0);
    CHECK(row["error_before"].get<double>() <= 1e-2);
    CHECK(row["bound_share_after"].get<double>() <= 1);
    (row["is_peer"].get<bool>() ? peers : rungs) += 1;
  }
  const auto count = [](const char* name) {
    return static_cast<int>(find_op(simt::target().catalogue(), name)->rungs.size());
  };
  CHECK(rungs == 2 * (count("relu") + count("softmax")));
  CHECK(peers == 0);  // the catalogue's shapes are no nodes of a graph, which oneDNN would need
  const std::string table = read_all(folder / "out/tiny.md");
  CHECK(has(table, "## softmax"));
  CHECK(has(table, "**These times say nothing"));
  if (can_draw()) CHECK(fs::exists(folder / "out/tiny-relu-f32.svg"));

  // The same table and charts come from the file alone.
  const auto again = weft_bench(
      {"--from", (folder / "out/tiny.json").string(), "--out", (folder / "again").string(), "--name", "tiny"});
  CHECK(again.status == 0);
  CHECK(read_all(folder / "again/tiny.md") == table);
  CHECK(read_all(folder / "again/tiny.json") == read_all(folder / "out/tiny.json"));
  const auto summary = weft_bench({"--from", (folder / "out/tiny.json").string()});
  CHECK(has(summary.out, "| catalogue | relu | f32 | 1 |"));
}

TEST_CASE("weft_bench on simt: oneDNN stands beside a model's layers") {
#if WEFT_WITH_CPU
  const TemporaryFolder folder;
  const auto run = weft_bench({"--device",   "simt",      "--sets", "lenet",        "--batches",
                               "1",          "--size",    "28",     "--op",         "^(gemm|relu)$",
                               "--dtype",    "f32",       "--rung", "naive|scalar", "--seconds",
                               "0.001",      "--samples", "3",      "--out",        folder.path().string(),
                               "--no-charts"});
  CHECK(run.status == 0);
  INFO(run.out);
  const auto json = nlohmann::json::parse(read_all(folder / "bench.json"));
  REQUIRE(json["peers"].size() == 1);
  CHECK(json["peers"][0].get<std::string>().starts_with("oneDNN "));
  int ratios = 0;
  for (const auto& row : json["rows"]) ratios += row["peer_ratio"].is_number() ? 1 : 0;
  CHECK(ratios > 0);
  const auto cpu = weft_bench({"--device", "cpu", "--sets", "lenet", "--batches", "1", "--size", "28", "--op", "^gemm$",
                               "--dtype", "f32", "--seconds", "0.001", "--samples", "3"});
  CHECK(cpu.status == 0);
  CHECK(has(cpu.out, "gemm/peer/f32/"));
  CHECK(!has(cpu.out, "say nothing"));
#else
  MESSAGE("skipped: built without the cpu device");
#endif
}

TEST_CASE("weft_bench: filters, Google Benchmark's flags, and a budget that passes over the rest") {
  const auto listed = weft_bench(tiny({"--benchmark_list_tests", "--rung", "float4"}));
  CHECK(listed.status == 0);
  CHECK(has(listed.out, "relu/float4/f32/n=33"));
  CHECK(!has(listed.out, "relu/scalar"));
  const auto filtered = weft_bench(tiny({"--benchmark_filter=relu/scalar/bf16"}));
  CHECK(filtered.status == 0);
  CHECK(has(filtered.out, "relu/scalar/bf16"));
  CHECK(!has(filtered.out, "relu/scalar/f32"));
  const auto late = weft_bench(tiny({"--budget", "0.000001"}));
  CHECK(late.status == 0);
  CHECK(has(late.out, " measurements are left out, for the 0 s were up: "));
  CHECK(has(late.out, " s were up: 3 of relu f32, "));
  CHECK(has(late.out, ", 3 of relu bf16, "));
}

TEST_CASE("weft_bench: bad usage is one line and status 2, no GPU one line and status 1") {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--device", "tpu"},
                                                    {"--device", "simt", "--sets", "resnet19"},
                                                    {"--dtype", "f8"},
                                                    {"--device", "simt", "--op", "("},
                                                    {"--seconds", "-1"},
                                                    {"--nonsense"}}) {
    const auto run = weft_bench(arguments);
    CAPTURE(arguments.back());
    CHECK(run.status == 2);
    CHECK(!run.err.empty());
  }
  const auto nothing = weft_bench({"--device", "simt", "--op", "^none$"});
  CHECK(nothing.status == 1);
  CHECK(lines(nothing.err) == 1);
  const auto missing = weft_bench({"--from", "/nonexistent.json"});
  CHECK(missing.status == 1);
  CHECK(has(missing.err, "/nonexistent.json"));
  if (gpu_here()) return;
  const auto run = weft_bench({"--device", "cuda"});
  CHECK(run.status == 1);
  CHECK(lines(run.err) == 1);
  CHECK((has(run.err, "no GPU is here") || has(run.err, "no cuda device")));
}

TEST_CASE("weft_bench --tune: writes a table that parses; not for simt, whose times mean nothing") {
  const TemporaryFolder folder;
  const std::string file = (folder / "rungs.txt").string();
  const auto refused = weft_bench(tiny({"--tune", file}));
  CHECK(refused.status == 1);
  CHECK(lines(refused.err) == 1);
  CHECK(!fs::exists(file));
  const auto written = weft_bench(tiny({"--tune", file}), {.environment = {"WEFT_CAPABILITY=90"}});
  CHECK(written.status == 0);
  const RungTable table = RungTable::parse(read_all(file), file);
  CHECK(table.capability() == 90);
  CHECK(table.entries().size() == 4);  // two ops, two types
  const Op* relu = find_op(simt::target().catalogue(), "relu");
  const Problem call{{33}};
  CHECK(!table.find(*relu, call).empty());
  const RungTable tables[] = {table};
  const int rung = pick_rung(*relu, call, 90, table.device(), tables);
  CHECK(table.find(*relu, call) == relu->rungs[static_cast<std::size_t>(rung)].name);
  // A later run adds its calls, and what was measured of others stays.
  const std::vector<std::string> more = {"--device",  "simt",  "--sets",  "catalogue", "--op",      "^relu$",
                                         "--shape",   "^n=7$", "--dtype", "f32",       "--seconds", "0.001",
                                         "--samples", "3",     "--tune",  file};
  CHECK(weft_bench(more, {.environment = {"WEFT_CAPABILITY=90"}}).status == 0);
  const RungTable both = RungTable::parse(read_all(file), file);
  CHECK(both.entries().size() == 5);
  CHECK(both.find(*relu, call) == table.find(*relu, call));
}

TEST_CASE("weft_bench --from: several files make one report") {
  const TemporaryFolder folder;
  const auto measure_one = [&](const std::string& op, const std::string& shape) {
    CHECK(weft_bench({"--device", "simt", "--sets", "catalogue", "--op", op, "--shape", shape, "--dtype", "f32",
                      "--seconds", "0.001", "--samples", "3", "--out", (folder / op.substr(1)).string(), "--no-charts"})
              .status == 0);
    return (folder / op.substr(1) / "bench.json").string();
  };
  const std::string relu = measure_one("^relu", "^n=33$"), softmax = measure_one("^softmax", "^rows=3,C=2$");
  const auto run = weft_bench({"--from", relu, softmax, "--out", (folder / "both").string(), "--no-charts"});
  CHECK(run.status == 0);
  const std::size_t rows =
      bench::from_json(read_all(relu), relu).rows.size() + bench::from_json(read_all(softmax), softmax).rows.size();
  CHECK(bench::from_json(read_all(folder / "both/bench.json"), "both").rows.size() == rows);
  const std::string table = read_all(folder / "both/bench.md");
  CHECK(has(table, "## relu"));
  CHECK(has(table, "## softmax"));
}

TEST_CASE("readme_table: README.md holds what bench/results/ does") {
  CHECK(script("bench/readme_table", {"--check"}).status == 0);
  const TemporaryFolder folder;
  const std::string readme = folder.write("README.md", "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n");
  const std::vector<std::string> environment = {"WEFT_README=" + readme,
                                                "WEFT_RESULTS=" + (folder / "results").string()};
  CHECK(script("bench/readme_table", {"--check"}, environment).status == 1);
  CHECK(script("bench/readme_table", {}, environment).status == 0);
  CHECK(has(read_all(readme), "No GPU has been measured yet"));
  CHECK(!has(read_all(readme), "old"));
  CHECK(script("bench/readme_table", {"--check"}, environment).status == 0);

  for (const char* date : {"2026-01-02", "2026-02-01"})
    CHECK(weft_bench(tiny({"--out", (folder / "results/some-gpu" / date).string(), "--no-charts"})).status == 0);
  CHECK(script("bench/readme_table", {}, environment).status == 0);
  const std::string text = read_all(readme);
  CHECK(text.starts_with("before\n<!-- results -->\n"));
  CHECK(text.ends_with("<!-- /results -->\nafter\n"));
  CHECK(has(text, "### some-gpu, 2026-02-01"));
  CHECK(!has(text, "2026-01-02"));
  CHECK(has(text, "| catalogue | softmax | bf16 | 1 |"));
  const std::string bare = folder.write("bare.md", "nothing\n");
  CHECK(script("bench/readme_table", {}, {"WEFT_README=" + bare}).status == 1);
}

}  // namespace
}  // namespace weft::tests
