#pragma once
// Where in the source a synchronisation stands. Every function that synchronises takes a Site as its last, defaulted
// argument, so that the kernel's source needs no change and the machine can still name both sides of a faulty barrier.

#include <cstring>

namespace weft::simt {

/// A line of a kernel. (std::source_location needs a builtin that clang 14 lacks.)
struct Site {
  const char* file = "";
  int line = 0;

  /// The line that calls the function whose default argument this is.
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

/// The same header seen from two files has two copies of its name.
inline bool operator==(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

}  // namespace weft::simt
