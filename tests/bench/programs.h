#pragma once
// What the tests of the benchmark's programs and scripts share.

#include <string>
#include <vector>

#include "tests/tools/harness.h"

namespace weft::tests {

inline ProcessResult weft_bench(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) {
  return run_program("weft_bench", arguments, options);
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// True where a GPU is here: then what is said of its absence is not.
inline bool gpu_here() {
  return weft_bench({"--describe", "--device", "cuda"}).status == 0;
}

/// Runs a script of the tree on this build's programs.
inline ProcessResult script(const std::string& path, const std::vector<std::string>& arguments,
                            std::vector<std::string> environment = {}) {
  environment.insert(environment.begin(), std::string("WEFT_BIN=") + WEFT_PROGRAMS);
  return run_program(std::string(WEFT_ROOT) + "/" + path, arguments, {.environment = std::move(environment)});
}

}  // namespace weft::tests
