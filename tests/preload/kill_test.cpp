// SIGKILL, which leaves no time to save: --resume goes on from the last checkpoint and comes to the bytes of an
// unbroken run, whatever was under way: a step, a checkpoint half written, the end of a stage, the model itself.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "nn/checkpoint.h"
#include "tests/tools/harness.h"

using namespace weft;
using namespace weft::tests;
namespace fs = std::filesystem;

#ifdef WEFT_TRAINS
namespace {

constexpr int kTrain = 40;

const fs::path& pictures() {
  static const TemporaryFolder folder;
  static const fs::path path = [] {
    const fs::path made = folder / "sample";
    REQUIRE(dogs_vs_cats({"sample", made.string(), "--count", std::to_string(kTrain), "--size", "32"}).status == 0);
    return made;
  }();
  return path;
}

/// SIGKILL as the n-th file is opened, or gets its name, whose path contains `part`.
ProcessOptions killed_at(const std::string& part, int n) {
  ProcessOptions options;
  options.environment = {std::string("LD_PRELOAD=") + WEFT_INTERRUPTING_OPEN, "WEFT_INTERRUPT_PATH=" + part,
                         "WEFT_INTERRUPT_AT=" + std::to_string(n), "WEFT_INTERRUPT_SIGNAL=9",
                         "ASAN_OPTIONS=verify_asan_link_order=0"};
  return options;
}

struct Kill {
  const char* when;
  const char* part;
  int n;
};

/// Kills a run at each of `points` in turn, going on in between, and holds its end against an unbroken run's.
void check_kills(const std::vector<std::string>& options, const std::vector<Kill>& points) {
  const TemporaryFolder folder;
  const auto train = [&](const std::string& run) {
    std::vector<std::string> arguments = {
        "train", pictures().string(), "--out", (folder / run).string(), "--size", "32", "--batch", "8", "--threads",
        "1",     "--device",          "cpu",   "--checkpoint-steps",    "2"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return arguments;
  };
  const ProcessResult whole = dogs_vs_cats(train("whole"));
  CAPTURE(whole.err);
  REQUIRE(whole.status == 0);
  std::vector<std::string> arguments = train("broken");
  const std::vector<std::string> resume = {
      "train", "--out", (folder / "broken").string(), "--resume", "--checkpoint-steps", "2"};
  for (const Kill& point : points) {
    CAPTURE(point.when);
    const ProcessResult result = dogs_vs_cats(arguments, killed_at(point.part, point.n));
    CAPTURE(result.err);
    REQUIRE(result.status == 128 + 9);
    arguments = resume;
  }
  const ProcessResult last = dogs_vs_cats(arguments);
  CAPTURE(last.err);
  REQUIRE(last.status == 0);
  CHECK(read_all(folder / "broken" / "model.safetensors") == read_all(folder / "whole" / "model.safetensors"));
  CHECK(load_log(folder / "broken").size() == load_log(folder / "whole").size());
  // What was half written is cleared away.
  for (const auto& entry : fs::directory_iterator(folder / "broken"))
    CHECK_MESSAGE(entry.path().filename().string().find(".tmp.") == std::string::npos, entry.path().string());
}

}  // namespace

TEST_CASE("killed at steps and in the middle of checkpoints, with average, accumulation, clipping and best weights") {
  check_kills({"--arch", "lenet", "--epochs", "2", "--policy", "one-cycle", "--ema", "0.9", "--accumulate", "3",
               "--clip", "0.5", "--best", "valid_loss"},
              {{"the first step", "/train/", 3},
               {"a checkpoint that has no name yet", "checkpoint.safetensors", 2},
               {"a later step", "/train/", 21},
               {"validation", "/valid/", 4},
               {"the model's settings", "config.json", 1},
               {"the model", "model.safetensors", 1}});
}

TEST_CASE("killed across stages: head alone, then everything at rates of its own") {
  check_kills({"--arch", "squeezenet1_1", "--stages", "head:2@1e-2; all:triangular(2)@1e-4,1e-3,1e-2", "--ema", "0.8",
               "--accumulate", "2"},
              {{"features", "/train/", 11},
               {"the first stage's model", "model.safetensors", 1},
               {"between the stages", "checkpoint.safetensors", 3},
               {"the second stage's second epoch", "/train/", 61},
               {"the last model", "model.safetensors", 1}});
}

TEST_CASE("killed across SGDR's restarts, with batch norm and augmented, mixed pictures") {
  check_kills({"--arch", "mobilenet_v2", "--epochs", "3", "--policy", "sgdr", "--cycle-mult", "2", "--augment",
               "side-on", "--cutout", "0.25", "--mixup", "0.2"},
              {{"the first cycle", "/train/", 38},
               {"a checkpoint about the restart", "checkpoint.safetensors", 5},
               {"the second cycle", "/train/", 53},
               {"validation", "/valid/", 4}});
}
#endif
