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
  std::vector<float*> open;                ///< the accumulators of products that are in no group yet
  std::deque<std::vector<float*>> closed;  ///< of the groups that are not waited for yet
  std::size_t waited = 0;                  ///< groups that were
};

/// A warp's products. A group is the warpgroup's: it is complete when all four warps have committed it and each one's
/// products have landed.
struct WgmmaWarp {
  AsyncEngine::Ticket last = 0;  ///< the newest product
  std::vector<AsyncEngine::Ticket> open;
  std::vector<std::vector<AsyncEngine::Ticket>> groups;
};

struct WgmmaState {
  std::vector<WgmmaThread> threads;
  std::vector<WgmmaWarp> warps;
  WarpgroupLog log;  ///< of all that the block's warps executed, fences, commits and waits included
};

}  // namespace weft::simt
