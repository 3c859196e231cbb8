#pragma once
// The ladder that both passes of max and average pooling climb. A pass is a struct, and its kernels and launchers stand
// here once:
//
//   Planes planes(n)                      its inputs' pictures n, in global memory
//   rings<kVector>(shared, strip, depth)  the same, `depth` rows of some channels, in shared memory
//   fetch<kVector>(planes, rings, strip, rows)  copies rows there, the whole block together
//   at<kVector>(planes or rings, pixel, c)      computes and writes kVector channels of one pixel of its output
//   Range in_rows(row)                    the rows of its inputs that a row of its output wants
//   out(), in()                           extents of an output picture and of an input picture
//   int64_t ring_bytes(depth, elements)   shared memory of its rings, `elements` of a pixel
//
// Rung 1, thread-per-output (backward: per input). Channels are innermost, so neighbouring threads read neighbouring
// addresses. But each thread takes its index apart with 64-bit divisions, which cost more than the nine comparisons of
// a 3 x 3 window.
//
// Rung 2, warp-per-pixel. A warp takes one pixel and walks its channels 32 at a time: the divisions, the window's edges
// and the branches are the same for the whole warp and are paid once for all channels. A request is 128 bytes (64 in
// bfloat16).
//
// Rung 3, vectorised. A thread takes 16 bytes of channels: a quarter (an eighth) of the instructions, and as many more
// bytes under way with each. Still a 3 x 3 window at stride 2 reads each element 2.25 times, and leaves it to the
// caches.
//
// Rung 4, rolling-rows. Windows overlap, but a window looks back R rows and no further. A block takes the whole height
// and width of a picture and up to eight packs of its channels, 128 bytes side by side, and walks down: the rows under
// a few rows of the output lie in a ring in shared memory, and a step fetches those alone that the step before did not
// have. So each element is read once, however tall the picture. (Cut into bands that fit shared memory, pictures of
// 112 x 112 would be read 3 to 11% over, for each band has R - stride rows of its neighbour's; and to keep the bands
// tall a block would take but 16 bytes of a pixel, half a sector.) The price: a picture's rows come one after the
// other, so there are only N C / (128 bytes) blocks.

#include <algorithm>

#include "kernels/launch.h"
#include "kernels/pool.h"
#include "kernels/vector.h"

namespace weft::WEFT_TARGET {

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

template <int kVector, class T>
__device__ inline void fetch_rows(const Plane<T>& from, const RowRing<T>& to, Range rows, int width, const Strip& strip,
                                  int C) {
  for_strip<kVector>(rows, width, strip, C, [&](int row, int column, int c) {
    store_vector(to.data, to.place(row, column, c), from.template load<kVector>(row, column, c));
  });
}

/// A pass with one input, x or dy: what it has in common with others of its direction.
template <class T, bool kBackward>
struct OneInputPass : PoolPass<kBackward> {
  using Planes = Plane<T>;
  const T* from;
  T* to;

  OneInputPass(const Problem& problem, void* const* operands)
      : PoolPass<kBackward>{pool_shape(problem)}, from(as<const T>(operands[0])), to(as<T>(operands[1])) {}

  int64_t ring_bytes(int depth, int64_t elements) const {
    return int64_t{depth} * this->in().width * elements * static_cast<int64_t>(sizeof(T));
  }
  __device__ Planes planes(int64_t n) const { return whole_plane(from, n, this->in(), this->shape.C); }
  template <int kVector>
  __device__ RowRing<T> rings(unsigned char* shared, const Strip& strip, int depth) const {
    return row_ring<kVector>(reinterpret_cast<T*>(shared), depth, this->in().width, strip);
  }
  template <int kVector>
  __device__ void fetch(const Planes& planes, const RowRing<T>& ring, const Strip& strip, Range rows) const {
    fetch_rows<kVector>(planes, ring, rows, this->in().width, strip, this->shape.C);
  }
};

template <class Pass>
__global__ void pool_thread_per_element(Pass pass) {
  const Extent2d out = pass.out();
  const int C = pass.shape.C;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= pass.shape.N * out.height * out.width * C) return;
  const Pixel at = pixel_at(i / C, out.height, out.width);
  pass.template at<1>(pass.planes(at.n), at, static_cast<int>(i % C));
}

