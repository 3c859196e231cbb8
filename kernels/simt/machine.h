#pragma once
// The SIMT machine: runs a grid's blocks over OS threads and each block's threads as fibers. See README.md.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/site.h"
#include "kernels/simt/vector_types.h"

namespace weft::simt {

/// Real variables, one of each for an OS thread: the machine writes threadIdx whenever it switches to another thread.
extern thread_local constinit uint3 threadIdx;
extern thread_local constinit uint3 blockIdx;
extern thread_local constinit dim3 blockDim;
extern thread_local constinit dim3 gridDim;
inline constexpr int warpSize = 32;

/// Runs `body(closure)` once for each thread of each block and returns when all have finished. `cluster` is the extents
/// of a cluster in blocks. Throws weft::Error where the extents are not allowed, a thread threw, or threads wait for
/// each other for ever; of several failing blocks it is the first one's error. `where` is the launch, for the message.
void run_grid(dim3 grid, dim3 block, dim3 cluster, unsigned shared_bytes, void (*body)(const void*),
              const void* closure, Site where);

/// The same for anything that can be called.
template <class Callable>
void run_grid(dim3 grid, dim3 block, unsigned shared_bytes, const Callable& callable, Site where = Site::here(),
              dim3 cluster = {}) {
  run_grid(
      grid, block, cluster, shared_bytes, [](const void* closure) { (*static_cast<const Callable*>(closure))(); },
      &callable, where);
}

/// The dynamic shared memory of the running block, aligned to 1024 bytes.
void* dynamic_shared_memory();

/// OS threads that blocks are spread over. From WEFT_SIMT_THREADS, else what the hardware has; always 1 under
/// AddressSanitizer.
int thread_count();
void set_thread_count(int count);

/// Bytes of stack that each thread of a block has for its local variables.
std::size_t stack_bytes();
void set_stack_bytes(std::size_t bytes);

/// 0: threads run in the order of their index between two barriers. Any other number stands for one permutation of the
/// threads, so that a race shows as a result that changes with it. From WEFT_SIMT_SEED.
std::uint64_t schedule_seed();
void set_schedule_seed(std::uint64_t seed);

/// A place that synchronises, as it was executed: what could be left out of the source and still compile. A line may
/// hold several, told apart by what they do; one in a template or an inlined function is one site wherever it is used.
struct SyncSite {
  std::string file;
  int line;
  std::string what;          ///< "__syncthreads", "cp.async.wait_group"
  bool names_phase = false;  ///< it waits for a phase of an mbarrier by its parity

  bool operator==(const SyncSite&) const = default;
};

/// Every place that has synchronised since the program began or forget_sync_sites(), in order of file and line.
std::vector<SyncSite> sync_sites();
void forget_sync_sites();

/// Gives the barrier, wait, commit or fence `what` on this line a fault (where `what` is empty: all on this line): a
/// test suite worth its name then fails. `file` may be the end of the path. Of several faults of a site the first
/// counts.
void set_site_fault(SiteFault fault, const std::string& file, int line, const std::string& what = "");
void clear_site_faults();

}  // namespace weft::simt
