// weft_bench, gpu_check and readme_table as a person runs them, without a GPU.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "bench/report.h"
#include "core/chart.h"
#include "core/problem.h"
#include "kernels/rung_table.h"
#include "tests/tools/harness.h"

namespace weft::tests {
namespace {

namespace fs = std::filesystem;

ProcessResult weft_bench(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  return run_program("weft_bench", arguments, options);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

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

/// True where a GPU is here: then what is said of its absence is not.
bool gpu_here() {
  return weft_bench({"--describe", "--device", "cuda"}).status == 0;
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
  CHECK(has(late.out, "3 of relu bf16, 3 of relu f32, "));
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

/// Runs a script of the tree on this build's programs.
ProcessResult script(const std::string& path, const std::vector<std::string>& arguments,
                     std::vector<std::string> environment = {}) {
  environment.insert(environment.begin(), std::string("WEFT_BIN=") + WEFT_PROGRAMS);
  return run_program(std::string(WEFT_ROOT) + "/" + path, arguments, {.environment = std::move(environment)});
}

TEST_CASE("gpu_check --device simt: goes through every stage and leaves at most eight files") {
  const TemporaryFolder folder;
  const auto run = script("tools/gpu_check", {(folder / "out").string(), "--device", "simt"});
  INFO(run.out);
  INFO(run.err);
  CHECK(run.status == 0);
  const std::string summary = read_all(folder / "out/summary.md");
  for (const char* part :
       {"| tests | passed |", "| sanitizers | not run: compute-sanitizer watches GPUs, and this is simt |",
        "| bench-gemm | passed |", "| bench-resnet34 | passed |", "| bench-ops | passed |",
        "| bench-resnet50 | passed |", "| train | passed |", "| resnet34 N=2 | conv2d_backward_filter | f32 | 1 |",
        "| resnet50 N=2 fused | conv2d | f32 |", "| catalogue | gemm | f32 |", "| catalogue | relu | f32 |",
        "the SIMT machine", "weft 0."})
    CHECK_MESSAGE(has(summary, part), part);
  CHECK(has(run.out, summary));
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder / "out")) files += entry.is_regular_file() ? 1 : 100;
  CHECK(files <= 8);
  CHECK(bench::from_json(read_all(folder / "out/bench.json"), "bench.json").rows.size() >= 40);
  CHECK(RungTable::parse(read_all(folder / "out/rungs.txt"), "rungs.txt").entries().size() >= 8);
}

/// Writes an executable script, and returns its folder.
std::string fake_program(const TemporaryFolder& folder, const std::string& name, const std::string& text) {
  const std::string path = folder.write("bin/" + name, "#!/bin/bash\n" + text);
  fs::permissions(path, fs::perms::owner_all);
  return (folder / "bin").string();
}

TEST_CASE("gpu_check: a bench that passes over measurements is incomplete, and a second call completes it") {
  const TemporaryFolder folder;
  const std::string out = (folder / "out").string();
  const std::string bin = fake_program(folder, "weft_bench",
                                       "for a in \"$@\"; do [ \"${last:-}\" = --budget ] && a=0.000001; all+=(\"$a\"); "
                                       "last=$a; done\nexec \"" WEFT_PROGRAMS "/weft_bench\" \"${all[@]}\"\n");
  const std::vector<std::string> arguments = {out, "--device", "simt", "--stages", "bench-resnet34,bench-ops"};
  const auto late = script("tools/gpu_check", arguments, {"WEFT_BIN=" + bin});
  CHECK(late.status == 1);
  CHECK(has(late.out, "| bench-ops | INCOMPLETE: catalogue: 3 of 3 measurements are left out, "));
  CHECK(has(late.out, "| bench-resnet34 | INCOMPLETE: resnet34 N=2: "));
  CHECK(has(late.out, "resnet34 N=2 fused: "));
  CHECK(has(late.out, " of conv2d_backward_data f32"));
  const auto again = script("tools/gpu_check", arguments);
  CHECK(again.status == 0);
  CHECK(has(again.out, "| bench-resnet34 | passed |"));
  CHECK(!has(read_all(folder / "out/bench.md"), "left out"));
  CHECK(has(read_all(folder / "out/bench.md"), "## conv2d_backward_data"));
}

TEST_CASE("gpu_check: a step that fails is a failure, and only one that does not fit the memory is passed by") {
  // A machine that says it has a GPU, and no PyTorch.
  const auto run = [](const std::string& amp_resnet50, const std::string& others = "") {
    const TemporaryFolder folder;
    fake_program(folder, "weft_bench", "echo a made-up GPU\n");
    fake_program(folder, "python3", "exit 1\n");
    const std::string fine = "echo 'resnet34 224px batch 64 fp32: median 12.5 img/s (best 13, worst 12)'\n";
    const std::string bin = fake_program(
        folder, "train_step", "case \"$*\" in *resnet50*--amp*) " + amp_resnet50 + " ;; esac\n" + others + "\n" + fine);
    return script("tools/gpu_check", {(folder / "out").string(), "--stages", "train"},
                  {"WEFT_BIN=" + bin, "PATH=" + bin + ":" + std::getenv("PATH")});
  };
  const std::string full =
      "echo 'train_step: cuda:0: not enough memory at batch 128: need 90 GiB, have 79 GiB.' >&2; exit 1";
  const std::string later = "echo 'train_step: cuda:0: out of memory: need 2 GiB, have 1 GiB' >&2; exit 1";
  for (const std::string& refusal : {full, later}) {
    const auto some = run(refusal);
    CHECK(some.status == 0);
    CHECK(has(some.out, "| train | passed |"));
    CHECK(has(some.out, "ResNet-50, bfloat16:\ntrain_step: cuda:0: "));
    CHECK(has(some.out, "ResNet-34, float32:\nresnet34 224px"));
  }
  const auto none = run(full, full);
  CHECK(none.status == 1);
  CHECK(has(none.out, "| train | FAILED: status 1; no step fits the memory |"));
  const struct {
    const char* what;
    const char* status;
  } kFailures[] = {{"kill -SEGV $$", "139"},
                   {"echo 'train_step: the loss is nan: these are not the times of a training step' >&2; exit 1", "1"},
                   {"echo 'train_step: an illegal memory access was encountered' >&2; exit 1", "1"},
                   {"echo 'terminate called: out of memory' >&2; exit 134", "134"},
                   {"echo 'out of memory, it was not'; exit 1", "1"}};
  for (const auto& failure : kFailures) {
    CAPTURE(failure.what);
    const auto failed = run(failure.what);
    CHECK(failed.status == 1);
    CHECK(has(failed.out, std::string("| train | FAILED: status ") + failure.status +
                              "; train_step failed: ResNet-50, bfloat16 (status " + failure.status + ") |"));
    CHECK(has(failed.out, "ResNet-34, float32:\nresnet34 224px"));  // the others are measured all the same
  }
}

TEST_CASE("gpu_check: stages are selectable; a failed one is told by status and summary") {
  const TemporaryFolder folder;
  const auto one = script("tools/gpu_check", {(folder / "one").string(), "--device", "simt", "--stages", "sanitizers"});
  CHECK(one.status == 0);
  CHECK(!has(one.out, "== bench"));
  // A weft_bench that fails at its work.
  fake_program(folder, "weft_bench", "[ \"$1\" = --describe ] && echo here && exit 0\necho it broke\nexit 3\n");
  const auto failing =
      script("tools/gpu_check", {(folder / "two").string(), "--device", "simt", "--stages", "bench,sanitizers"},
             {"WEFT_BIN=" + (folder / "bin").string()});
  CHECK(failing.status == 1);
  for (const char* set : {"gemm", "resnet34", "ops", "resnet50"})
    CHECK(has(failing.out, fmt::format("| bench-{} | FAILED: status 3; it broke |", set)));
  CHECK(has(failing.out, "| sanitizers | not run"));
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"a", "b"},
                                                    {"a", "--stages", "all"},
                                                    {"a", "--stages", "bench-resnet18"},
                                                    {"a", "--dtypes", "f16"},
                                                    {"a", "--device", "cpu"},
                                                    {"a", "--budget", "-3"},
                                                    {"a", "--what"}}) {
    const auto bad = script("tools/gpu_check", arguments);
    CHECK(bad.status == 2);
    CHECK(lines(bad.err) == 1);
  }
  if (gpu_here()) return;
  const auto without = script("tools/gpu_check", {(folder / "three").string()});
  CHECK(without.status == 1);
  CHECK(lines(without.err) == 1);
  CHECK((has(without.err, "no GPU is here") || has(without.err, "no cuda device")));
  CHECK(!fs::exists(folder / "three"));
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
