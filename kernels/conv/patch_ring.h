#pragma once
// What the convolutions' Hopper rungs share: the ring of tiles (gemm/wgmma_ring.h) between a producer, which asks the
// copy engine for tiles of patches and of filters, and two consumer warpgroups of 64 pixels each.

#include "kernels/conv/im2col_map.h"
#include "kernels/conv/statistics.h"
#include "kernels/gemm/wgmma_ring.h"

namespace weft::WEFT_TARGET {

/// Pixels of a block.
inline constexpr int kPatchBlockM = 128;

/// kMore: bytes that a rung wants behind the tiles, multiples of 1024 first. Behind them lies the scratch memory in
/// which statistics are gathered.
template <bool kBackward, int kBlockN, int kStages, int kMore = 0>
using PatchRing =
    Ring<WgmmaTile<kPatchBlockM, true>, WgmmaTile<kBlockN, !kBackward>, kStages, kMore + 2 * gather_bytes(kBlockN)>;

/// Steps along the depth: 64 channels of a tap each. What is missing to 64 is zeros.
__host__ __device__ inline int steps_of(const Patches& patches) {
  return patches.rows.taps * patches.columns.taps * ((patches.channels + 63) / 64);
}

#if WEFT_HAS_HOPPER

/// One thread of the producer: the tiles of all steps, for the pixels from m0 on and the result's columns from n0 on.
template <bool kBackward, int kBlockN, class Tiles>
__device__ __forceinline__ void produce_patches(const Tiles& ring, typename Tiles::Position& at, const ConvShape& z,
                                                const Patches& patches, const TensorMap& map,
                                                const TensorMap& map_weight, int64_t m0, int n0) {
  const Pixel pixel(patches, m0);
  for (int r = 0; r < patches.rows.taps; ++r) {
    for (int s = 0; s < patches.columns.taps; ++s) {
      const int tap = (patches.rows.first_tap + r * patches.rows.every_tap) * z.S + patches.columns.first_tap +
                      s * patches.columns.every_tap;
      for (int c = 0; c < patches.channels; c += 64, at.next()) {
        ring.announce(at);
        load_patches(ring.a(at.stage), map, patches, pixel, c, r, s, ring.full(at.stage));
        if constexpr (kBackward) {  // a box is 64 filters (depth) of 64 channels
#pragma unroll
          for (int i = 0; i < kBlockN; i += 64)
            tma_load_3d(ring.b(at.stage) + i / 64 * Tiles::TileB::kBytesOf64, map_weight, n0 + i, tap, c,
                        ring.full(at.stage));
        } else {
          tma_load_3d(ring.b(at.stage), map_weight, c, tap, n0, ring.full(at.stage));
        }
      }
    }
  }
}

#endif

}  // namespace weft::WEFT_TARGET
