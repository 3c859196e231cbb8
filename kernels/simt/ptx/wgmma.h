#pragma once
// wgmma on the SIMT machine: the body of kernels/ptx/wgmma.h.
//
// Each warp of a warpgroup computes its own 16 rows of the product, and all four land when the first of them waits for
// the group that the product was committed in, which is the warpgroup's. Until then a thread's accumulators are poison
// and the machine keeps their values, so a product that follows in the same accumulators continues from there.
//
// All of these are .sync.aligned: a warp's lanes wait for each other, and it is an error where one of them never comes
// or comes to something else. The four warps of a warpgroup must execute the same ones in the same order (aligned.h).
//
// Accesses to registers are not seen here, but what they change is. At a wgmma.fence the machine copies the thread's
// stack, where its local arrays lie, and holds a product's registers against the copy: it is an error where a word of
// the accumulators or of A's fragment was written since. Until the thread's wait, accumulators must stay poison and
// fragments what they were. Not seen are
//   reads, and writes of the bits that were there: they leave no trace
//   accumulators written between fence and product where scale_d is 0: such a product may be the first use of an array
//     that begins after the fence, in memory that the compiler gave to another variable before
//   registers that are no local variables of the thread: a captured array of a test, or what AddressSanitizer's
//     detection of use after return has moved away
// The other way round, an array that is copied after the fence counts as written, which a compiler for a GPU may do
// without an instruction.
//
// Stricter than the ISA, which asks for wgmma.fence only where registers were accessed in between: a product in
// accumulators that are not in flight wants a fence since the thread's last wait.

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

enum class WgmmaType : unsigned char { bf16, tf32 };

/// One m64nNkK product, as each thread brings it. `a` is the thread's fragment of A, or null: then A is in shared
/// memory.
struct WgmmaProduct {
  WgmmaType type = WgmmaType::bf16;
  int n = 0;
  float* d = nullptr;  ///< n / 2 registers
  const std::uint32_t* a = nullptr;
  std::uint64_t a_descriptor = 0, b_descriptor = 0;
  bool a_transposed = false, b_transposed = false;  ///< M-major, N-major
  bool scale_d = true;                              ///< false: D is written, not added to
};

void emulate_wgmma(const WgmmaProduct& product, const char* what, Site site);
void emulate_wgmma_fence(Site site);
void emulate_wgmma_commit_group(Site site);
void emulate_wgmma_wait_group(unsigned pending, Site site);
/// Throws where the warps of a warpgroup did not execute the same instructions. At the end of a block.
void check_wgmma(const struct WgmmaState& state);

}  // namespace weft::simt
