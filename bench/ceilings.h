#pragma once
// What a device can do at most, measured in the run that is judged by it: bytes copied and products summed a second.

#include <map>
#include <string>

#include "bench/place.h"

namespace weft::bench {

/// Zero where it was not measured.
struct Ceilings {
  double bytes_per_second = 0;                     ///< of a copy, read and written counted
  std::map<std::string, double> flops_per_second;  ///< by "f32", "tf32", "bf16"
  /// Seconds that a call of so many operations and bytes takes at least; 0 where no ceiling is known.
  double floor(const std::string& arithmetic, double flops, double bytes) const;
  /// Seconds that no call can beat; 0 where no ceiling is known. Below `floor`, which counts a convolution's products
  /// one by one and a byte as a copy moves it: Winograd's F(4x4,3x3) multiplies 4 times less (Lavin and Gray 2015), and
  /// memory that is only read, or only written, need not turn round between the two.
  double least(const std::string& op, const std::string& arithmetic, double flops, double bytes) const;
};

/// Measures for about a second. `small`: for the simt target, where this only shows that it works.
Ceilings measure_ceilings(const Place& place, Clock& clock);

// The kernels behind it, compiled for both targets like all others (ceilings.cu).
namespace simt {
void launch_copy(const void* from, void* to, std::int64_t bytes, Stream stream);
double launch_multiply_adds(float* results, int blocks, int rounds, Stream stream);
double launch_tensor_products(const std::string& arithmetic, float* results, int blocks, int rounds, int capability,
                              Stream stream);
}  // namespace simt
namespace cuda {
void launch_copy(const void* from, void* to, std::int64_t bytes, Stream stream);
double launch_multiply_adds(float* results, int blocks, int rounds, Stream stream);
double launch_tensor_products(const std::string& arithmetic, float* results, int blocks, int rounds, int capability,
                              Stream stream);
}  // namespace cuda

}  // namespace weft::bench
