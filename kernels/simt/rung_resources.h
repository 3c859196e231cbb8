#pragma once
// What every rung of the catalogue asks of a multiprocessor, as its launches on the SIMT machine say: threads, clusters
// and shared memory, the dynamic one included. Registers and spills are the compiler's to say (tools/kernel_resources).

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/catalogue.h"

namespace weft::simt {

/// The launches that a rung makes at one place of the source. Each figure is the largest over the shapes of
/// Op::problems in float32 and bfloat16; a larger shape may ask for more where a rung cuts its tiles by the shape.
struct RungLaunches {
  const Op* op = nullptr;
  const Rung* rung = nullptr;
  std::string place;            ///< "kernels/gemm/8_cp_async.cu:149"
  unsigned threads = 0;         ///< of a block
  unsigned cluster_blocks = 0;  ///< of a cluster; 1 where there is none
  std::size_t dynamic_shared_bytes = 0;
  std::size_t static_shared_bytes = 0;  ///< see LaunchShape
  std::size_t shared_bytes = 0;         ///< both together, of one launch
};

/// Runs each rung of each op that `wanted` (null: of all) on zeros, and returns what it launched, by op, rung and
/// place. Throws weft::Error where a launch does.
std::vector<RungLaunches> rung_launches(const std::function<bool(const Op&)>& wanted = nullptr);

/// Static and dynamic shared memory, in bytes, that a block may have on each GPU that `needs` lets a rung run on: 227
/// KiB on 9.0 alone, 99 KiB on every GPU from 8.0 on (8.6, 8.9 and 12.0 have no more), else 48 KiB, for which nobody
/// has to ask. CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
std::size_t shared_limit(const Needs& needs);

}  // namespace weft::simt
