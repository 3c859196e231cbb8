#pragma once
// Inside data/ only: a loop over independent items with all cores.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace weft {

/// Calls work(0) to work(count - 1), in no order, on as many threads as there are cores (at most 16). The first
/// exception to occur comes out, after the threads have stopped.
template <typename Work>
void for_each_in_parallel(int64_t count, Work work) {
  int64_t wanted = std::min<int64_t>({int64_t(std::thread::hardware_concurrency()), 16, count});
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex mutex;
  auto run = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  std::vector<std::jthread> threads;
  for (int64_t i = 1; i < wanted; ++i) threads.emplace_back(run);
  run();
  threads.clear();  // joins
  if (error) std::rethrow_exception(error);
}

}  // namespace weft
