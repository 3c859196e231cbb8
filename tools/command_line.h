#pragma once
// What the programs' command lines have in common: numbers that are numbers, and one clear line where a command is
// wrong.

#include <CLI/CLI.hpp>

namespace weft::cli {

/// Validators for real-valued options, which NaN, infinity and what is no number at all do not pass. (CLI::Range lets
/// NaN through, for it is neither below nor above.)
CLI::Validator finite_number();
CLI::Validator number_from(double lowest);
CLI::Validator number_above(double bound);
CLI::Validator number_from_to(double lowest, double highest);

/// --version: "weft 0.1.0".
void add_version(CLI::App& app);

/// Ends a command line that `app` did not take: help and version where they were asked for, else one line on stderr
/// that says what is wrong, and of which verb; for a verb that there is not, all there are, and the nearest. Returns
/// the program's exit status: 0 or 2.
int answer(const CLI::App& app, const CLI::ParseError& error);

}  // namespace weft::cli
