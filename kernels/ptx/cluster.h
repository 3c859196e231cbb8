#pragma once
// Clusters (sm_90): neighbouring blocks that run at once, can wait for each other, and reach each other's shared
// memory. LaunchConfig::cluster says how many blocks one has along each axis of the grid; without it a block is a
// cluster of its own. PTX ISA, "Special Registers: %cluster_ctarank, ...", "barrier.cluster", "mapa",
// "mbarrier.arrive".
//
// A block must not end while another may still reach into its shared memory: a cluster_sync() before the end sees to
// that.
//
// The barrier's instructions are .aligned: all threads of a warp execute them as one. Where lanes have gone different
// ways before, __syncwarp() brings them together.
//
// On simt, what another block reaches must be dynamic shared memory. What `release` and `relaxed` make other blocks see
// is told apart of mbarriers alone (kernels/simt/ptx/cluster.h).

#include <cstdint>

#include "kernels/ptx/common.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/cluster.h"
#endif

namespace weft::WEFT_TARGET {

#if WEFT_HAS_HOPPER

/// The block's place in its cluster, x fastest, and the cluster's number of blocks.
__device__ __forceinline__ unsigned cluster_rank() {
#if WEFT_TARGET_IS_CUDA
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return emulate_cluster_rank();
#endif
}
__device__ __forceinline__ unsigned cluster_size() {
#if WEFT_TARGET_IS_CUDA
  unsigned size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
#else
  return emulate_cluster_size();
#endif
}

/// The thread has come to the cluster's barrier, and what it wrote before is seen by all who wait.
/// `barrier.cluster.arrive.release`.
__device__ __forceinline__ void cluster_arrive([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#else
  emulate_cluster_arrive(true, "barrier.cluster.arrive.release", site);
#endif
}
/// The same, but says nothing of memory: for blocks that only must have begun, or have fenced on their own
/// (fence_mbarrier_init). `barrier.cluster.arrive.relaxed`.
__device__ __forceinline__ void cluster_arrive_relaxed([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#else
  emulate_cluster_arrive(false, "barrier.cluster.arrive.relaxed", site);
#endif
}
/// Waits until every thread of the cluster that has not left the kernel has arrived. `barrier.cluster.wait.acquire`.
__device__ __forceinline__ void cluster_wait([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  emulate_cluster_wait(site);
#endif
}
/// Arrives and waits.
__device__ __forceinline__ void cluster_sync([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  cluster_arrive();
  cluster_wait();
#else
  emulate_cluster_sync(site);
#endif
}

/// Where block `rank` of the cluster has what `pointer` is in this block's shared memory: an address for ordinary loads
/// and stores. `mapa`.
template <class T>
__device__ __forceinline__ T* map_shared_rank(T* pointer, unsigned rank, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  T* mapped;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(pointer), "r"(rank));
  return mapped;
#else
  return static_cast<T*>(emulate_mapa(pointer, rank, site));
#endif
}

/// Counts as one arrival at the barrier that block `rank` has where this block has `barrier`.
/// `mapa`, `mbarrier.arrive.release.cluster.shared::cluster`.
__device__ __forceinline__ void mbarrier_arrive_cluster(std::uint64_t* barrier, unsigned rank,
                                                        [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}\n" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
#else
  emulate_mbarrier_arrive_cluster(barrier, rank, true, "mbarrier.arrive.release.shared::cluster", site);
#endif
}

/// The same, but says nothing of memory: for a thread that has only read what it gives back. A release over the cluster
/// is a fence that waits for all of the thread's stores. `mbarrier.arrive.relaxed.cluster.shared::cluster`.
__device__ __forceinline__ void mbarrier_arrive_cluster_relaxed(std::uint64_t* barrier, unsigned rank,
                                                                [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [remote];\n}\n" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
#else
  emulate_mbarrier_arrive_cluster(barrier, rank, false, "mbarrier.arrive.relaxed.shared::cluster", site);
#endif
}

#endif  // WEFT_HAS_HOPPER

}  // namespace weft::WEFT_TARGET
