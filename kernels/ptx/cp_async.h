#pragma once
// cp.async: copies from global to shared memory that pass no register and go on while the thread computes (sm_80).
// PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy": cp.async, cp.async.commit_group,
// cp.async.wait_group / cp.async.wait_all; cp.async.mbarrier.arrive under "Parallel Synchronization".
//
// Until the thread that issued a copy has waited for it, the destination's contents are undefined. Waiting makes the
// copies visible to that thread alone: the block's other threads see them after a barrier that follows the wait.
// Copies are in no order among each other. On simt a copy lands as late as that allows (kernels/simt/ptx/async.h).

#include "kernels/ptx/common.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/cp_async.h"
#endif

namespace weft::WEFT_TARGET {

/// Copies kBytes (4, 8 or 16) through L1 and L2, both addresses multiples of kBytes. Only the first `source_bytes` are
/// read, at most kBytes; zeros fill the rest, so 0 writes zeros and reads nothing. `cp.async.ca`.
template <int kBytes>
__device__ __forceinline__ void cp_async_ca(void* shared, const void* global, int source_bytes = kBytes,
                                            [[maybe_unused]] Site site = Site::here()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async.ca copies 4, 8 or 16 bytes");
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "n"(kBytes), "r"(source_bytes)
               : "memory");
#else
  emulate_cp_async(shared, global, kBytes, source_bytes, "cp.async.ca", site);
#endif
}

/// Copies 16 bytes past L1, through L2 alone: for what this SM reads only once. `cp.async.cg`.
__device__ __forceinline__ void cp_async_cg(void* shared, const void* global, int source_bytes = 16,
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(source_bytes)
               : "memory");
#else
  emulate_cp_async(shared, global, 16, source_bytes, "cp.async.cg", site);
#endif
}

/// Makes one group of the thread's copies that are in none yet; the group may be empty. `cp.async.commit_group`.
__device__ __forceinline__ void cp_async_commit_group([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulate_cp_async_commit_group(site);
#endif
}

/// Waits until at most the thread's kPending newest groups are still under way. Copies in no group are not waited for.
/// `cp.async.wait_group`.
template <int kPending>
__device__ __forceinline__ void cp_async_wait_group([[maybe_unused]] Site site = Site::here()) {
  static_assert(kPending >= 0);
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#else
  emulate_cp_async_wait_group(kPending, site);
#endif
}

/// Waits for all of the thread's copies, those in no group included. `cp.async.wait_all`.
__device__ __forceinline__ void cp_async_wait_all([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  emulate_cp_async_wait_all(site);
#endif
}

/// The thread arrives at `mbarrier` (in shared memory, 8-byte aligned) when all copies that it has issued so far have
/// landed, without waiting for that. noinc: the arrival is one of those that the barrier was initialised to expect.
/// `cp.async.mbarrier.arrive.noinc`.
__device__ __forceinline__ void cp_async_mbarrier_arrive_noinc(std::uint64_t* mbarrier,
                                                               [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(mbarrier)) : "memory");
#else
  emulate_cp_async_mbarrier_arrive_noinc(mbarrier, site);
#endif
}

}  // namespace weft::WEFT_TARGET
