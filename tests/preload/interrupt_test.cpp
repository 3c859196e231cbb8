// Ctrl-C in each phase of a run, then --resume: the bytes of an unbroken run.
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

/// SIGINT as the n-th file is opened whose path contains `part`.
ProcessOptions interrupted_at(const std::string& part, int n) {
  ProcessOptions options;
  options.environment = {std::string("LD_PRELOAD=") + WEFT_INTERRUPTING_OPEN, "WEFT_INTERRUPT_PATH=" + part,
                         "WEFT_INTERRUPT_AT=" + std::to_string(n),
                         // AddressSanitizer wants to be loaded first, and is not needed first here.
                         "ASAN_OPTIONS=verify_asan_link_order=0"};
  return options;
}

// Opened once an epoch, or, with a frozen trunk, once for their features, which are computed in two batches.
constexpr int kTrain = 160, kBatch = 16, kSteps = kTrain / kBatch;

const fs::path& pictures() {
  static const TemporaryFolder folder;
  static const fs::path path = [] {
    const fs::path made = folder / "sample";
    REQUIRE(dogs_vs_cats({"sample", made.string(), "--count", std::to_string(kTrain), "--size", "32"}).status == 0);
    return made;
  }();
  return path;
}

struct Interruption {
  const char* phase;
  const char* part;
  int opened;
};

/// Breaks a run off at each of `points` in turn, going on in between, and holds its end against an unbroken run's.
void check_interruptions(bool freeze, const std::vector<Interruption>& points) {
  const TemporaryFolder folder;
  const auto train = [&](const std::string& run) {
    std::vector<std::string> arguments = {"train",    pictures().string(),
                                          "--out",    (folder / run).string(),
                                          "--arch",   freeze ? "squeezenet1_1" : "lenet",
                                          "--size",   "32",
                                          "--epochs", "2",
                                          "--policy", "one-cycle",
                                          "--batch",  std::to_string(int{kBatch}),
                                          "--device", "cpu"};
    if (freeze) arguments.push_back("--freeze");
    return arguments;
  };
  REQUIRE(dogs_vs_cats(train("whole")).status == 0);

  std::vector<std::string> arguments = train("broken");
  for (const Interruption& point : points) {
    CAPTURE(point.phase);
    const ProcessResult result = dogs_vs_cats(arguments, interrupted_at(point.part, point.opened));
    CAPTURE(result.err);
    REQUIRE(result.status == 1);
    CHECK(result.err.find("--resume") != std::string::npos);
    const Position position = load_checkpoint(folder / "broken").position;
    const std::string phase = point.phase;
    if (phase == "features") {
      CHECK(result.out.find("\nfeatures of") == std::string::npos);  // said once they are all there
      CHECK(position.total_step == 0);
    } else if (phase == "validation") {
      CHECK(position.step == kSteps);
    } else {
      CHECK(position.total_step > 0);
      CHECK(position.step > 0);
      CHECK(position.step < kSteps);
    }
    arguments = {"train", "--out", (folder / "broken").string(), "--resume"};
  }
  REQUIRE(dogs_vs_cats(arguments).status == 0);
  CHECK(read_all(folder / "broken" / "model.safetensors") == read_all(folder / "whole" / "model.safetensors"));
}

}  // namespace

TEST_CASE("Ctrl-C in training and in validation, then --resume: the bytes of an unbroken run") {
  check_interruptions(false, {{"training", "/train/", kTrain / 2},
                              {"validation", "/valid/", 2},
                              {"training", "/train/", kTrain / 2},
                              {"validation", "/valid/", 2}});
}

TEST_CASE("Ctrl-C while features are computed, then --resume: the bytes of an unbroken run") {
  check_interruptions(true, {{"features", "/train/", kTrain / 2}, {"features", "/train/", 2}});
}
#endif
