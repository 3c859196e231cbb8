#pragma once
// Bulk copies by the copy engine (TMA, sm_90): boxes of a tensor, described by a TensorMap, between global and shared
// memory. One thread issues them. PTX ISA, "Data Movement and Conversion Instructions: cp.async.bulk,
// cp.async.bulk.tensor, cp.reduce.async.bulk.tensor"; "Tensors" for boxes, im2col and swizzles.
//
// A load writes zeros for what lies outside the tensor, and at its end takes all of the box's bytes off the mbarrier's
// transaction count: so the phase must have been told of them (mbarrier_arrive_expect_tx), and who waits for it sees
// the box. A store skips what lies outside. It reads shared memory through the asynchronous proxy: fence_proxy_async()
// in every thread that wrote there, a barrier, then the store. Its source may be written again after
// bulk_wait_group_read(). The box in shared memory begins at a multiple of 128 bytes; swizzles count from multiples of
// 256, 512 and 1024. Coordinates are those of the box's first element, x along the innermost axis. A load's may be
// negative, a store's may not ("Restriction on Tensor Copy instructions").

#include <cstdint>

#include "kernels/ptx/common.h"
#include "kernels/tensor_map.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/tma.h"
#endif

namespace weft::WEFT_TARGET {

#if WEFT_HAS_HOPPER

/// One box of a tensor of rank 1 to 5 into this block's shared memory. `cp.async.bulk.tensor`, tile mode.
__device__ __forceinline__ void tma_load_1d(void* shared, const TensorMap& map, int x, std::uint64_t* barrier,
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::"r"(
          shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 1, .at = {x}}, barrier, {}, "cp.async.bulk.tensor.1d", site);
#endif
}
__device__ __forceinline__ void tma_load_2d(void* shared, const TensorMap& map, int x, int y, std::uint64_t* barrier,
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 2, .at = {x, y}}, barrier, {}, "cp.async.bulk.tensor.2d", site);
#endif
}
__device__ __forceinline__ void tma_load_3d(void* shared, const TensorMap& map, int x, int y, int z,
                                            std::uint64_t* barrier, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 3, .at = {x, y, z}}, barrier, {}, "cp.async.bulk.tensor.3d", site);
#endif
}
__device__ __forceinline__ void tma_load_4d(void* shared, const TensorMap& map, int x, int y, int z, int u,
                                            std::uint64_t* barrier, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(u)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 4, .at = {x, y, z, u}}, barrier, {}, "cp.async.bulk.tensor.4d", site);
#endif
}
__device__ __forceinline__ void tma_load_5d(void* shared, const TensorMap& map, int x, int y, int z, int u, int v,
                                            std::uint64_t* barrier, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
      "%7}], [%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(u), "r"(v)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 5, .at = {x, y, z, u, v}}, barrier, {}, "cp.async.bulk.tensor.5d", site);
#endif
}

/// The same into the shared memory of each block of the cluster whose bit is set in `ranks`: at the place that `shared`
/// has in this one, each block's own barrier at the place of `barrier` getting the bytes. `.multicast::cluster`.
__device__ __forceinline__ void tma_load_multicast_2d(void* shared, const TensorMap& map, int x, int y,
                                                      std::uint64_t* barrier, std::uint16_t ranks,
                                                      [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5}], [%2], %3;" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "h"(ranks), "r"(x), "r"(y)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 2, .at = {x, y}}, barrier, ranks, "cp.async.bulk.tensor.2d.multicast",
                      site);
#endif
}
__device__ __forceinline__ void tma_load_multicast_3d(void* shared, const TensorMap& map, int x, int y, int z,
                                                      std::uint64_t* barrier, std::uint16_t ranks,
                                                      [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5, %6}], [%2], %3;" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "h"(ranks), "r"(x), "r"(y), "r"(z)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 3, .at = {x, y, z}}, barrier, ranks, "cp.async.bulk.tensor.3d.multicast",
                      site);
#endif
}
__device__ __forceinline__ void tma_load_multicast_4d(void* shared, const TensorMap& map, int x, int y, int z, int u,
                                                      std::uint64_t* barrier, std::uint16_t ranks,
                                                      [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5, %6, %7}], [%2], %3;" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "h"(ranks), "r"(x), "r"(y), "r"(z), "r"(u)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 4, .at = {x, y, z, u}}, barrier, ranks, "cp.async.bulk.tensor.4d.multicast",
                      site);
#endif
}
__device__ __forceinline__ void tma_load_multicast_5d(void* shared, const TensorMap& map, int x, int y, int z, int u,
                                                      int v, std::uint64_t* barrier, std::uint16_t ranks,
                                                      [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "h"(ranks), "r"(x), "r"(y), "r"(z), "r"(u), "r"(v)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 5, .at = {x, y, z, u, v}}, barrier, ranks,
                      "cp.async.bulk.tensor.5d.multicast", site);
