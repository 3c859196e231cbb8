#pragma once
// Walking down a picture with the rows that are wanted in shared memory, for what gathers from a neighbourhood: pools,
// depthwise convolutions. Neighbourhoods overlap, but they look back a few rows and no further. A block takes the whole
// height and width of a picture and up to eight packs of its channels, 128 bytes side by side, and walks down: the rows
// under a few rows of the output lie in a ring in shared memory, and a step fetches those alone that the step before
// did not have. So each element is read once, however tall the picture. (Cut into bands that fit shared memory, a tall
// picture would be read over, for each band has rows of its neighbour's too; and to keep bands tall a block would have
// to take fewer bytes of a pixel than a sector has.) The price: a picture's rows come one after the other, so there are
// only N C / (128 bytes) blocks.
//
// What is walked is a struct:
//
//   int64_t pictures(), int channels()    how many
//   out(), in()                           extents of an output picture and of an input picture
//   Range in_rows(row)                    the rows of its inputs that a row of its output wants: none of the two ends
//                                         goes back from one row to the next
//   planes(n)                             its inputs' pictures n, in global memory
//   rings<kVector>(shared, strip, depth)  the same, `depth` rows of some channels, in shared memory
//   int64_t ring_bytes(depth, elements)   shared memory of its rings, `elements` of a pixel
//   fetch<kVector>(planes, rings, strip, rows)  copies rows there, the whole block together
//   at<kVector>(rings, pixel, c)          computes and writes kVector channels of one pixel of its output

#include <algorithm>
#include <bit>

#include "kernels/launch.h"
#include "kernels/launch_math.h"
#include "kernels/vector.h"

namespace weft::WEFT_TARGET {

/// Height and width.
struct Extent2d {
  int height, width;
};

/// One pixel of a (N, height, width) stack of pictures.
struct PicturePixel {
  int64_t n;
  int row, column;
};

/// Positions first ... last - 1.
struct Range {
  int first, last;
};

/// Where a picture's elements lie in global memory.
template <class T>
struct Plane {
  using Element = T;
  const T* data;
  int64_t row_pitch, pixel_pitch;

  template <int kVector>
  __device__ Vector<T, kVector> load(int row, int column, int c) const {
    return load_vector<kVector>(data, row * row_pitch + column * pixel_pitch + c);
  }
};

template <class T>
__device__ inline Plane<T> whole_plane(const T* pictures, int64_t n, Extent2d extent, int C) {
  return {pictures + n * extent.height * extent.width * C, int64_t{extent.width} * C, C};
}

/// The channels that a block takes: `packs` packs from first_channel on, as far as there are such.
struct Strip {
  int first_channel, packs;
};

/// `depth` rows of a strip of a picture in shared memory: row h lies where h + depth lay and will lie.
template <class T>
struct RowRing {
  using Element = T;
  T* data;
  int depth, row_pitch, pixel_pitch, first_channel;

  __device__ int64_t place(int row, int column, int c) const {
    return int64_t{row % depth} * row_pitch + column * pixel_pitch + (c - first_channel);
  }
  template <int kVector>
  __device__ Vector<T, kVector> load(int row, int column, int c) const {
    return load_vector<kVector>(data, place(row, column, c));
  }
};

template <int kVector, class T>
__device__ inline RowRing<T> row_ring(T* data, int depth, int width, const Strip& strip) {
  const int pitch = strip.packs * kVector;
  return {data, depth, width * pitch, pitch, strip.first_channel};
}

/// Calls run(row, column, c) for the packs of some rows of a strip, all threads of the block together: pixel by pixel,
/// a pack a thread, so that neighbouring threads meet neighbouring packs. No rows where rows.last <= rows.first.
template <int kVector, class Run>
__device__ inline void for_strip(Range rows, int width, const Strip& strip, int C, const Run& run) {
  const int count = (rows.last - rows.first) * width * strip.packs;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) {
    const int pixel = i / strip.packs, c = strip.first_channel + i % strip.packs * kVector;
    if (c < C) run(rows.first + pixel / width, pixel % width, c);
  }
}

/// Copies a strip's rows to where they lie in the ring, the pixels for which wanted(row, column) is true: a stride may
/// skip the others, and what nobody looks at need not be read.
template <int kVector, class T, class Wanted>
__device__ inline void fetch_rows(const Plane<T>& from, const RowRing<T>& to, Range rows, int width, const Strip& strip,
                                  int C, const Wanted& wanted) {
  for_strip<kVector>(rows, width, strip, C, [&](int row, int column, int c) {
    if (wanted(row, column))
      store_vector(to.data, to.place(row, column, c), from.template load<kVector>(row, column, c));
  });
}

/// All of a strip's rows.
template <int kVector, class T>
__device__ inline void fetch_rows(const Plane<T>& from, const RowRing<T>& to, Range rows, int width, const Strip& strip,
                                  int C) {
  fetch_rows<kVector>(from, to, rows, width, strip, C, [](int, int) { return true; });
}

