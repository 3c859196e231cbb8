#pragma once
// Tensor cores as a warp uses them (sm_80): ldmatrix and stmatrix move 8x8 tiles of 16-bit elements between shared
// memory and registers, mma.sync multiplies what lies in the registers of the 32 lanes. PTX ISA, "Warp Level Matrix
// Multiply-Accumulate Instructions": "Matrix Fragments for mma.m16n8k8 / mma.m16n8k16", mma, ldmatrix, stmatrix; and
// "cvt" for tf32.
//
// All 32 lanes of a warp execute each of these together. A register holds two 16-bit elements, the lower-numbered one
// in its lower half, or one tf32. With g = lane / 4 and t = lane % 4, which a fragment's layout is written in:
//
// clang-format off
//   8x8 tile (ldmatrix, stmatrix)   register r of tile r: row g, columns 2t and 2t + 1; .trans: rows 2t, 2t + 1, column g
//   C, D (16 x 8, float)            d0 d1: row g, columns 2t, 2t + 1     d2 d3: row g + 8
//   A (16 x 16, bf16)               a[0]: row g, columns 2t, 2t + 1      a[1]: row g + 8      a[2], a[3]: columns + 8
//   B (16 x 8, bf16)                b[0]: rows 2t, 2t + 1, column g      b[1]: rows + 8
//   A (16 x 8, bf16), B (8 x 8)     the first half of these: a[0], a[1] and b[0]
//   A (16 x 8, tf32)                a[0]: row g, column t                a[1]: row g + 8      a[2], a[3]: column + 4
//   B (8 x 8, tf32)                 b[0]: row t, column g                b[1]: row + 4
// clang-format on

#include "kernels/ptx/common.h"
#if !WEFT_TARGET_IS_CUDA
#include "kernels/simt/ptx/matrix.h"
#endif

namespace weft::WEFT_TARGET {

/// Loads one 8x8 tile: lanes 0 to 7 bring the addresses of its rows, 16 bytes of shared memory each, 16-byte aligned;
/// what the other lanes bring is ignored. `ldmatrix.sync.aligned.m8n8.x1.shared.b16`.
__device__ __forceinline__ void ldmatrix_x1(std::uint32_t (&tile)[1], const void* row,
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(tile[0])
               : "r"(shared_address(row))
               : "memory");
#else
  emulate_ldmatrix(tile, 1, false, row, site);
#endif
}

/// Two tiles: lanes 0 to 7 bring the rows of tile 0, lanes 8 to 15 those of tile 1.
__device__ __forceinline__ void ldmatrix_x2(std::uint32_t (&tiles)[2], const void* row,
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(tiles[0]), "=r"(tiles[1])
               : "r"(shared_address(row))
               : "memory");
#else
  emulate_ldmatrix(tiles, 2, false, row, site);
#endif
}

/// Four tiles: lane l brings row l % 8 of tile l / 8.
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&tiles)[4], const void* row,
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(shared_address(row))
               : "memory");
#else
  emulate_ldmatrix(tiles, 4, false, row, site);
#endif
}

/// As ldmatrix_x1, each tile transposed on the way.
__device__ __forceinline__ void ldmatrix_x1_trans(std::uint32_t (&tile)[1], const void* row,
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(tile[0])
               : "r"(shared_address(row))
               : "memory");
#else
  emulate_ldmatrix(tile, 1, true, row, site);
#endif
}

__device__ __forceinline__ void ldmatrix_x2_trans(std::uint32_t (&tiles)[2], const void* row,
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(tiles[0]), "=r"(tiles[1])
               : "r"(shared_address(row))
               : "memory");
#else
  emulate_ldmatrix(tiles, 2, true, row, site);
#endif
}

__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&tiles)[4], const void* row,
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(shared_address(row))
               : "memory");
#else
  emulate_ldmatrix(tiles, 4, true, row, site);
#endif
}

/// Stores one 8x8 tile: ldmatrix_x1 the other way round (sm_90). `stmatrix.sync.aligned.m8n8.x1.shared.b16`.
__device__ __forceinline__ void stmatrix_x1(void* row, const std::uint32_t (&tile)[1],
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(shared_address(row)), "r"(tile[0])
               : "memory");
#else
  emulate_stmatrix(row, tile, 1, false, site);
#endif
}

__device__ __forceinline__ void stmatrix_x2(void* row, const std::uint32_t (&tiles)[2],
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)), "r"(tiles[0]),
               "r"(tiles[1])
               : "memory");
#else
  emulate_stmatrix(row, tiles, 2, false, site);
#endif
}

__device__ __forceinline__ void stmatrix_x4(void* row, const std::uint32_t (&tiles)[4],
                                            [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
               "r"(tiles[0]), "r"(tiles[1]), "r"(tiles[2]), "r"(tiles[3])
               : "memory");
#else
  emulate_stmatrix(row, tiles, 4, false, site);
#endif
}

/// As stmatrix_x1, each tile transposed on the way.
__device__ __forceinline__ void stmatrix_x1_trans(void* row, const std::uint32_t (&tile)[1],
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(shared_address(row)), "r"(tile[0])
               : "memory");
#else
  emulate_stmatrix(row, tile, 1, true, site);
#endif
}

__device__ __forceinline__ void stmatrix_x2_trans(void* row, const std::uint32_t (&tiles)[2],
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)),
               "r"(tiles[0]), "r"(tiles[1])
               : "memory");
#else
  emulate_stmatrix(row, tiles, 2, true, site);
#endif
}

__device__ __forceinline__ void stmatrix_x4_trans(void* row, const std::uint32_t (&tiles)[4],
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
               "r"(tiles[0]), "r"(tiles[1]), "r"(tiles[2]), "r"(tiles[3])
               : "memory");
#else
  emulate_stmatrix(row, tiles, 4, true, site);
#endif
}

/// D = A B + C, with A (16, 16) and B (16, 8) bf16, C and D (16, 8) float; d may be c. The ISA promises at least single
/// precision and no order of summation. `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32`.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2], const float (&c)[4],
                                                  [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %11, %12, %13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
  emulate_mma_m16n8k16_bf16(d, a, b, c, site);
#endif
}

/// The same with half the depth: A (16, 8), B (8, 8). `mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32`.
__device__ __forceinline__ void mma_m16n8k8_bf16(float (&d)[4], const std::uint32_t (&a)[2],
                                                 const std::uint32_t (&b)[1], const float (&c)[4],
                                                 [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, %10};"
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
  emulate_mma_m16n8k8_bf16(d, a, b, c, site);
#endif
}

/// D = A B + C, with A (16, 8) and B (8, 8) tf32. Of each operand's 32 bits the upper 19 count: sign, 8 bits of
/// exponent, 10 of mantissa. `mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32`.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2], const float (&c)[4],
                                                 [[maybe_unused]] Site site = Site::here()) {
#if WEFT_TARGET_IS_CUDA
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %11, %12, %13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#else
  emulate_mma_m16n8k8_tf32(d, a, b, c, site);
#endif
}

/// `value` rounded to tf32's 10 bits of mantissa, to nearest, ties away from zero, as mma_m16n8k8_tf32 takes it.
/// `cvt.rna.tf32.f32`.
__device__ __forceinline__ std::uint32_t cvt_rna_tf32(float value) {
#if WEFT_TARGET_IS_CUDA
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  return emulate_cvt_rna_tf32(value);
#endif
}

}  // namespace weft::WEFT_TARGET
