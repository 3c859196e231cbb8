#pragma once
// Barriers of a block, fences, and waiting in general. Each synchronisation knows the line it stands on.

#include "kernels/simt/site.h"

namespace weft::simt {

// What the machine offers; the functions of CUDA's names below, those in warp.h and the emulated instructions build on
// it.

/// Called by the last lane to arrive, once: arguments[lane] is what each lane of `lanes` brought, null for the others.
using Completion = void (*)(void* const* arguments, unsigned lanes);

/// Waits until all of `mask`'s lanes that have not left the kernel have come to the same collective, then lets
/// `complete` work on what they brought. Throws weft::Error where the lanes came to different collectives.
void warp_collective(const char* what, unsigned mask, void* argument, Completion complete, Site site);

/// Waits in barrier `id` (0 to 15) until `count` threads have come (0: all of the block); returns the sum of their
/// predicates. `bar.sync`.
int block_barrier(unsigned id, unsigned count, int predicate, const char* what, Site site);

/// Counts as one of the barrier's threads without waiting. `bar.arrive`.
void block_barrier_arrive(unsigned id, unsigned count, const char* what, Site site);

/// Lets the block's other threads run. For the loops that wait for another thread to write something.
void yield_thread(const char* what = "yield", Site site = Site::here());

/// Used by wait_until: as yield_thread, but throws where every thread of the block only waits.
void poll_thread(const char* what, Site site);
void poll_succeeded();

/// Waits until condition() holds, which another thread of the block must bring about.
template <class Condition>
void wait_until(Condition condition, const char* what, Site site = Site::here()) {
  while (!condition()) poll_thread(what, site);
  poll_succeeded();
}

/// The place of the running thread within its warp, and the lanes of its warp that have not left the kernel.
unsigned lane_index();
unsigned live_lanes();

/// Every function that synchronises (a barrier, wait, commit, fence) calls one of these first: it notes the site. Where
/// enter_site returns true the function must do nothing at all. A wait that names a phase of an mbarrier by its parity
/// calls the other one, and does as the fault says. The string must outlive the program: a literal.
bool enter_site(const char* what, Site site);
SiteFault enter_phase_site(const char* what, Site site);

// CUDA's names.

inline void __syncthreads(Site site = Site::here()) {
  block_barrier(0, 0, 0, "__syncthreads", site);
}
inline int __syncthreads_count(int predicate, Site site = Site::here()) {
  return block_barrier(0, 0, predicate != 0, "__syncthreads_count", site);
}
inline int __syncthreads_or(int predicate, Site site = Site::here()) {
  return block_barrier(0, 0, predicate != 0, "__syncthreads_or", site) != 0;
}
inline int __syncthreads_and(int predicate, Site site = Site::here()) {
  return block_barrier(0, 0, predicate == 0, "__syncthreads_and", site) == 0;
}

inline void __threadfence() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_system() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_block() {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}  // one OS thread runs the block

inline void __nanosleep(unsigned, Site site = Site::here()) {
  yield_thread("__nanosleep", site);
}

/// Ends the launch with an error.
[[noreturn]] void __trap(Site site = Site::here());
inline void __brkpt() {}

/// Ticks of a clock that only goes forward: of use for ordering, not for timing.
long long clock64();
inline int clock() {
  return static_cast<int>(clock64());
}

}  // namespace weft::simt