template <class Pass>
__global__ void pool_warp_per_pixel(Pass pass) {
  const Extent2d out = pass.out();
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= pass.shape.N * out.height * out.width) return;
  const Pixel at = pixel_at(pixel, out.height, out.width);
  for (int c = static_cast<int>(threadIdx.x); c < pass.shape.C; c += 32) pass.template at<1>(pass.planes(at.n), at, c);
}

// Two blocks an SM are asked for: left alone, ptxas aims at so many that it spills what a pack of channels keeps.
template <int kVector, class Pass>
__global__ void __launch_bounds__(kBlock, 2) pool_vectors(Pass pass) {
  const Extent2d out = pass.out();
  const int packs = pass.shape.C / kVector;
  const int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x;
  if (i >= pass.shape.N * out.height * out.width * packs) return;
  const Pixel at = pixel_at(i / packs, out.height, out.width);
  pass.template at<kVector>(pass.planes(at.n), at, static_cast<int>(i % packs) * kVector);
}

/// How rung 4 cuts the work: channels into groups of packs, and a picture's output into steps of rows, whose inputs'
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

template <int kVector, class Pass>
__global__ void __launch_bounds__(kBlock) pool_rolling_rows(Pass pass, Rolling rolling) {
  const Extent2d out = pass.out();
  const int group = static_cast<int>(blockIdx.x % static_cast<unsigned>(rolling.groups));
  const int64_t n = blockIdx.x / static_cast<unsigned>(rolling.groups);
  const Strip strip = {group * rolling.packs * kVector, rolling.packs};
  const auto planes = pass.planes(n);
  const auto rings = pass.template rings<kVector>(dynamic_shared<unsigned char>(), strip, rolling.depth);
  int fetched = 0;  // rows of the inputs
  for (int begin = 0; begin < out.height; begin += rolling.step) {
    const int end = begin + rolling.step < out.height ? begin + rolling.step : out.height;
    Range rows = rows_wanted(pass, begin, end);
    if (rows.first < fetched) rows.first = fetched;
    if (rows.last > fetched) fetched = rows.last;
    if (begin > 0) __syncthreads();  // nobody may overwrite rows that another still reads
    pass.template fetch<kVector>(planes, rings, strip, rows);
    __syncthreads();  // the rows are there
    for_strip<kVector>({begin, end}, out.width, strip, pass.shape.C, [&](int row, int column, int c) {
      pass.template at<kVector>(rings, {n, row, column}, c);
    });
  }
}

/// The widest group of packs, eight at most (32 single elements), whose rings for one row of the output fit; then as
/// many rows a step as fit, and as keep a block's threads busy between two barriers.
template <int kVector, class Pass>
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
  const int most = static_cast<int>(std::min<int64_t>(ceil_div(pass.shape.C, kVector), kVector == 1 ? 32 : 8));
  for (int packs = most; packs >= 1; packs /= 2) {
    Rolling best;
    for (int step = 1;; step = std::min(2 * step, out.height)) {
      const int depth = depth_of(step);
      const int64_t bytes = pass.ring_bytes(depth, int64_t{packs} * kVector);
      if (bytes > kCapacity || (step > 1 && int64_t{step} * out.width * packs > kBusy)) break;
      const auto groups = static_cast<int>(ceil_div(pass.shape.C, packs * kVector));
      best = {packs, groups, step, depth, static_cast<unsigned>(bytes)};
      if (step == out.height) break;
    }
    if (best.packs > 0) return best;
  }
  return {};
}

template <template <class> class Pass>
void launch_pool_per_element(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const Pass<T> pass(problem, operands);
    const Extent2d out = pass.out();
    launch(pool_thread_per_element<Pass<T>>,
           {.grid = blocks_for(pass.shape.N * out.height * out.width * pass.shape.C, kBlock),
            .block = kBlock,
            .stream = stream},
           pass);
  });
}

