#pragma once
// The emulated bodies of kernels/ptx/matrix.h: warp collectives on the 32 lanes' registers. Throw weft::Error for an
// address that the ISA forbids, and where not all 32 lanes take part.
//
// How the sums are formed. A product of two bf16 or tf32 numbers is exact in float. NVIDIA's tensor cores, as measured
// (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science, 2021), add
// a few such products and the accumulator at a time, aligned to the largest of them, with few bits below a float's
// last, and cut off the rest instead of rounding. The ISA leaves order and rounding open. Here 8 products (4 of tf32)
// and the accumulator are added in double, in order of k, and the sum is cut off to a float: as biased as the hardware.

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

/// `count` is 1, 2 or 4: registers written or read in each lane.
void emulate_ldmatrix(std::uint32_t* tiles, int count, bool trans, const void* row, Site site);
void emulate_stmatrix(void* row, const std::uint32_t* tiles, int count, bool trans, Site site);

void emulate_mma_m16n8k16_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site);
void emulate_mma_m16n8k8_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site);
void emulate_mma_m16n8k8_tf32(float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c, Site site);

std::uint32_t emulate_cvt_rna_tf32(float value);

}  // namespace weft::simt
