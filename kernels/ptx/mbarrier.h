#pragma once
// mbarrier: a barrier object in shared memory that counts arrivals and bytes (sm_90; without the bytes sm_80). PTX ISA,
// "Parallel Synchronization and Communication Instructions: mbarrier".
//
// The object is 64 bits, 8-byte aligned, and goes through phases 0, 1, 2, ... A phase is complete when its expected
// count of arrivals has come and all bytes that were announced for it have landed; the next one begins at once. A wait
// names a phase by its parity, so a waiting thread must be less than two phases behind. An arrival releases what the
// thread did before, a wait acquires it. Counts are within 1 to 2^20 - 1, bytes within 2^20 - 1.

#include <cstdint>

#include "kernels/ptx/common.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/mbarrier.h"
#endif

namespace weft::WEFT_TARGET {

/// Makes `barrier` one whose phases take `count` arrivals. One thread does it, then fence_mbarrier_init(), then a
/// barrier of the block (or of the cluster) before anyone uses it. `mbarrier.init`.
__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, unsigned count,
                                              [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#else
  emulate_mbarrier_init(barrier, count, site);
#endif
}

/// Ends the object, so that its memory can hold something else. `mbarrier.inval`.
__device__ __forceinline__ void mbarrier_inval(std::uint64_t* barrier, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
#else
  emulate_mbarrier_inval(barrier, site);
#endif
}

#if WEFT_HAS_HOPPER

/// Counts as `count` arrivals at the barrier of this block. `mbarrier.arrive`.
__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier, unsigned count = 1,
                                                [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
#else
  emulate_mbarrier_arrive(barrier, count, 0, false, "mbarrier.arrive", site);
#endif
}

/// Announces `bytes` for the running phase, then arrives once. `mbarrier.arrive.expect_tx`.
__device__ __forceinline__ void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes,
                                                          [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(bytes)
               : "memory");
#else
  emulate_mbarrier_arrive(barrier, 1, bytes, false, "mbarrier.arrive.expect_tx", site);
#endif
}

/// Announces `bytes` for the running phase without arriving. `mbarrier.expect_tx`.
__device__ __forceinline__ void mbarrier_expect_tx(std::uint64_t* barrier, unsigned bytes,
                                                   [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#else
  emulate_mbarrier_arrive(barrier, 0, bytes, false, "mbarrier.expect_tx", site);
#endif
}

/// Says that `bytes` of those announced have come, as the copy engine does at the end of a copy.
/// `mbarrier.complete_tx`.
__device__ __forceinline__ void mbarrier_complete_tx(std::uint64_t* barrier, unsigned bytes,
                                                     [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#else
  emulate_mbarrier_complete_tx(barrier, bytes, site);
#endif
}

/// Whether the phase of this parity has completed, now. `mbarrier.test_wait.parity`.
__device__ __forceinline__ bool mbarrier_test_wait_parity(std::uint64_t* barrier, unsigned parity,
                                                          [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  unsigned done;
  asm volatile(
      "{\n.reg .pred complete;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
      "selp.u32 %0, 1, 0, complete;\n}\n"
      : "=r"(done)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return done != 0;
#else
  return emulate_mbarrier_test_wait(barrier, parity, "mbarrier.test_wait.parity", site);
#endif
}

/// The same, but the thread may sleep for a while first if it has not. `mbarrier.try_wait.parity`.
__device__ __forceinline__ bool mbarrier_try_wait_parity(std::uint64_t* barrier, unsigned parity,
                                                         [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  unsigned done;
  asm volatile(
      "{\n.reg .pred complete;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\n"
      "selp.u32 %0, 1, 0, complete;\n}\n"
      : "=r"(done)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return done != 0;
#else
  return emulate_mbarrier_test_wait(barrier, parity, "mbarrier.try_wait.parity", site);
#endif
}

/// Waits until the phase of this parity has completed. The first phase has parity 0; waiting for parity 1 of a fresh
/// barrier returns at once, which is how a ring's slots begin empty. `mbarrier.try_wait.parity`, as often as it takes.
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, unsigned parity,
                                              [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  while (!mbarrier_try_wait_parity(barrier, parity)) {
  }
#else
  emulate_mbarrier_wait(barrier, parity, site);
#endif
}

#endif  // WEFT_HAS_HOPPER

}  // namespace weft::WEFT_TARGET
