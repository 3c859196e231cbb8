#pragma once
// CUDA events as a clock. Only where the program is built with nvcc (WEFT_WITH_CUDA).

#include <memory>
#include <string>

#include "bench/place.h"

namespace weft::bench {

std::unique_ptr<Clock> make_cuda_clock(int device);
/// "driver 580.159.04, CUDA driver API 13.0, CUDA runtime 13.0"
std::string cuda_versions();

}  // namespace weft::bench
