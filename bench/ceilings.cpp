#include "bench/ceilings.h"

#include <algorithm>
#include <vector>

#include "bench/call.h"

namespace weft::bench {
namespace {

double median_of_runs(Clock& clock, int runs, const std::function<void()>& work) {
  work();
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) seconds.push_back(clock.seconds(work));
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

void copy_bytes(const Place& place, const void* from, void* to, std::int64_t bytes, Stream stream) {
#if WEFT_WITH_CUDA
  if (place.on_gpu()) return cuda::launch_copy(from, to, bytes, stream);
#else
  (void)place;
#endif
  simt::launch_copy(from, to, bytes, stream);
}

double multiply(const Place& place, const std::string& arithmetic, float* results, int blocks, int rounds,
                Stream stream) {
#if WEFT_WITH_CUDA
  if (place.on_gpu())
    return arithmetic == "f32"
               ? cuda::launch_multiply_adds(results, blocks, rounds, stream)
               : cuda::launch_tensor_products(arithmetic, results, blocks, rounds, place.capability, stream);
#endif
  return arithmetic == "f32"
             ? simt::launch_multiply_adds(results, blocks, rounds, stream)
             : simt::launch_tensor_products(arithmetic, results, blocks, rounds, place.capability, stream);
}

}  // namespace

double Ceilings::floor(const std::string& arithmetic, double flops, double bytes) const {
  const auto found = flops_per_second.find(arithmetic);
  const double by_arithmetic = found != flops_per_second.end() && found->second > 0 ? flops / found->second : 0;
  const double by_bytes = bytes_per_second > 0 ? bytes / bytes_per_second : 0;
  return std::max(by_arithmetic, by_bytes);
}

double Ceilings::least(const std::string& op, const std::string& arithmetic, double flops, double bytes) const {
  constexpr double kWinograd = 4, kOneWay = 1.15;
  const double products = op.starts_with("conv2d") ? flops / kWinograd : flops;
  return floor(arithmetic, products, bytes / kOneWay);
}

Ceilings measure_ceilings(const Place& place, Clock& clock) {
  Ceilings ceilings;
  if (!place.has_rungs) return ceilings;
  const bool gpu = place.on_gpu();
  const std::int64_t bytes = gpu ? std::int64_t{1} << 30 : 1 << 16;
  const int blocks = gpu ? 132 * 8 * 4 : 2, rounds = gpu ? 4096 : 4, runs = gpu ? 15 : 3;
  {
    const Memory from(place, static_cast<std::size_t>(bytes)), to(place, static_cast<std::size_t>(bytes));
    place.target->set_bytes(place.index, from.data(), 0x5A, static_cast<std::size_t>(bytes));
    const double seconds =
        median_of_runs(clock, runs, [&] { copy_bytes(place, from.data(), to.data(), bytes, clock.stream()); });
    const double copied = median_of_runs(clock, runs, [&] {  // the library's own copy, should it be the better one
      place.target->copy(place.index, to.data(), from.data(), static_cast<std::size_t>(bytes));
    });
    ceilings.bytes_per_second = 2.0 * static_cast<double>(bytes) / std::min(seconds, copied);
  }
  const Memory results(place, static_cast<std::size_t>(blocks) * 256 * sizeof(float));
  for (const char* arithmetic : {"f32", "tf32", "bf16"}) {
    double flops = 0;
    const double seconds = median_of_runs(clock, runs, [&] {
      flops = multiply(place, arithmetic, static_cast<float*>(results.data()), blocks, rounds, clock.stream());
    });
    ceilings.flops_per_second[arithmetic] = flops / seconds;
  }
  return ceilings;
}

}  // namespace weft::bench
