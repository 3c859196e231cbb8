#pragma once
// What a block has under way in wgmma. Internal to wgmma.cpp and to the machine's end of a block.

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/simt/ptx/aligned.h"
#include "kernels/simt/ptx/async.h"
#include "kernels/simt/ptx/stack_copy.h"
#include "kernels/simt/ptx/wgmma.h"

namespace weft::simt {

/// A thread's accumulators from their first product until the wait that covers their last one.
struct WgmmaAccumulators {
  float* registers;
  std::vector<float> values;  ///< what they will be
  int products = 0;           ///< that no wait has covered yet
};

/// A thread's registers of A, as they were when the product that reads them was issued.
struct WgmmaFragment {
  const std::uint32_t* registers;
  std::array<std::uint32_t, 4> bits;
};

/// A thread's registers that products of one group use.
struct WgmmaGroup {
  std::vector<float*> accumulators;
  std::vector<WgmmaFragment> fragments;
};

struct WgmmaThread {
  bool fenced = false;  ///< since the last wait
  StackCopy at_fence;   ///< the last one
  std::deque<WgmmaAccumulators> accumulators;
  WgmmaGroup open;                ///< of products that are in no group yet
  std::deque<WgmmaGroup> closed;  ///< that are not waited for yet
  std::size_t waited = 0;         ///< groups that were
};

/// A warp's products. A group is the warpgroup's: it is complete when all four warps have committed it and each one's
/// products have landed.
struct WgmmaWarp {
  AsyncEngine::Ticket last = 0;  ///< the newest product
  std::vector<bool> scales;      ///< of all its products
  std::vector<AsyncEngine::Ticket> open;
  std::vector<std::vector<AsyncEngine::Ticket>> groups;
};

struct WgmmaState {
  std::vector<WgmmaThread> threads;
  std::vector<WgmmaWarp> warps;
  WarpgroupLog log;  ///< of all that the block's warps executed, fences, commits and waits included
};

}  // namespace weft::simt
