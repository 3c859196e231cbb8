#pragma once
// wgmma: a warpgroup (four warps, the first a multiple of four) multiplies 64 rows of A by N columns of B, while its
// threads go on (sm_90a). B, and A too unless it comes in registers, lie in shared memory where descriptors say; D lies
// in the threads' registers. PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".
//
//   wgmma_fence();                 // registers that were accessed may be used by what follows
//   wgmma_bf16<...>(d, a, b, 1);   // as many as it takes; they are done in order where they share d
//   wgmma_commit_group();          // these are one group
//   wgmma_wait_group<0>();         // its results are in d; shared memory may be overwritten
//   wgmma_keep(d);                 // the compiler must not move accesses to d over the wait
//
// Shared memory that threads wrote must have been fenced (fence_proxy_async) before.
//
// Registers, with w the warp in its warpgroup, g = lane / 4 and t = lane % 4:
//
// clang-format off
//   D (64 x N, float)           register 4 j + r: row 16 w + g (r = 0, 1) or 8 more (r = 2, 3), column 8 j + 2 t + r % 2
//   A (64 x 16, bf16)           a[r]: row 16 w + g (r even) or 8 more (r odd), columns 2 t, 2 t + 1 (r = 0, 1) or 8 more
// clang-format on

#include <cstdint>

#include "kernels/ptx/common.h"
#include "kernels/tensor_map.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/shared_window.h"
#include "kernels/simt/ptx/wgmma.h"
#endif

