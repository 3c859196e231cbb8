#pragma once
// In which order the blocks of a persistent kernel take the tiles of y (rungs 14 and on).
//
// All blocks together work on as many tiles as there are multiprocessors, and what they read passes through L2 once for
// all of them if the tiles lie close together: 132 tiles in one row of y read 132 tiles of op(b) and one of op(a); 16
// rows of 8 read 24. So the tiles are taken in bands of kBand rows, column by column within a band.

#include "kernels/gemm/wgmma_ring.h"
#include "kernels/limits.h"

namespace weft::WEFT_TARGET {

struct TilePlace {
  int row, column;
};

/// Tiles of y, or groups of tiles that one cluster computes.
struct TileOrder {
  static constexpr int kBand = 16;
  int rows, columns;

  __host__ __device__ __forceinline__ int count() const { return rows * columns; }
  __host__ __device__ __forceinline__ TilePlace place(int index) const {
    const int band = index / (kBand * columns), first_row = band * kBand;
    const int height = rows - first_row < kBand ? rows - first_row : kBand;
    const int within = index - band * kBand * columns;
    return {first_row + within % height, within / height};
  }
};

/// Multiprocessors of the current device, each of which runs one block of a persistent kernel. On simt two: there a
/// block of rung 14 goes on to a second tile where y has three or more, and the one pair of blocks of rungs 15 and 16
/// where it has two or more pairs of tiles. A test may let a GPU have as few (kernels/limits.h).
inline int multiprocessor_count() {
#if WEFT_TARGET_IS_CUDA
  int device = 0, count = 0;
  check_cuda(cudaGetDevice(&device), "the current device");
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "the multiprocessor count");
  return multiprocessors_to_use(count);
#else
  return multiprocessors_to_use(2);
#endif
}

}  // namespace weft::WEFT_TARGET
