// A full disk at every moment of a save, and of a whole training run: the n-th write, fsync or rename fails, for each n
// that there is.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "tests/tools/harness.h"

using namespace weft;
using namespace weft::tests;
namespace fs = std::filesystem;

namespace {

const std::string kSaveOver = "../tests/preload/weft_save_over";

ProcessOptions failing_at(long n) {
  ProcessOptions options;
  options.environment = {std::string("LD_PRELOAD=") + WEFT_FAILING_DISK, "WEFT_FAIL_AT=" + std::to_string(n),
                         // AddressSanitizer wants to be loaded first, and is not needed first here.
                         "ASAN_OPTIONS=verify_asan_link_order=0"};
  return options;
}

/// How many operations a run without a failure takes, by what the preloaded library says last; -1: it says nothing.
long operations(const ProcessResult& result) {
  const std::string mark = "failing_disk: ";
  const std::size_t at = result.err.rfind(mark);
  return at == std::string::npos ? -1 : std::stol(result.err.substr(at + mark.size()));
}

}  // namespace

TEST_CASE("a save that fails at any moment says so and leaves the former file") {
  const TemporaryFolder folder;
  const fs::path file = folder / "model.safetensors";
  const ProcessResult sound = run_program(kSaveOver, {file.string(), "1"}, failing_at(0));
  CAPTURE(sound.err);
  REQUIRE(sound.status == 0);
  const long count = operations(sound);
  REQUIRE(count >= 5);  // header, tensors, fsync, rename
  const std::string former = read_all(file);
  REQUIRE(load_safetensors(file).at("fc.bias").values<float>()[0] == 1);

  for (long n = 1; n <= count; ++n) {
    CAPTURE(n);
    const ProcessResult failed = run_program(kSaveOver, {file.string(), "2"}, failing_at(n));
    CHECK(failed.status == 1);
    CHECK(failed.err == "save_over: cannot write " + file.string() + ": No space left on device\n");
    CHECK(read_all(file) == former);
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);  // no temporary file is left
  }
  MESSAGE("a save fails at each of its " << count << " writes, fsyncs and renames");

  CHECK(run_program(kSaveOver, {file.string(), "2"}, failing_at(count + 1)).status == 0);
  CHECK(load_safetensors(file).at("fc.bias").values<float>()[0] == 2);
}

#ifdef WEFT_TRAINS
TEST_CASE("a training run that meets a full disk at any moment ends in one line, and the former model is intact") {
  const TemporaryFolder folder;
  const auto train = [&](const std::string& run, int seed, long n) {
    return dogs_vs_cats(
        {"train", drawn_sample().string(), "--out", (folder / run).string(), "--arch", "lenet", "--size", "28",
         "--epochs", "1", "--batch", "16", "--device", "cpu", "--threads", "1", "--seed", std::to_string(seed)},
        failing_at(n));
  };
  const auto model = [&](const std::string& run) { return read_all(folder / run / "model.safetensors"); };
  const auto config = [&](const std::string& run) { return read_all(folder / run / "config.json"); };
  REQUIRE(train("former", 1, -1).status == 0);
  fs::copy(folder / "former", folder / "new");
  const ProcessResult sound = train("new", 2, 0);
  REQUIRE(sound.status == 0);
  const long count = operations(sound);
  REQUIRE(count > 10);
  REQUIRE(model("new") != model("former"));

  int kept = 0;
  for (long n = 1; n <= count; ++n) {
    CAPTURE(n);
    fs::remove_all(folder / "run");
    fs::copy(folder / "former", folder / "run");
    const ProcessResult failed = train("run", 2, n);
    CAPTURE(failed.err);
    CHECK(failed.status == 1);
    CHECK(lines(failed.err) == 1);
    CHECK(failed.err.find("No space left on device") != std::string::npos);
    // Whole and of one piece, either of the two.
    const bool former = model("run") == model("former");
    kept += former ? 1 : 0;
    CHECK((former || model("run") == model("new")));
    if (former) CHECK(config("run") == config("former"));
    for (const auto& entry : fs::directory_iterator(folder / "run"))
      CHECK(entry.path().filename().string().find(".tmp") == std::string::npos);
  }
  MESSAGE("a training run fails at each of its " << count << " writes, fsyncs and renames; " << kept
                                                 << " times the former model stays");
  CHECK(kept > count / 2);
}
#endif
