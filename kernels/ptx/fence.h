#pragma once
// Fences between the two ways to memory, and instructions of a warp or a block that fit nowhere else (sm_90).
//
// The copy engine and the tensor cores reach shared memory through the asynchronous proxy; loads and stores of a thread
// go through the generic one. What a thread writes is not seen by the other proxy before a fence. PTX ISA, "Memory
// Consistency Model: Proxies", "membar / fence", "elect.sync", "setmaxnreg", "bar", "griddepcontrol".

#include "kernels/ptx/common.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/fence.h"
#endif

namespace weft::WEFT_TARGET {

#if WEFT_HAS_HOPPER

/// What the thread wrote to shared memory is seen by bulk copies and by wgmma. Each writing thread calls it, before the
/// barrier after which the copy or the product is issued. On simt a copy or product that reads what was not fenced is
/// an error (kernels/simt/ptx/proxy_view.h). `fence.proxy.async.shared::cta`.
__device__ __forceinline__ void fence_proxy_async([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
  emulate_fence_proxy_async(site);
#endif
}

/// The mbarriers that the thread initialised are seen by the copy engine and by the cluster's other blocks.
/// `fence.mbarrier_init.release.cluster`.
__device__ __forceinline__ void fence_mbarrier_init([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  emulate_fence_mbarrier_init(site);
#endif
}

/// True in one lane of the warp, the same one each time; which one is open. All 32 lanes call it. `elect.sync`.
__device__ __forceinline__ bool elect_one([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  unsigned elected;
  asm volatile(
      "{\n.reg .pred mine;\n"
      "elect.sync _|mine, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, mine;\n}\n"
      : "=r"(elected));
  return elected != 0;
#else
  return emulate_elect_one(site);
#endif
}

/// The four warps of the warpgroup give registers back, or wait until there are enough and take more: kCount registers
/// a thread from here on, a multiple of 8 within 24 to 256. All of them execute the same one, and meet in a barrier
/// before the next. `setmaxnreg.dec`, `setmaxnreg.inc`.
template <unsigned kCount>
__device__ __forceinline__ void set_max_registers_dec([[maybe_unused]] Site site = Site::here()) {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256, "setmaxnreg takes multiples of 8 from 24 to 256");
#if WEFT_TARGET_IS_CUDA
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#else
  emulate_set_max_registers(kCount, false, site);
#endif
}
template <unsigned kCount>
__device__ __forceinline__ void set_max_registers_inc([[maybe_unused]] Site site = Site::here()) {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256, "setmaxnreg takes multiples of 8 from 24 to 256");
#if WEFT_TARGET_IS_CUDA
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#else
  emulate_set_max_registers(kCount, true, site);
#endif
}

#endif  // WEFT_HAS_HOPPER

/// Waits in the block's barrier `id` (1 to 15; 0 is __syncthreads()) until `threads` threads have come, whole warps.
/// `bar.sync`.
__device__ __forceinline__ void named_barrier_sync(unsigned id, unsigned threads,
                                                   [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  emulate_named_barrier(id, threads, true, site);
#endif
}
/// Counts as come without waiting. `bar.arrive`.
__device__ __forceinline__ void named_barrier_arrive(unsigned id, unsigned threads,
                                                     [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
  emulate_named_barrier(id, threads, false, site);
#endif
}

}  // namespace weft::WEFT_TARGET
