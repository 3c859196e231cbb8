// What all programs answer alike: --version, --help, and a command line that is wrong.

#include <doctest/doctest.h>

#include "core/version.h"
#include "tests/tools/harness.h"

namespace weft::tests {
namespace {

const char* const kPrograms[] = {"dogs_vs_cats", "weft_doctor", "weft_bench", "train_step", "loader", "parity"};

ProcessResult weft_bench(const std::vector<std::string>& arguments) {
  return run_program("weft_bench", arguments);
}

TEST_CASE("every program: --version, --help, and one line and status 2 for an option that there is not") {
  for (const char* program : kPrograms) {
    CAPTURE(program);
    const auto version = run_program(program, {"--version"});
    CHECK(version.status == 0);
    CHECK(version.out == std::string("weft ") + weft::version() + "\n");
    const auto help = run_program(program, {"--help"});
    CHECK(help.status == 0);
    CHECK(help.out.find("--version") != std::string::npos);
    const auto wrong = run_program(program, {"--no-such-option", "7"});
    CHECK(wrong.status == 2);
    CHECK(wrong.out.empty());
    CAPTURE(wrong.err);
    CHECK(lines(wrong.err) == 1);
    CHECK(wrong.err.starts_with(std::string(program) + ": "));
  }
}

TEST_CASE("loader refuses what is no number of pictures, and names a folder that is not there") {
  for (const char* option : {"--size", "--batch", "--workers"}) {
    const auto refused = run_program("loader", {"nowhere", option, "0"});
    CHECK(refused.status == 2);
    CHECK(refused.err ==
          std::string("loader: ") + option + ": '0' is not a number above 0; --help lists the options\n");
  }
  const auto refused = run_program("loader", {"/nowhere/at/all"});
  CHECK(refused.status == 1);
  CHECK(lines(refused.err) == 1);
  CHECK(refused.err.find("loader: ") == 0);
  CHECK(refused.err.find("/nowhere/at/all") != std::string::npos);
}

TEST_CASE("weft_bench --help: our options, then Google Benchmark's; -h says the same") {
  const auto shown = weft_bench({"--help"});
  CHECK(shown.status == 0);
  const std::size_t theirs = shown.out.find("[--benchmark_filter=");
  REQUIRE(theirs != std::string::npos);
  for (const char* option : {"--rungs ",  "--describe ", "--device ",   "--sets ",      "--batches ",   "--size ",
                             "--op ",     "--rung ",     "--shape ",    "--dtype ",     "--seconds ",   "--samples ",
                             "--budget ", "--search ",   "--no-peers ", "--no-rotate ", "--no-charts ", "--out ",
                             "--name ",   "--tune ",     "--from ",     "--version "})
    CHECK_MESSAGE(shown.out.find(std::string("  ") + option) < theirs, option);
  CHECK(weft_bench({"-h"}).out == shown.out);
  CHECK(weft_bench({"--device", "simt", "--help"}).out == shown.out);
}

}  // namespace
}  // namespace weft::tests