namespace weft::WEFT_TARGET {

// clang-format off
/// The descriptor of a matrix in shared memory, in one of the ISA's canonical layouts. `shared` is a multiple of 16,
/// and with a swizzle the pattern begins at a multiple of 256, 512 or 1024 (for 32, 64 and 128 bytes). The byte offsets:
///
///   K-major (a row's elements along K lie side by side), in groups of 8 rows
///     swizzled  rows as long as the swizzle, so 8 rows are 8 spans
///               stride: from 8 rows to the next 8                  leading: not used
///     none      rows of 16 bytes, one after another
///               stride: to the next 8 rows                         leading: to the next 16 bytes along K
///   MN-major (elements along M or N lie side by side), in groups of 8 positions along K
///     swizzled  stride: from 8 positions along K to the next 8     leading: from one span along M or N to the next
///     none      spans of 16 bytes
///               stride: to the next 16 bytes along M or N          leading: to the next 8 positions along K
///
/// To go on by 16 elements along K within a swizzled K-major row, add their bytes to the address: `wgmma_advance`.
// clang-format on
__device__ __forceinline__ std::uint64_t wgmma_descriptor(const void* shared, Swizzle swizzle, unsigned leading_bytes,
                                                          unsigned stride_bytes) {
  const std::uint64_t mode = swizzle == Swizzle::none ? 0 : 4 - static_cast<unsigned>(swizzle);
  return (shared_address(shared) & 0x3ffff) >> 4 | static_cast<std::uint64_t>((leading_bytes & 0x3ffff) >> 4) << 16 |
         static_cast<std::uint64_t>((stride_bytes & 0x3ffff) >> 4) << 32 | mode << 62;
}
/// The same matrix, `bytes` further on in shared memory.
__device__ __forceinline__ std::uint64_t wgmma_advance(std::uint64_t descriptor, unsigned bytes) {
  return descriptor + (bytes >> 4);
}

#if WEFT_HAS_HOPPER

/// `wgmma.fence.sync.aligned`.
__device__ __forceinline__ void wgmma_fence([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  emulate_wgmma_fence(site);
#endif
}
/// `wgmma.commit_group.sync.aligned`.
__device__ __forceinline__ void wgmma_commit_group([[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  emulate_wgmma_commit_group(site);
#endif
}
/// Waits until at most the kPending newest groups are under way. `wgmma.wait_group.sync.aligned`.
template <unsigned kPending>
__device__ __forceinline__ void wgmma_wait_group([[maybe_unused]] Site site = Site::here()) {
  static_assert(kPending <= 7);
#if WEFT_TARGET_IS_CUDA
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#else
  emulate_wgmma_wait_group(kPending, site);
#endif
}
/// Tells the compiler that all of `d` may have changed here. No instruction.
template <int kCount>
__device__ __forceinline__ void wgmma_keep([[maybe_unused]] float (&d)[kCount]) {
#if WEFT_TARGET_IS_CUDA
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
#endif
}

// D's registers as operands: %0 to %(N / 2 - 1).
#define WEFT_D_NAMES_32                                                    \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WEFT_D_NAMES_64                                                              \
  WEFT_D_NAMES_32                                                                    \
  ", "                                                                               \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WEFT_D_NAMES_96                                                              \
  WEFT_D_NAMES_64                                                                    \
  ", "                                                                               \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WEFT_D_NAMES_128                                                                         \
  WEFT_D_NAMES_96                                                                                \
  ", "                                                                                           \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WEFT_D_8(i)                                                                                           \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define WEFT_D_32(i) WEFT_D_8(i), WEFT_D_8(i + 8), WEFT_D_8(i + 16), WEFT_D_8(i + 24)
#define WEFT_D_OPERANDS_32 WEFT_D_32(0)
#define WEFT_D_OPERANDS_64 WEFT_D_32(0), WEFT_D_32(32)
#define WEFT_D_OPERANDS_96 WEFT_D_32(0), WEFT_D_32(32), WEFT_D_32(64)
#define WEFT_D_OPERANDS_128 WEFT_D_32(0), WEFT_D_32(32), WEFT_D_32(64), WEFT_D_32(96)

/// D (64, N) = A (64, 16) B (16, N) + (scale_d ? D : 0), bf16, both from shared memory; N is twice the number of d's
/// registers. kATransposed: A is M-major; kBTransposed: B is N-major.
/// `wgmma.mma_async.sync.aligned.m64nNk16.f32.bf16.bf16`.
template <bool kATransposed, bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[32], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WEFT_D_NAMES_32 "}, %32, %33, add, 1, 1, %35, %36;\n}\n"
      : WEFT_D_OPERANDS_32
      : "l"(a), "l"(b), "r"(scale_d), "n"(kATransposed ? 1 : 0), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 64,
                 .d = d,
                 .a_descriptor = a,
                 .b_descriptor = b,
                 .a_transposed = kATransposed,
                 .b_transposed = kBTransposed,
                 .scale_d = scale_d != 0},
                "wgmma.m64n64k16", site);
#endif
}
template <bool kATransposed, bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[64], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" WEFT_D_NAMES_64 "}, %64, %65, add, 1, 1, %67, %68;\n}\n"
      : WEFT_D_OPERANDS_64
      : "l"(a), "l"(b), "r"(scale_d), "n"(kATransposed ? 1 : 0), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 128,
                 .d = d,
                 .a_descriptor = a,
                 .b_descriptor = b,
                 .a_transposed = kATransposed,
                 .b_transposed = kBTransposed,
                 .scale_d = scale_d != 0},
                "wgmma.m64n128k16", site);
#endif
}
template <bool kATransposed, bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[96], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %98, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" WEFT_D_NAMES_96
      "}, %96, %97, add, 1, 1, %99, %100;\n}\n"
      : WEFT_D_OPERANDS_96
      : "l"(a), "l"(b), "r"(scale_d), "n"(kATransposed ? 1 : 0), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 192,
                 .d = d,
                 .a_descriptor = a,
                 .b_descriptor = b,
                 .a_transposed = kATransposed,
                 .b_transposed = kBTransposed,
                 .scale_d = scale_d != 0},
                "wgmma.m64n192k16", site);
#endif
}
template <bool kATransposed, bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[128], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" WEFT_D_NAMES_128
      "}, %128, %129, add, 1, 1, %131, %132;\n}\n"
      : WEFT_D_OPERANDS_128
      : "l"(a), "l"(b), "r"(scale_d), "n"(kATransposed ? 1 : 0), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 256,
                 .d = d,
                 .a_descriptor = a,
                 .b_descriptor = b,
                 .a_transposed = kATransposed,
                 .b_transposed = kBTransposed,
                 .scale_d = scale_d != 0},
                "wgmma.m64n256k16", site);
#endif
}

