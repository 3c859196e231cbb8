#pragma once
// What the tests of wrapped instructions share: run a lambda as a kernel on the SIMT machine, and look at what it
// throws.

#include <string>

#include "kernels/error.h"
#include "kernels/launch.h"

namespace weft::simt::test {

/// Puts the machine's settings back that a test changes.
struct Settings {
  int threads = thread_count();
  ~Settings() {
    set_thread_count(threads);
    set_schedule_seed(0);
    clear_site_faults();
  }
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Runs body() in each thread of a grid. What that throws, or "" where it does not.
template <class Body>
std::string error_of_grid(dim3 grid, dim3 block, unsigned shared_bytes, const Body& body, dim3 cluster = {}) {
  try {
    run_grid(grid, block, shared_bytes, body, Site::here(), cluster);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace weft::simt::test
