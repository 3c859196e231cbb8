#pragma once
// What a block has under way in wgmma. Internal to wgmma.cpp and to the machine's end of a block.

#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/simt/ptx/async.h"
#include "kernels/simt/ptx/wgmma.h"

namespace weft::simt {

/// A thread's accumulators from their first product until the wait that covers their last one.
struct WgmmaAccumulators {
  float* registers;
  std::vector<float> values;  ///< what they will be
  int products = 0;           ///< that no wait has covered yet
};

struct WgmmaThread {
  bool fenced = false;  ///< since the last wait
  std::deque<WgmmaAccumulators> accumulators;
  struct Issued {
    AsyncEngine::Ticket ticket;
    float* registers;
  };
  std::vector<Issued> open;
  std::deque<std::vector<Issued>> closed;
};

/// What must be the same in the four warps of a warpgroup.
struct WgmmaRecord {
  Site site;
  std::uint64_t a_descriptor, b_descriptor;
};

struct WgmmaState {
  std::vector<WgmmaThread> threads;
  std::vector<std::vector<WgmmaRecord>> records;  ///< by warp, in the order of issue
};

}  // namespace weft::simt