#endif
}

/// A column of pixels of a map built by encode_im2col(), into this block's shared memory: [pixel][channel]. It begins
/// at channel c and at the position (n, ..., h, w) of the filter's corner; filter_w, filter_h, ... choose the filter's
/// element. `cp.async.bulk.tensor`, im2col mode.
__device__ __forceinline__ void tma_load_im2col_3d(void* shared, const TensorMap& map, int c, int w, int n,
                                                   std::uint16_t filter_w, std::uint64_t* barrier,
                                                   [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2], {%6};" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(n), "h"(filter_w)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 3, .at = {c, w, n}, .im2col = true, .filter = {filter_w}}, barrier, {},
                      "cp.async.bulk.tensor.3d.im2col", site);
#endif
}
__device__ __forceinline__ void tma_load_im2col_4d(void* shared, const TensorMap& map, int c, int w, int h, int n,
                                                   std::uint16_t filter_w, std::uint16_t filter_h,
                                                   std::uint64_t* barrier, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
      "%6}], [%2], {%7, %8};" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(h), "r"(n), "h"(filter_w), "h"(filter_h)
      : "memory");
#else
  emulate_tensor_load(shared, map, {.rank = 4, .at = {c, w, h, n}, .im2col = true, .filter = {filter_w, filter_h}},
                      barrier, {}, "cp.async.bulk.tensor.4d.im2col", site);
#endif
}
__device__ __forceinline__ void tma_load_im2col_5d(void* shared, const TensorMap& map, int c, int w, int h, int d,
                                                   int n, std::uint16_t filter_w, std::uint16_t filter_h,
                                                   std::uint16_t filter_d, std::uint64_t* barrier,
                                                   [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
      "%7}], [%2], {%8, %9, %10};" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(h), "r"(d), "r"(n), "h"(filter_w), "h"(filter_h),
      "h"(filter_d)
      : "memory");
#else
  emulate_tensor_load(shared, map,
                      {.rank = 5, .at = {c, w, h, d, n}, .im2col = true, .filter = {filter_w, filter_h, filter_d}},
                      barrier, {}, "cp.async.bulk.tensor.5d.im2col", site);
#endif
}

/// One box out of this block's shared memory into a tensor of rank 1 to 5. `cp.async.bulk.tensor`, tile mode.
__device__ __forceinline__ void tma_store_1d(const TensorMap& map, int x, const void* shared,
                                             [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%2}], [%1];" ::"l"(&map),
               "r"(shared_address(shared)), "r"(x)
               : "memory");
#else
  emulate_tensor_store(map, {.rank = 1, .at = {x}}, shared, false, "cp.async.bulk.tensor.1d (store)", site);
#endif
}
__device__ __forceinline__ void tma_store_2d(const TensorMap& map, int x, int y, const void* shared,
                                             [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(shared_address(shared)), "r"(x), "r"(y)
               : "memory");
#else
  emulate_tensor_store(map, {.rank = 2, .at = {x, y}}, shared, false, "cp.async.bulk.tensor.2d (store)", site);
#endif
}
__device__ __forceinline__ void tma_store_3d(const TensorMap& map, int x, int y, int z, const void* shared,
                                             [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
               "r"(shared_address(shared)), "r"(x), "r"(y), "r"(z)
               : "memory");
#else
  emulate_tensor_store(map, {.rank = 3, .at = {x, y, z}}, shared, false, "cp.async.bulk.tensor.3d (store)", site);
#endif
}
__device__ __forceinline__ void tma_store_4d(const TensorMap& map, int x, int y, int z, int u, const void* shared,
                                             [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
               "r"(shared_address(shared)), "r"(x), "r"(y), "r"(z), "r"(u)
               : "memory");
#else
  emulate_tensor_store(map, {.rank = 4, .at = {x, y, z, u}}, shared, false, "cp.async.bulk.tensor.4d (store)", site);
#endif
}
__device__ __forceinline__ void tma_store_5d(const TensorMap& map, int x, int y, int z, int u, int v,
                                             const void* shared, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(&map),
      "r"(shared_address(shared)), "r"(x), "r"(y), "r"(z), "r"(u), "r"(v)
      : "memory");
#else
  emulate_tensor_store(map, {.rank = 5, .at = {x, y, z, u, v}}, shared, false, "cp.async.bulk.tensor.5d (store)", site);
#endif
}

