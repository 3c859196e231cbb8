#pragma once
// Runs a program as a person would: arguments in, exit status and both streams out; Ctrl-C after a while.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace weft::tests {

struct ProcessResult {
  int status = -1;  ///< exit status; 128 + signal where a signal ended it
  std::string out, err;
  double seconds = 0;
};

struct ProcessOptions {
  /// Sends SIGINT after this many seconds; below 0: never.
  double interrupt_after = -1;
  /// Or once this is true; asked every 2 ms. Empty: never.
  std::function<bool()> interrupt_when;
  /// NAME=value, added to the environment; of two of one name the last.
  std::vector<std::string> environment;
  std::filesystem::path folder;  ///< working directory; empty: this one
  std::filesystem::path out;     ///< file that its output goes to as it comes; empty: one that nobody sees
};

/// Runs build/<preset>/bin/`program`, or any other by its whole path.
ProcessResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                          const ProcessOptions& options = {});
/// dogs_vs_cats.
inline ProcessResult dogs_vs_cats(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  return run_program("dogs_vs_cats", arguments, options);
}

using test::TemporaryFolder;

std::string read_all(const std::filesystem::path& path);
void write_all(const std::filesystem::path& path, const std::string& text);
/// Number of lines that are not empty.
int lines(const std::string& text);
/// What a line on memory says of activations ("activations 1.5 MiB (3.0 MiB without sharing)"), in bytes as printed:
/// with sharing and without. Throws where `text` has no such words.
struct ActivationBytes {
  double shared = 0, unshared = 0;
};
ActivationBytes activation_bytes(const std::string& text);
/// A small drawn sample that all tests of the program share: `count` training pictures of 48 pixels.
const std::filesystem::path& drawn_sample();

}  // namespace weft::tests
