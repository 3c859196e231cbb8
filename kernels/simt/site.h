#pragma once
// Where in the source a synchronisation stands. Every function that synchronises takes a Site as its last, defaulted
// argument, so that the kernel's source needs no change and the machine can still name both sides of a faulty barrier.
// A test can give a site a fault.

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

/// What is wrong with a site: what a kernel's author could have forgotten there. The phase faults are for a wait that
/// names a phase of an mbarrier by its parity, and change nothing elsewhere.
enum class SiteFault : unsigned char {
  none,
  left_out,        ///< it does nothing
  phase_stuck,     ///< it waits for the parity that the thread named when it first came here: `parity ^= 1` forgotten
  phase_inverted,  ///< it waits for the other parity than the one named: begun with the wrong phase
};

}  // namespace weft::simt
