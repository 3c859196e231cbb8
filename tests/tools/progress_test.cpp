// What training says to a terminal while it goes on.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/tools/harness.h"

using namespace weft::tests;

namespace {

/// Everything that dogs_vs_cats writes to a terminal so many columns wide.
std::string told_to_a_terminal(const std::vector<std::string>& arguments, int columns) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(terminal >= 0);
  REQUIRE(grantpt(terminal) == 0);
  REQUIRE(unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  const int held =
      open(name.c_str(), O_RDWR | O_NOCTTY);  // until all is read: without a holder there is nothing to read
  REQUIRE(held >= 0);
  winsize size{};
  size.ws_row = 24;
  size.ws_col = static_cast<unsigned short>(columns);
  REQUIRE(ioctl(held, TIOCSWINSZ, &size) == 0);
  std::string text;
  std::thread reader([&] {
    char part[4096];
    for (ssize_t n = 0; (n = read(terminal, part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
  });
  const ProcessResult result = dogs_vs_cats(arguments, {.out = name});
  close(held);
  reader.join();
  close(terminal);
  CAPTURE(result.err);
  REQUIRE(result.status == 0);
  return text;
}

/// The states of the bar, one after another.
std::vector<std::string> bars(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, '\r');)
    if (part.starts_with("epoch ") && part.find('[') != std::string::npos)
      found.push_back(part.substr(0, part.find('\033')));
  return found;
}

}  // namespace

TEST_CASE("progress: the time left in the epoch, and in the run; of stages to come nobody knows it") {
  const TemporaryFolder folder;
  std::vector<std::string> arguments = {"train",    drawn_sample().string(),
                                        "--out",    (folder / "run").string(),
                                        "--arch",   "lenet",
                                        "--size",   "32",
                                        "--batch",  "8",
                                        "--device", "cpu"};
  SUBCASE("one training") {
    arguments.insert(arguments.end(), {"--epochs", "2"});
    const auto said = bars(told_to_a_terminal(arguments, 120));
    REQUIRE(said.size() >= 2);  // at each epoch's end, at least
    for (const std::string& bar : said) {
      CAPTURE(bar);
      CHECK(std::regex_search(bar, std::regex(", [0-9:s ]+ left in the epoch, [0-9:s ]+ in the run$")));
      CHECK(bar.size() <= 120);
    }
    CHECK(said.back().ends_with(", 0 s left in the epoch, 0 s in the run"));
  }
  SUBCASE("a narrow terminal: all of it still, on one line") {
    arguments.insert(arguments.end(), {"--epochs", "1"});
    const auto said = bars(told_to_a_terminal(arguments, 80));
    REQUIRE(!said.empty());
    for (const std::string& bar : said) {
      CAPTURE(bar);
      CHECK(std::regex_search(bar, std::regex("% loss [0-9.]+ lr [0-9.e-]+ [0-9]+ img/s data [0-9]+% "
                                              "left [0-9:s ]+, [0-9:s ]+$")));
      CHECK(bar.size() <= 80);
    }
  }
  SUBCASE("a very narrow one: what fits") {
    arguments.insert(arguments.end(), {"--epochs", "1"});
    const auto said = bars(told_to_a_terminal(arguments, 40));
    REQUIRE(!said.empty());
    for (const std::string& bar : said) CHECK(bar.size() <= 40);
  }
  SUBCASE("stages") {
    arguments.insert(arguments.end(), {"--stages", "all:1@1e-2; all:1@1e-3"});
    const auto said = bars(told_to_a_terminal(arguments, 200));
    const auto ends = [&](const std::string& how) {
      return std::ranges::count_if(said, [&](const std::string& bar) { return bar.ends_with(how); });
    };
    CHECK(ends(", 0 s left in the epoch, 0 s in stage 1 of 2") >= 1);
    CHECK(ends(", 0 s left in the epoch, 0 s in the run") >= 1);
    CHECK(ends("in stage 2 of 2") == 0);
  }
}
