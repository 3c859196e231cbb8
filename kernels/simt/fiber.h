#pragma once
// Stacks for fibers, and the announcements that AddressSanitizer needs at each switch.

#include <cstddef>

#include "kernels/simt/block.h"
#include "kernels/simt/sanitizer.h"

#if WEFT_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace weft::simt {

/// Maps a stack for `fiber` with a guard page below it. `number` spreads the stacks' tops over the cache's sets:
/// threads of a block touch the same few hundred bytes of their stacks, which must not all fall into the same set.
void map_stack(Fiber& fiber, std::size_t bytes, std::size_t number);
void unmap_stack(Fiber& fiber);

inline void announce_switch([[maybe_unused]] void** save_fake_stack, [[maybe_unused]] const Fiber& to) {
#if WEFT_SIMT_ASAN
  __sanitizer_start_switch_fiber(save_fake_stack, to.stack_bottom, to.stack_size);
#endif
}

/// In the fiber that was switched to; tells where the stack lies that was left.
inline void announce_arrival([[maybe_unused]] Fiber& self, [[maybe_unused]] Fiber& left) {
#if WEFT_SIMT_ASAN
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &size);
  left.stack_bottom = bottom;  // known of our own fibers; learned here of the OS thread's
  left.stack_size = size;
#endif
}

}  // namespace weft::simt
