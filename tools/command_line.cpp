#include "tools/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "core/version.h"

namespace weft::cli {
namespace {

/// "--lr: 'abc' is not " and then `what`. `in_help` stands behind the option's type.
template <class Holds>
CLI::Validator number(const std::string& what, const std::string& in_help, Holds holds) {
  return CLI::Validator(
      [what, holds](const std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && std::isfinite(value) && holds(value)) return std::string();
        return fmt::format("'{}' is not {}", text, what);
      },
      in_help);
}

/// How many letters must be put in, left out or changed to make one word of the other: Levenshtein, 1966.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);  // distances of a's first i letters from each beginning of b
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t corner = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = corner + (a[i] == b[j] ? 0 : 1);
      corner = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, corner + 1});
    }
  }
  return row.back();
}

std::string no_such_verb(const std::string& word, const std::vector<std::string>& verbs) {
  std::string line = fmt::format("there is no {} '{}'", word.starts_with('-') ? "option" : "verb", word);
  const auto nearest = std::min_element(verbs.begin(), verbs.end(), [&](const auto& one, const auto& other) {
    return edit_distance(word, one) < edit_distance(word, other);
  });
  if (nearest != verbs.end() && 2 * edit_distance(word, *nearest) < word.size())
    line += fmt::format("; did you mean {}?", *nearest);
  return fmt::format("{} The verbs are {}", line.ends_with('?') ? line : line + ".", fmt::join(verbs, ", "));
}

}  // namespace

CLI::Validator finite_number() {
  return number("a finite number", "", [](double) { return true; });
}

CLI::Validator number_from(double lowest) {
  return number(fmt::format("a number from {:g}", lowest), fmt::format("from {:g}", lowest),
                [lowest](double value) { return value >= lowest; });
}

CLI::Validator number_above(double bound) {
  return number(fmt::format("a number above {:g}", bound), fmt::format("above {:g}", bound),
                [bound](double value) { return value > bound; });
}

CLI::Validator number_from_to(double lowest, double highest) {
  return number(fmt::format("a number from {} to {}", lowest, highest), fmt::format("{} to {}", lowest, highest),
                [lowest, highest](double value) { return lowest <= value && value <= highest; });
}

void add_version(CLI::App& app) {
  app.set_version_flag("--version", std::string("weft ") + version());
}

int answer(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands({})) verbs.push_back(verb->get_name());
  const std::vector<std::string> unknown = app.remaining();
  const auto given = app.get_subcommands();

  std::string place = app.get_name(), line = error.what();
  if (!given.empty()) {
    place += " " + given.front()->get_name();
  } else if (!verbs.empty()) {
    line = unknown.empty() ? fmt::format("a verb is missing: one of {}", fmt::join(verbs, ", "))
                           : no_such_verb(unknown.front(), verbs);
  }
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "{}: {}; --help lists the options\n", place, line);
  return 2;
}

}  // namespace weft::cli
