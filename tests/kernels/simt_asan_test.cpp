// AddressSanitizer sees past the end of shared memory: each overrun runs in a child process, which must die of it.
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "kernels/launch.h"

namespace weft::simt {
namespace {

// Through a pointer that the compiler knows nothing of: UndefinedBehaviorSanitizer, which knows an array's bounds,
// would speak first.
void write(float* memory, int beyond) {
  float* volatile unknown = memory;
  unknown[threadIdx.x + static_cast<unsigned>(beyond)] = 1;
}

__global__ void static_overrun(int beyond) {
  __shared__ float tile[48];
  write(tile, beyond);
  __syncthreads();
  if (tile[0] == 2) __trap();
}

template <int N>
__global__ void overrun_in_a_template(int beyond) {
  __shared__ float tile[N];
  __shared__ float after[N];
  after[threadIdx.x] = 0;
  if (after[threadIdx.x] == 2) __trap();
  write(tile, beyond);
  __syncthreads();
  if (tile[0] == 2) __trap();
}

__global__ void dynamic_overrun(int beyond) {
  __syncthreads();
  write(dynamic_shared<float>(), beyond);
}

__global__ void local_overrun(int beyond) {
  float local[4] = {};
  __syncthreads();
  write(local, beyond);
}

/// What the child that launches `kernel` writes to stderr, and whether it died.
std::string run_child(void (*kernel)(int), unsigned threads, unsigned shared_bytes, int beyond, bool* died) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    launch(kernel, {.grid = 2, .block = threads, .shared_bytes = shared_bytes}, beyond);
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  *died = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return text;
}

TEST_CASE("simt: an overrun of shared memory is reported under AddressSanitizer") {
  if (!WEFT_SIMT_ASAN) {
    MESSAGE("skipped: not built with AddressSanitizer (preset asan)");
    return;
  }
  struct Case {
    void (*kernel)(int);
    unsigned threads, shared_bytes;
    const char* report;
  };
  for (const Case& c :
       {Case{static_overrun, 48, 0, "global-buffer-overflow"},
        Case{overrun_in_a_template<40>, 40, 0, "global-buffer-overflow"},
        Case{dynamic_overrun, 50, 200, "heap-buffer-overflow"}, Case{local_overrun, 4, 0, "stack-buffer-overflow"}}) {
    bool died = true;
    const std::string clean = run_child(c.kernel, c.threads, c.shared_bytes, 0, &died);
    CHECK_MESSAGE(!died, clean);
    const std::string text = run_child(c.kernel, c.threads, c.shared_bytes, 1, &died);
    CHECK(died);
    CHECK_MESSAGE(text.find(c.report) != std::string::npos, text);
    CHECK_MESSAGE(text.find("simt_asan_test.cpp") != std::string::npos, text);
  }
}

}  // namespace
}  // namespace weft::simt
