// gpu_check as a person runs it, without a GPU: on simt, and with stand-ins for a GPU's programs.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>

#include "bench/report.h"
#include "kernels/rung_table.h"
#include "tests/bench/programs.h"

namespace weft::tests {
namespace {

namespace fs = std::filesystem;

TEST_CASE("gpu_check --device simt: goes through every stage and leaves at most eight files") {
  const TemporaryFolder folder;
  const auto run = script("tools/gpu_check", {(folder / "out").string(), "--device", "simt"});
  INFO(run.out);
  INFO(run.err);
  CHECK(run.status == 0);
  const std::string summary = read_all(folder / "out/summary.md");
  for (const char* part :
       {"| tests | passed |", "| sanitizers | not run: compute-sanitizer watches GPUs, and this is simt |",
        "| bench-gemm | passed |", "| bench-ops | passed |", "| bench-depthwise | passed |", "| train | passed |",
        "| train-profile | passed |", "LeNet, on the CPU, nothing fused:\nlenet 28px", "    ratio to nothing fused: ",
        "| bench-counters | not run: ncu reads the counters of GPUs, and this is simt |",
        "| resnet34 N=2 | conv2d_backward_filter | f32 | 1 |", "| resnet50 N=2 | conv2d_backward_data | f32 |",
        "| resnet50 N=2 | global_avg_pool | f32 | 1 |", "| mobilenet_v2 N=2 | conv2d_backward_filter | f32 | 1 |",
        "| resnet50 N=2 fused | conv2d | f32 |", "| catalogue | gemm | f32 |", "| catalogue | relu | f32 |",
        "the SIMT machine", "weft 0."})
    CHECK_MESSAGE(has(summary, part), part);
  for (const char* model : {"resnet34", "resnet50"})
    for (const char* part : {"forward", "data", "filter", "others"})
      CHECK(has(summary, fmt::format("| bench-{}-{} | passed |", model, part)));
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
  CHECK(has(late.out, "| bench-resnet34-forward | INCOMPLETE: resnet34 N=2: "));
  CHECK(has(late.out, "resnet34 N=2 fused: "));
  CHECK(has(late.out, "| bench-resnet34-data | INCOMPLETE: resnet34 N=2: "));
  CHECK(has(late.out, " of conv2d_backward_data f32"));
  // Of a set's parts each stays said until it is there itself.
  const auto part = script("tools/gpu_check", {out, "--device", "simt", "--stages", "bench-resnet34-filter"});
  CHECK(part.status == 0);
  const std::string missing = read_all(folder / "out/bench.md");
  CHECK(has(missing, " of conv2d_backward_data f32"));
  CHECK(!has(missing, " of conv2d_backward_filter f32"));
  const auto again = script("tools/gpu_check", arguments);
  CHECK(again.status == 0);
  CHECK(has(again.out, "| bench-resnet34-data | passed |"));
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

/// A machine that says it has a GPU, without PyTorch; its programs are those that a test writes beside these.
std::string made_up_gpu(const TemporaryFolder& folder) {
  fake_program(folder, "python3", "exit 1\n");
  return fake_program(folder, "weft_bench", "echo a made-up GPU\n");
}

ProcessResult on_made_up_gpu(const TemporaryFolder& folder, const std::string& stages) {
  const std::string bin = (folder / "bin").string();
  return script("tools/gpu_check", {(folder / "out").string(), "--stages", stages},
                {"WEFT_BIN=" + bin, "PATH=" + bin + ":" + std::getenv("PATH")});
}

TEST_CASE("gpu_check: tests and sanitizers run every rung as on a small GPU, too") {
  const TemporaryFolder folder;
  made_up_gpu(folder);
  const std::string said =
      "echo \"$(basename \"$0\") ${WEFT_MULTIPROCESSORS:-all} ${WEFT_PART_BYTES:-whole} "
      "${WEFT_LARGEST:-any}${WEFT_NO_POISON:+ unpoisoned} $*\"\n";
  for (const char* tests : {"weft_kernels_tests", "weft_core_tests", "weft_nn_tests"})
    fake_program(folder, tests, said);
  fake_program(folder, "compute-sanitizer", said);
  const auto fine = on_made_up_gpu(folder, "tests,sanitizers");
  CHECK(fine.status == 0);
  const std::string tests = read_all(folder / "out/tests.log"), sanitizers = read_all(folder / "out/sanitizers.log");
  CHECK(has(tests, "weft_kernels_tests all whole any --no-version\n"));
  CHECK(has(tests, "weft_nn_tests all whole any --no-version\n"));
  CHECK(has(tests, "weft_kernels_tests 2 131072 any --test-case=catalogue: every rung on cuda* --no-version\n"));
  CHECK(has(sanitizers, "compute-sanitizer 2 131072 2e5 --tool racecheck "));
  CHECK(has(sanitizers, "compute-sanitizer 2 131072 2e5 unpoisoned --tool initcheck "));
  fake_program(folder, "weft_kernels_tests", "[ -z \"${WEFT_MULTIPROCESSORS:-}\" ] && exit 0; echo it broke; exit 5\n");
  const auto failed = on_made_up_gpu(folder, "tests");
  CHECK(failed.status == 1);
  CHECK(has(failed.out, "| tests | FAILED: status 5; it broke |"));
}

TEST_CASE("gpu_check: a profile has the step fused and not, and is incomplete where one does not fit") {
  const TemporaryFolder folder;
  made_up_gpu(folder);
  const std::string step =
      "rate=30; case \"$*\" in *--no-fuse*) rate=20 ;; esac\necho \"given $*\"\n"
      "echo \"some 224px batch 128 bf16: median $rate.0 img/s (best 31, worst 19)\"\n";
  fake_program(folder, "train_step", step);
  const auto fine = on_made_up_gpu(folder, "train-profile");
  CHECK(fine.status == 0);
  CHECK(has(fine.out, "| train-profile | passed |"));
  CHECK(has(fine.out, "ResNet-50, bfloat16:\nsome 224px"));
  CHECK(has(fine.out, "ResNet-50, bfloat16, nothing fused:\nsome 224px"));
  CHECK(has(fine.out, "    ratio to nothing fused: 1.50\n"));
  const std::string log = read_all(folder / "out/train.log");
  CHECK(has(log, "given --device cuda --arch resnet34 --size 224 --batch 128 --amp --profile\n"));
  CHECK(has(log, "given --device cuda --arch mobilenet_v2 --size 224 --batch 128 --amp --profile --no-fuse\n"));
  const std::string full =
      "case \"$*\" in *resnet50*--no-fuse*) echo 'train_step: cuda:0: not enough memory' >&2; exit 1 ;; esac\n";
  fake_program(folder, "train_step", full + step);
  const auto part = on_made_up_gpu(folder, "train-profile");
  CHECK(part.status == 1);
  CHECK(has(part.out, "| train-profile | INCOMPLETE: ResNet-50, bfloat16 --no-fuse does not fit the memory |"));
  fake_program(folder, "train_step", "case \"$*\" in *--no-fuse*) kill -SEGV $$ ;; esac\n" + step);
  const auto broken = on_made_up_gpu(folder, "train-profile");
  CHECK(broken.status == 1);
  CHECK(has(broken.out,
            "| train-profile | FAILED: status 139; train_step failed: ResNet-34, bfloat16 --no-fuse (status 139)"));
}

TEST_CASE("gpu_check: the counters of the last rungs, each of which is there, cannot run, or is missed") {
  const TemporaryFolder folder;
  const std::string bin = made_up_gpu(folder);
  // Says what it was asked, runs the program, and has counters of it.
  const auto counters = [&](const std::string& first) {
    fake_program(folder, "ncu",
                 "echo \"given $*\"\n" + first +
                     "\nwhile [ \"${1##*/}\" != weft_bench ]; do shift; done\n\"$@\"\n"
                     "echo 'Memory Throughput % 91'; echo 'Achieved Occupancy % 40'\n");
    return on_made_up_gpu(folder, "bench-counters");
  };
  const auto all = counters("");
  CHECK(all.status == 0);
  CHECK(has(all.out, "| bench-counters | passed |"));
  const std::string log = read_all(folder / "out/bench.log");
  CHECK(has(log, "--kernel-name regex:implicit_wgmma --launch-skip 1 --launch-count 1 " + bin +
                     "/weft_bench --device cuda "));
  CHECK(has(log, "--op ^conv2d_backward_filter$ --rung ^implicit-wgmma$ "));
  CHECK(has(log, "--sets ops --batches 128 --op ^softmax$ --rung ^register-resident$ "));
  CHECK(!has(log, "cannot run"));
  const auto none = counters("case \"$*\" in *persistent*) exit 0 ;; esac");
  CHECK(none.status == 0);
  CHECK(has(read_all(folder / "out/bench.log"), "conv2d/implicit-persistent cannot run on this GPU\n"));
  const auto ran = counters("case \"$*\" in *persistent*) echo conv2d/implicit-persistent/bf16/N=128; exit 0 ;; esac");
  CHECK(ran.status == 1);
  CHECK(has(ran.out, "| bench-counters | INCOMPLETE: no counters of conv2d/implicit-persistent (status 0) |"));
  const auto crashed = counters("case \"$*\" in *mma*conv2d_backward_data*) exit 139 ;; esac");
  CHECK(crashed.status == 1);
  CHECK(has(crashed.out,
            "INCOMPLETE: no counters of conv2d_backward_data/implicit-mma (status 139); no counters of "
            "conv2d_backward_data/implicit-wgmma (status 139) |"));
  const auto denied = counters("echo '==ERROR== ERR_NVGPUCTRPERM'; exit 1");
  CHECK(denied.status == 0);
  CHECK(has(denied.out, "| bench-counters | not run: the driver lets administrators alone read the counters"));
  const auto nothing = counters("exit 0");
  CHECK(nothing.status == 1);
  CHECK(has(nothing.out, "| bench-counters | FAILED: status 1; ncu counted nothing |"));
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
  for (const char* set : {"gemm", "resnet34-forward", "resnet34-others", "ops", "resnet50-data", "depthwise"})
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

}  // namespace
}  // namespace weft::tests
