#pragma once
// Instructions that a whole warp, or a warpgroup's four, execute as one. Internal to the emulation.
//
//   .sync     a lane waits until all of its warp have come to the same instruction (PTX ISA: wgmma.fence, wgmma.commit_
//             group, wgmma.wait_group, setmaxnreg; bar.sync and bar.arrive count whole warps)
//   .aligned  all threads of the warp must execute the same instruction, and in conditional code only where they all
//             evaluate the condition identically (the same, and barrier.cluster); nobody waits for anybody
//
// With .sync, lanes that went different ways come together at the instruction. Without it they do not, and a warp whose
// lanes come to it apart from each other is undefined behaviour. The machine does not see a kernel's branches, but it
// sees what lanes synchronise by: lanes that did not come by the same such instructions since the warp was last
// together (a collective of all its lanes, __syncwarp(), a barrier of the block, or another such instruction) have gone
// different ways. This is stricter than the wording, under which a compiler may have brought them together again; a
// __syncwarp() makes sure of it on every one.

#include <cstdint>
#include <vector>

#include "kernels/simt/site.h"

namespace weft::simt {

/// `.aligned` without `.sync`. Throws weft::Error where the warp's lanes (those that have not left) came to different
/// instructions, or apart from each other.
void meet_aligned(const char* what, Site site);

/// A named barrier, which counts warps: waits until all lanes that the warp began with have come. Throws weft::Error
/// where one of them comes to something else, or has left the kernel.
void meet_whole_warp(const char* what, Site site);

/// The running thread came by an instruction that its warp's other lanes must come by too, to be together.
void note_passed(const char* what, Site site);

/// What the four warps of each warpgroup must execute alike, in the order in which each does.
class WarpgroupLog {
 public:
  struct Entry {
    const char* what = "";
    Site site;
    std::uint64_t a_descriptor = 0, b_descriptor = 0;  ///< of a wgmma
  };

  /// A new block of `threads` threads.
  void start_block(std::size_t threads) { warps_.assign((threads + 31) / 32, {}); }
  /// A warp executes its next instruction. Throws weft::Error where another of its warpgroup had a different one as
  /// that, or where the block ends before the warpgroup does.
  void add(unsigned warp, const Entry& entry);
  /// Whether each warp of the warpgroup has executed as many as `warp` has.
  bool others_caught_up(unsigned warp) const;
  /// At the block's end. Throws weft::Error where a warp executed fewer than another of its warpgroup.
  void check() const;

 private:
  std::vector<std::vector<Entry>> warps_;
};

/// `.sync.aligned` of a warpgroup: waits until all 32 lanes have come, then adds the instruction to the log. Throws
/// weft::Error where one of them comes to something else, or has left the kernel.
void meet_in_warpgroup(WarpgroupLog& log, const char* what, Site site);

}  // namespace weft::simt