template <template <class> class Pass>
void launch_pool_warp_per_pixel(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_type(problem.dtype, [&]<class T>() {
    const Pass<T> pass(problem, operands);
    const Extent2d out = pass.out();
    launch(pool_warp_per_pixel<Pass<T>>,
           {.grid = blocks_for(pass.shape.N * out.height * out.width, 8), .block = dim3(32, 8), .stream = stream},
           pass);
  });
}

template <template <class> class Pass>
void launch_pool_vectors(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_vector(problem.dtype, problem.extents[extents::Pool::C], [&]<class T, int kVector>() {
    const Pass<T> pass(problem, operands);
    const Extent2d out = pass.out();
    launch(pool_vectors<kVector, Pass<T>>,
           {.grid = blocks_for(pass.shape.N * out.height * out.width * (pass.shape.C / kVector), kBlock),
            .block = kBlock,
            .stream = stream},
           pass);
  });
}

template <template <class> class Pass>
void launch_pool_rolling_rows(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_vector(problem.dtype, problem.extents[extents::Pool::C], [&]<class T, int kVector>() {
    const Pass<T> pass(problem, operands);
    const Rolling rolling = rolling_of<kVector>(pass);
    launch(pool_rolling_rows<kVector, Pass<T>>,
           {.grid = blocks_for(pass.shape.N * rolling.groups, 1),
            .block = kBlock,
            .shared_bytes = rolling.shared_bytes,
            .stream = stream},
           pass, rolling);
  });
}

/// True where rung 4 finds room for the rows of a window.
template <template <class> class Pass>
bool pool_rows_fit(const Problem& problem) {
  bool fit = false;
  void* const none[kMaxOperands] = {};
  with_vector(problem.dtype, problem.extents[extents::Pool::C],
              [&]<class T, int kVector>() { fit = rolling_of<kVector>(Pass<T>(problem, none)).packs > 0; });
  return fit;
}

/// Rung 4 where windows overlap and there are blocks for most of some 100 SMs. Where they do not overlap, rung 3 reads
/// nothing twice and has no barrier; of few pictures it has more blocks, and leaves what it reads twice to L2.
inline int choose_pool_rung(const Problem& problem, int) {
  using extents::Pool;
  constexpr int64_t kBlocksToFill = 96, kStripBytes = 128;
  const std::int64_t* e = problem.extents;
  const bool overlap = e[Pool::R] > e[Pool::stride_h] || e[Pool::S] > e[Pool::stride_w];
  const int64_t strips = ceil_div(e[Pool::C] * static_cast<int64_t>(width(problem)), kStripBytes);
  return overlap && e[Pool::N] * strips >= kBlocksToFill ? 3 : 2;
}

inline constexpr const char* kPoolWarpIdea =
    "A warp walks the channels of a pixel, so that the divisions are paid once for all of them.";
inline constexpr const char* kPoolVectorsIdea = "A thread takes 16 bytes of channels with one instruction.";
inline constexpr const char* kPoolRollingIdea =
    "Windows read what they share anew; a block walks down the picture with the rows of its windows in shared memory, "
    "each fetched once.";

/// The rungs of one pass.
template <template <class> class Pass>
constexpr Rung pool_rung(int rung, const char* first_name, const char* first_idea) {
  if (rung == 0) return {first_name, first_idea, {.dtypes = kFloats}, launch_pool_per_element<Pass>};
  if (rung == 1) return {"warp-per-pixel", kPoolWarpIdea, {.dtypes = kFloats}, launch_pool_warp_per_pixel<Pass>};
  if (rung == 2)
    return {"vectorised", kPoolVectorsIdea, {.dtypes = kFloats, .alignment = 16}, launch_pool_vectors<Pass>};
  return {"rolling-rows",
          kPoolRollingIdea,
          {.min_capability = 80, .dtypes = kFloats, .takes = pool_rows_fit<Pass>, .alignment = 16},
          launch_pool_rolling_rows<Pass>};
}

}  // namespace weft::WEFT_TARGET
