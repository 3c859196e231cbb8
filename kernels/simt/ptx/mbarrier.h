#pragma once
// mbarrier objects on the SIMT machine: the body of kernels/ptx/mbarrier.h, and what bulk copies do to a barrier.
//
// The object is 64 bits of shared memory. Here they hold the pending count in bits 0-19, the expected count in bits
// 20-39, the transaction count in bits 40-60 (two's complement), the phase's parity in bit 61 and 01 above it; a kernel
// takes them as opaque. The machine also keeps a copy of its own, so that an object that was never initialised, or that
// something else has written over, is an error at its next use.

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

/// PTX ISA, "Contents of the mbarrier object": what the three counts may be.
inline constexpr std::int64_t kMbarrierMaxCount = (1 << 20) - 1;
inline constexpr std::int64_t kMbarrierMaxTransactions = (1 << 20) - 1;

void emulate_mbarrier_init(std::uint64_t* barrier, unsigned count, Site site);
void emulate_mbarrier_inval(std::uint64_t* barrier, Site site);
/// expect-tx by `bytes` where that is not 0, then arrive-on with `count` where that is not 0: of `barrier` in the
/// running block's shared memory, or, where `remote`, in that of any block of the cluster.
void emulate_mbarrier_arrive(std::uint64_t* barrier, unsigned count, unsigned bytes, bool remote, const char* what,
                             Site site);
void emulate_mbarrier_complete_tx(std::uint64_t* barrier, unsigned bytes, Site site);
/// Whether the phase of this parity has completed. Lets other threads run where it has not.
bool emulate_mbarrier_test_wait(std::uint64_t* barrier, unsigned parity, const char* what, Site site);
/// Waits until it has.
void emulate_mbarrier_wait(std::uint64_t* barrier, unsigned parity, Site site);

/// fence.mbarrier_init: the thread's initialisations are seen by the asynchronous proxy and by the cluster.
void emulate_fence_mbarrier_init(Site site);
/// The same for a fence that speaks of one of the two only.
void publish_mbarriers(bool to_async_proxy, bool to_cluster);

/// What a bulk copy does at its end: complete-tx. `what` and `site` are the copy's.
void complete_transactions(std::uint64_t* barrier, std::uint64_t bytes, const char* what, Site site);
/// One arrival by what is not a thread's own instruction: cp.async.mbarrier.arrive, when its copies have landed.
void arrive_for_copies(std::uint64_t* barrier, const char* what, Site site);
/// That there is an mbarrier at this address; throws weft::Error otherwise.
void check_mbarrier(const std::uint64_t* barrier, const char* what, Site site);
/// What can be told when the copy is issued: that it is a barrier, and one that the asynchronous proxy sees.
void check_mbarrier_for_copy(std::uint64_t* barrier, const char* what, Site site);

}  // namespace weft::simt
