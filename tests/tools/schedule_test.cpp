// dogs_vs_cats schedule: a table and pictures of any policy, before any training.

#include <doctest/doctest.h>

#include "core/chart.h"
#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("schedule: draws what it prints") {
  if (!weft::can_draw()) {
    MESSAGE("skipped: gnuplot is not here");
    return;
  }
  const TemporaryFolder folder;
  const auto result = dogs_vs_cats({"schedule", "--policy", "sgdr", "--cycle-mult", "2", "--epochs", "3", "--lr",
                                    "1e-4,1e-2", "--steps-per-epoch", "4", "--out", (folder / "out").string()});
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  // Epochs 0 to 2: a cycle of one epoch, then one of two. By hand: 0.01 (1 + cos(pi 3 / 4)) / 2 = 0.001464.
  CHECK(has(result.out, "    0        0.01        0.01    0.001464    0.001464   0.900\n"));
  CHECK(has(result.out, "    1        0.01        0.01    0.006913    0.006913   0.900\n"));
  CHECK(has(result.out, "    2       0.005       0.005   0.0003806   0.0003806   0.900\n"));
  CHECK(read_all(folder / "out/schedule.png").starts_with("\x89PNG"));
  const std::string svg = read_all(folder / "out/schedule.svg");
  CHECK(has(svg, "learning rate"));
  CHECK(has(svg, "group 2"));
  CHECK_FALSE(fs::exists(folder / "out/schedule_momentum.svg"));

  const auto moving = dogs_vs_cats({"schedule", "--policy", "one-cycle", "--out", (folder / "out").string()});
  CHECK(moving.status == 0);
  CHECK(has(moving.out, "0.900 to 0.8"));
  CHECK(fs::exists(folder / "out/schedule_momentum.svg"));
}

TEST_CASE("schedule: what makes no sense is bad usage") {
  const auto unknown = dogs_vs_cats({"schedule", "--policy", "cosin"});
  CHECK(unknown.status == 2);
  CHECK(has(unknown.err, "cosine"));
  const auto range = dogs_vs_cats({"schedule", "--policy", "sgdr", "--cycle-len", "0"});
  CHECK(range.status == 2);
  CHECK(has(range.err, "cycle-len is 0"));
  CHECK(dogs_vs_cats({"schedule", "--lr", "0"}).status == 2);

  // A place that cannot be written to is known before the table.
  const TemporaryFolder folder;
  write_all(folder / "file", "a regular file");
  const auto nowhere = dogs_vs_cats({"schedule", "--out", (folder / "file" / "x").string()});
  CHECK(nowhere.status == 1);
  CHECK(nowhere.out.empty());
  CHECK(lines(nowhere.err) == 1);
  CHECK(has(nowhere.err, "cannot make this folder"));
}