/// How the work is cut: channels into groups of packs, and a picture's output into steps of rows, whose inputs'
/// rows lie in rings of `depth`.
struct Rolling {
  int packs = 0, groups = 0, step = 0, depth = 0;
  unsigned shared_bytes = 0;
};

/// The rows of its inputs that rows [begin, end) of its output want.
template <class Pass>
__host__ __device__ Range rows_wanted(const Pass& pass, int begin, int end) {
  return {pass.in_rows(begin).first, pass.in_rows(end - 1).last};
}

/// Walks down one picture, the whole block together, and calls visit(row, column, c) for the packs of its output when
/// what they want lies in `rings`.
template <int kVector, class Pass, class Planes, class Rings, class Visit>
__device__ inline void walk_rows(const Pass& pass, const Planes& planes, const Rings& rings, const Rolling& rolling,
                                 const Strip& strip, const Visit& visit) {
  const Extent2d out = pass.out();
  int fetched = 0;  // rows of the inputs
  for (int begin = 0; begin < out.height; begin += rolling.step) {
    const int end = begin + rolling.step < out.height ? begin + rolling.step : out.height;
    Range rows = rows_wanted(pass, begin, end);
    if (rows.first < fetched) rows.first = fetched;
    if (rows.last > fetched) fetched = rows.last;
    __syncthreads();  // nobody may overwrite rows that another still reads
    pass.template fetch<kVector>(planes, rings, strip, rows);
    __syncthreads();  // the rows are there
    for_strip<kVector>({begin, end}, out.width, strip, pass.channels(), visit);
  }
}

// Three blocks an SM are asked for, as many as the rings leave room for: left alone, ptxas aims at more, and spills.
template <int kVector, class Pass>
__global__ void __launch_bounds__(kBlock, 3) rolling_rows(Pass pass, Rolling rolling) {
  const int group = static_cast<int>(blockIdx.x % static_cast<unsigned>(rolling.groups));
  const int64_t n = blockIdx.x / static_cast<unsigned>(rolling.groups);
  const Strip strip = {group * rolling.packs * kVector, rolling.packs};
  const auto rings = pass.template rings<kVector>(dynamic_shared<unsigned char>(), strip, rolling.depth);
  walk_rows<kVector>(pass, pass.planes(n), rings, rolling, strip, [&](int row, int column, int c) {
    pass.template at<kVector>(rings, {n, row, column}, c);
  });
}

/// The widest group of packs, eight at most (32 single elements), whose rings for one row of the output fit; then as
/// many rows a step as fit, and as keep a block's threads busy between two barriers. kPowerOfTwo: a group is a power of
/// two of packs, so that a thread meets the same channels all the way down.
template <int kVector, bool kPowerOfTwo = false, class Pass>
Rolling rolling_of(const Pass& pass) {
  constexpr int64_t kCapacity = 72 * 1024;  // of an SM's 228 KB (H100): three blocks, of which one computes
  constexpr int64_t kBusy = 8 * kBlock;
  const Extent2d out = pass.out();
  const auto depth_of = [&](int step) {
    int depth = 1;
    for (int begin = 0; begin < out.height; begin += step) {
      const Range rows = rows_wanted(pass, begin, std::min(begin + step, out.height));
      depth = std::max(depth, rows.last - rows.first);
    }
    return depth;
  };
  constexpr int kMost = kVector == 1 ? 32 : 8;
  const int all = static_cast<int>(std::min<int64_t>(ceil_div(pass.channels(), kVector), kMost));
  const int most = kPowerOfTwo ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(all))) : all;
  for (int packs = most; packs >= 1; packs /= 2) {
    Rolling best;
    for (int step = 1;; step = std::min(2 * step, out.height)) {
      const int depth = depth_of(step);
      const int64_t bytes = pass.ring_bytes(depth, int64_t{packs} * kVector);
      if (bytes > kCapacity || (step > 1 && int64_t{step} * out.width * packs > kBusy)) break;
      const auto groups = static_cast<int>(ceil_div(pass.channels(), packs * kVector));
      best = {packs, groups, step, depth, static_cast<unsigned>(bytes)};
      if (step == out.height) break;
    }
    if (best.packs > 0) return best;
  }
  return {};
}

template <int kVector, class Pass>
void launch_rolling_rows(const Pass& pass, Stream stream) {
  const Rolling rolling = rolling_of<kVector>(pass);
  launch(rolling_rows<kVector, Pass>,
         {.grid = blocks_for(pass.pictures() * rolling.groups, 1),
          .block = kBlock,
          .shared_bytes = rolling.shared_bytes,
          .stream = stream},
         pass, rolling);
}

/// True where there are blocks for most of some 100 SMs: N pictures of C channels of `bytes` bytes.
inline bool rolling_fills(int64_t N, int64_t C, int64_t bytes) {
  constexpr int64_t kBlocksToFill = 96, kStripBytes = 128;
  return N * ceil_div(C * bytes, kStripBytes) >= kBlocksToFill;
}

}  // namespace weft::WEFT_TARGET