/// A column of pixels, [pixel][channel] in this block's shared memory, into a tensor whose map encode_im2col() built:
/// to channels from c on, and to the positions from (n, ..., h, w) on in the order of an im2col load. No filter moves
/// them, so a load with filter offsets of 0 reads the same pixels back. Of the map's bounding box no part may lie
/// outside the tensor: no lower corner is negative, no upper one positive. Pixels beyond the last image are not
/// written. `cp.async.bulk.tensor`, im2col_no_offs mode.
__device__ __forceinline__ void tma_store_im2col_3d(const TensorMap& map, int c, int w, int n, const void* shared,
                                                    [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.im2col_no_offs.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
      "r"(shared_address(shared)), "r"(c), "r"(w), "r"(n)
      : "memory");
#else
  emulate_tensor_store(map, {.rank = 3, .at = {c, w, n}, .im2col = true}, shared, false,
                       "cp.async.bulk.tensor.3d.im2col_no_offs", site);
#endif
}
__device__ __forceinline__ void tma_store_im2col_4d(const TensorMap& map, int c, int w, int h, int n,
                                                    const void* shared, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.im2col_no_offs.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
      "r"(shared_address(shared)), "r"(c), "r"(w), "r"(h), "r"(n)
      : "memory");
#else
  emulate_tensor_store(map, {.rank = 4, .at = {c, w, h, n}, .im2col = true}, shared, false,
                       "cp.async.bulk.tensor.4d.im2col_no_offs", site);
#endif
}
__device__ __forceinline__ void tma_store_im2col_5d(const TensorMap& map, int c, int w, int h, int d, int n,
                                                    const void* shared, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.im2col_no_offs.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(
          &map),
      "r"(shared_address(shared)), "r"(c), "r"(w), "r"(h), "r"(d), "r"(n)
      : "memory");
#else
  emulate_tensor_store(map, {.rank = 5, .at = {c, w, h, d, n}, .im2col = true}, shared, false,
                       "cp.async.bulk.tensor.5d.im2col_no_offs", site);
#endif
}

/// A box as tma_store_2d's, but it adds to what lies there, in the tensor's type; in which order blocks do so is open.
/// `cp.reduce.async.bulk.tensor`.
__device__ __forceinline__ void tma_reduce_add_2d(const TensorMap& map, int x, int y, const void* shared,
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
      "r"(shared_address(shared)), "r"(x), "r"(y)
      : "memory");
#else
  emulate_tensor_store(map, {.rank = 2, .at = {x, y}}, shared, true, "cp.reduce.async.bulk.tensor.2d", site);
#endif
}

/// Plain bytes, a multiple of 16 from and to multiples of 16. `cp.async.bulk`.
__device__ __forceinline__ void bulk_load(void* shared, const void* global, unsigned bytes, std::uint64_t* barrier,
                                          [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
#else
  emulate_bulk_load(shared, global, bytes, barrier, site);
#endif
}
__device__ __forceinline__ void bulk_store(void* global, const void* shared, unsigned bytes,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(global)),
               "r"(shared_address(shared)), "r"(bytes)
               : "memory");
#else
  emulate_bulk_store(global, shared, bytes, site);
#endif
}

/// Makes one group of the thread's stores that are in none yet. `cp.async.bulk.commit_group`.
__device__ __forceinline__ void bulk_commit_group([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#else
  emulate_bulk_commit_group(site);
#endif
}
/// Waits until at most the thread's kPending newest groups are under way: the others' results are seen by this thread.
/// `cp.async.bulk.wait_group`.
template <unsigned kPending>
__device__ __forceinline__ void bulk_wait_group([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
#else
  emulate_bulk_wait_group(kPending, false, site);
#endif
}
/// Waits until at most the kPending newest have still to read their source. `cp.async.bulk.wait_group.read`.
template <unsigned kPending>
__device__ __forceinline__ void bulk_wait_group_read([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
#else
  emulate_bulk_wait_group(kPending, true, site);
#endif
}

/// Fetches the map itself into its cache, so that the first copy does not wait for it. `prefetch.tensormap`.
__device__ __forceinline__ void prefetch_tensor_map(const TensorMap& map, [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#else
  emulate_map_prefetch(map, site);
#endif
}
/// Fetches a box into L2. `cp.async.bulk.prefetch.tensor`.
__device__ __forceinline__ void tma_prefetch_2d(const TensorMap& map, int x, int y,
                                                [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&map), "r"(x), "r"(y)
               : "memory");
#else
  emulate_tensor_prefetch(map, {.rank = 2, .at = {x, y}}, "cp.async.bulk.prefetch.tensor.2d", site);
#endif
}

#endif  // WEFT_HAS_HOPPER

}  // namespace weft::WEFT_TARGET
