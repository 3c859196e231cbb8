// dogs_vs_cats lr-find: proposes rates, draws the search, and leaves everything else as it was.

#include <doctest/doctest.h>

#include <map>

#include "core/chart.h"
#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

ProcessResult lr_find(const fs::path& run, const std::string& steps, const ProcessOptions& options = {}) {
  return dogs_vs_cats({"lr-find", drawn_sample().string(), "--out", run.string(), "--arch", "lenet", "--device", "cpu",
                       "--size", "32", "--batch", "8", "--steps", steps},
                      options);
}

/// The bytes of each file of a folder; empty where there is none.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) files[entry.path().filename()] = read_all(entry.path());
  return files;
}

}  // namespace

TEST_CASE("lr-find: proposals, a table and pictures, and a RUN's model as it was") {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  write_all(run / "model.safetensors", "a model that was there before");
  const auto result = lr_find(run, "40");
  CAPTURE(result.out);
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  // So few pictures may show no clear fall: it says that, or proposes.
  CHECK((result.out.find("\nproposed ") != std::string::npos) !=
        (result.out.find("\nNo proposal: ") != std::string::npos));
  for (const char* word : {"valley", "steepest", "minimum / 10", "weights are as they were"})
    CHECK_MESSAGE(result.out.find(word) != std::string::npos, "no \"", std::string(word), "\" in it");

  auto files = contents(run);
  CHECK(files.at("model.safetensors") == "a model that was there before");
  const std::string& csv = files.at("lr_find.csv");
  CHECK(csv.starts_with("step,lr,loss,smoothed_loss\n0,1e-07,"));
  CHECK(lines(csv) > 20);
  CHECK(lines(csv) <= 41);
  if (weft::can_draw()) {
    for (const char* name : {"lr_find.png", "lr_find_rate.png"}) CHECK(files.at(name).starts_with("\x89PNG"));
    for (const char* name : {"lr_find.svg", "lr_find_rate.svg"})
      CHECK(files.at(name).find("learning rate") != std::string::npos);
  }
  CHECK(files.size() == (weft::can_draw() ? 6 : 2));
}

TEST_CASE("lr-find: of a model that is frozen up to a layer, and with batch norm's statistics fixed") {
  const TemporaryFolder folder;
  const auto searched = [&](const char* name, const std::vector<std::string>& options) {
    const fs::path run = folder / name;
    std::vector<std::string> arguments = {"lr-find",  drawn_sample().string(),
                                          "--out",    run.string(),
                                          "--arch",   "resnet18",
                                          "--device", "cpu",
                                          "--size",   "32",
                                          "--batch",  "8",
                                          "--steps",  "10",
                                          "--lowest", "1e-2"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const auto result = dogs_vs_cats(arguments);
    REQUIRE_MESSAGE(result.status == 0, result.err);
    CHECK(result.out.find("weights are as they were") != std::string::npos);
    return read_all(run / "lr_find.csv");
  };
  const std::string whole = searched("whole", {}), part = searched("part", {"--freeze-to", "layer4"}),
                    fixed = searched("fixed", {"--fixed-batch-norm"});
  CHECK(part != whole);
  CHECK(fixed != whole);
  CHECK(part != fixed);
}

TEST_CASE("lr-find: what a stopped training left in RUN is let alone") {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  for (const char* name : {"features-train.f32", "features-train.safetensors", "checkpoint.safetensors"})
    write_all(run / name, std::string("its ") + name);
  const auto before = contents(run);
  const auto result =
      dogs_vs_cats({"lr-find", drawn_sample().string(), "--out", run.string(), "--arch", "squeezenet1_1", "--freeze",
                    "--device", "cpu", "--size", "32", "--batch", "8", "--steps", "10"});
  REQUIRE_MESSAGE(result.status == 0, result.err);
  const auto after = contents(run);
  for (const auto& [name, bytes] : before) CHECK(after.at(name) == bytes);
  CHECK(after.size() == before.size() + (weft::can_draw() ? 5 : 1));
}

TEST_CASE("lr-find: Ctrl-C in the middle writes nothing and says so in a line") {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  write_all(run / "model.safetensors", "a model that was there before");
  const auto before = contents(run);
  // So many steps that it cannot be through by then.
  const auto result = lr_find(run, "10000000", {.interrupt_after = 2});
  CAPTURE(result.out);
  CAPTURE(result.err);
  CHECK(result.status == 1);
  CHECK(lines(result.err) == 1);
  CHECK(result.err.find("nothing was written") != std::string::npos);
  CHECK(contents(run) == before);
}
