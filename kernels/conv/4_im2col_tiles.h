#pragma once
// conv2d, im2col-tiles, in each of the three passes: im2col by tiles. The formula and its costs stand in conv.h.

#include "kernels/conv/im2col_parts.h"

namespace weft::WEFT_TARGET {

// Im2col by tiles. im2col-gemm wrote hundreds of megabytes of columns before the product read the first of them; by
// then it had long left the L2 cache, so every number of a 3x3 layer's columns crossed the memory bus twice. For 128
// pictures of 56 x 56 x 64 in float32 the columns are 925 MB, so 1.85 GB for a convolution whose x and y are 206 MB
// together. But columns need not exist all at once: a row of y wants its own rows of them and no others. Here a tile of
// columns that the L2 cache holds is gathered, multiplied while it is there, and the next written over it. The same
// addresses are used for all, so most of their lines are overwritten before the cache would have written them to
// memory, and what crosses the bus is x, y and little else. Only the size of a part differs from im2col-gemm.
//
//   forward   a tile is some pictures, or some rows of y; tiles write rows of y that no other writes
//   filter    the same tiles; a tile's product is added to the sum of those before it, in their order (beta = 1 after
//             the first), so the bits are the same on each run
//   data      the product first, then col2im from the tile, which is some pictures or rows of dx: no two tiles add into
//             one place, for which the rows of dcolumns that two bands of a picture share are computed in both
//
// Why 16 MiB: an A100's L2 cache of 40 MB, as an H100's of 50 MB, is two halves, each of which caches for the SMs next
// to it, so that what SMs of both read is in both. 20 MB is what a tile can count on, and x, y and the filters pass
// through beside it. Where the cache is smaller the columns go to memory and back as in im2col-gemm, and nothing is
// lost but the launches.
//
// What is left to waste: a tile of that layer is 2 pictures, 6,272 rows, 98 tiles of 64 x 64 for a product on 132 SMs,
// between two launches that each wait for the last block of the one before; and every number of the columns still goes
// out to L2 and comes in again.
//
// On simt less, so that tests of small shapes come by here more than once.
using Im2colTiles = ConvInParts<WEFT_TARGET_IS_CUDA ? int64_t{16} << 20 : int64_t{128} << 10>;

}  // namespace weft::WEFT_TARGET