/// The same with A (64, 16) in registers.
template <bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" WEFT_D_NAMES_32
      "}, {%32, %33, %34, %35}, %36, add, 1, 1, %38;\n}\n"
      : WEFT_D_OPERANDS_32
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 64, .d = d, .a = a, .b_descriptor = b, .b_transposed = kBTransposed, .scale_d = scale_d != 0},
                "wgmma.m64n64k16", site);
#endif
}
template <bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" WEFT_D_NAMES_64
      "}, {%64, %65, %66, %67}, %68, add, 1, 1, %70;\n}\n"
      : WEFT_D_OPERANDS_64
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 128, .d = d, .a = a, .b_descriptor = b, .b_transposed = kBTransposed, .scale_d = scale_d != 0},
                "wgmma.m64n128k16", site);
#endif
}
template <bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[96], const std::uint32_t (&a)[4], std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %101, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" WEFT_D_NAMES_96
      "}, {%96, %97, %98, %99}, %100, add, 1, 1, %102;\n}\n"
      : WEFT_D_OPERANDS_96
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 192, .d = d, .a = a, .b_descriptor = b, .b_transposed = kBTransposed, .scale_d = scale_d != 0},
                "wgmma.m64n192k16", site);
#endif
}
template <bool kBTransposed>
__device__ __forceinline__ void wgmma_bf16(float (&d)[128], const std::uint32_t (&a)[4], std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %133, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" WEFT_D_NAMES_128
      "}, {%128, %129, %130, %131}, %132, add, 1, 1, %134;\n}\n"
      : WEFT_D_OPERANDS_128
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(scale_d), "n"(kBTransposed ? 1 : 0));
#else
  emulate_wgmma({.n = 256, .d = d, .a = a, .b_descriptor = b, .b_transposed = kBTransposed, .scale_d = scale_d != 0},
                "wgmma.m64n256k16", site);
#endif
}

/// D (64, N) = A (64, 8) B (8, N) + (scale_d ? D : 0) in tf32: floats of which the lower 13 bits do not count. Both
/// K-major. `wgmma.mma_async.sync.aligned.m64nNk8.f32.tf32.tf32`.
__device__ __forceinline__ void wgmma_tf32(float (&d)[32], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 {" WEFT_D_NAMES_32 "}, %32, %33, add, 1, 1;\n}\n"
      : WEFT_D_OPERANDS_32
      : "l"(a), "l"(b), "r"(scale_d));
#else
  emulate_wgmma(
      {.type = WgmmaType::tf32, .n = 64, .d = d, .a_descriptor = a, .b_descriptor = b, .scale_d = scale_d != 0},
      "wgmma.m64n64k8", site);
#endif
}
__device__ __forceinline__ void wgmma_tf32(float (&d)[64], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {" WEFT_D_NAMES_64 "}, %64, %65, add, 1, 1;\n}\n"
      : WEFT_D_OPERANDS_64
      : "l"(a), "l"(b), "r"(scale_d));
#else
  emulate_wgmma(
      {.type = WgmmaType::tf32, .n = 128, .d = d, .a_descriptor = a, .b_descriptor = b, .scale_d = scale_d != 0},
      "wgmma.m64n128k8", site);
#endif
}
__device__ __forceinline__ void wgmma_tf32(float (&d)[128], std::uint64_t a, std::uint64_t b, int scale_d,
                                           [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32 {" WEFT_D_NAMES_128 "}, %128, %129, add, 1, 1;\n}\n"
      : WEFT_D_OPERANDS_128
      : "l"(a), "l"(b), "r"(scale_d));
#else
  emulate_wgmma(
      {.type = WgmmaType::tf32, .n = 256, .d = d, .a_descriptor = a, .b_descriptor = b, .scale_d = scale_d != 0},
      "wgmma.m64n256k8", site);
#endif
}

#undef WEFT_D_NAMES_32
#undef WEFT_D_NAMES_64
#undef WEFT_D_NAMES_96
#undef WEFT_D_NAMES_128
#undef WEFT_D_8
#undef WEFT_D_32
#undef WEFT_D_OPERANDS_32
#undef WEFT_D_OPERANDS_64
#undef WEFT_D_OPERANDS_96
#undef WEFT_D_OPERANDS_128

#endif  // WEFT_HAS_HOPPER

}  // namespace weft::WEFT_TARGET
