#include "core/cpu/tune.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "core/cpu/memory.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace weft::cpu {

double measure(Runtime& runtime, const dnnl::primitive& primitive,
               const std::vector<std::pair<int, onednn::desc>>& arguments) {
  using Clock = std::chrono::steady_clock;
  std::unordered_map<int, dnnl::memory> memories;
  std::vector<std::unique_ptr<void, void (*)(void*)>> blocks;  // as a program's memory is, in huge pages
  for (const auto& [argument, desc] : arguments) {
    if (desc.is_zero() || desc.get_size() == 0) continue;
    blocks.emplace_back(allocate_memory(desc.get_size()), [](void* data) { release_memory(data); });
    if (!blocks.back()) fail("--tune: there is not enough memory to try a convolution's algorithms");
    dnnl::memory memory(desc, runtime.engine, blocks.back().get());
    if (argument != DNNL_ARG_SCRATCHPAD) {
      Philox random(1, static_cast<std::uint64_t>(argument));
      auto* numbers = static_cast<float*>(memory.get_data_handle());
      for (std::size_t i = 0; i < desc.get_size() / sizeof(float); ++i) numbers[i] = random.uniform() - 0.5f;
    }
    memories.emplace(argument, memory);
  }
  const auto once = [&] {
    const auto start = Clock::now();
    primitive.execute(runtime.stream, memories);
    runtime.stream.wait();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double best = once(), spent = 0;  // the first run touches memory and counts for nothing more than a start
  for (int i = 0; i < 100 && (i < 5 || spent < 0.2); ++i) {
    const double seconds = once();
    spent += seconds;
    best = std::min(best, seconds);
  }
  return best;
}

}  // namespace weft::cpu
