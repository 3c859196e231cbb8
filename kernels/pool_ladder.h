#pragma once
// The ladder that both passes of max and average pooling climb. A pass is a struct, and its kernels and launchers stand
// here once:
//
//   Planes planes(n)                      its inputs' pictures n, in global memory
//   Planes stage<kVector>(...)            the same of some rows and channels, copied into shared memory by the block
//   at<kVector>(planes, pixel, c)         computes and writes kVector channels of one pixel of its output
//   Range in_rows(row)                    the rows of its inputs that a row of its output wants
//   out(), in()                           extents of an output picture and of an input picture
//   kPixelBytes                           of its inputs, an element each; or, where stage() copies more than in_rows():
//   int64_t staged_bytes(rows, elements)  bytes that it copies for those rows of its inputs, `elements` of a pixel
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
// Rung 4, rows-in-shared. A block takes a band of rows and up to eight packs of channels, copies the rows that its
// windows cover into shared memory, each element once, and computes from there. Where a picture fits, nothing is read
// twice; a larger one is cut into bands, which share R - stride rows.

#include <algorithm>

#include "kernels/launch.h"
#include "kernels/pool.h"
#include "kernels/vector.h"

namespace weft::WEFT_TARGET {

/// Height and width.
struct Extent2d {
  int height, width;
};

/// Where a picture's elements lie: whole in global memory, or some rows and channels of it in shared memory.
template <class T>
struct Plane {
  const T* data;
  int64_t row_pitch, pixel_pitch;
  int first_row, first_channel;

  template <int kVector>
  __device__ Vector<T, kVector> load(int row, int column, int c) const {
    return load_vector<kVector>(data, (row - first_row) * row_pitch + column * pixel_pitch + (c - first_channel));
  }
};

template <class T>
__device__ inline Plane<T> whole_plane(const T* pictures, int64_t n, Extent2d extent, int C) {
  return {pictures + n * extent.height * extent.width * C, int64_t{extent.width} * C, C, 0, 0};
}

/// Which part of a picture a block stages: rows, and `packs` packs of channels from `first_channel` on, as far as there
/// are such.
struct Part {
  Range rows;
  int first_channel, packs;
};

/// A part of rows of `width` pixels that lies in shared memory.
template <class T>
__device__ inline Plane<T> shared_plane(const T* data, int width, const Part& part, int vector) {
  const int64_t pitch = int64_t{part.packs} * vector;
  return {data, width * pitch, pitch, part.rows.first, part.first_channel};
}

/// Copies a part of a plane to shared memory, all threads of the block together: pixel by pixel, a pack a thread, so
/// that neighbouring threads read neighbouring packs.
template <int kVector, class T>
__device__ inline Plane<T> stage_plane(const Plane<T>& from, T* to, Extent2d extent, int C, const Part& part) {
  const int count = (part.rows.last - part.rows.first) * extent.width * part.packs;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) {
    const int pack = i % part.packs, pixel = i / part.packs, c = part.first_channel + pack * kVector;
    if (c < C)
      store_vector(to, int64_t{i} * kVector,
                   from.template load<kVector>(part.rows.first + pixel / extent.width, pixel % extent.width, c));
  }
  return shared_plane<T>(to, extent.width, part, kVector);
}

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

template <int kVector, class Pass>
__global__ void __launch_bounds__(kBlock)
    pool_rows_in_shared(Pass pass, int packs, int groups, int band_rows, int bands) {
  const Extent2d out = pass.out();
  const int band = static_cast<int>(blockIdx.x % static_cast<unsigned>(bands));
  const int group = static_cast<int>(blockIdx.x / static_cast<unsigned>(bands) % static_cast<unsigned>(groups));
  const int64_t n = blockIdx.x / static_cast<unsigned>(bands) / static_cast<unsigned>(groups);
  const int begin = band * band_rows, end = begin + band_rows < out.height ? begin + band_rows : out.height;
  Part part = {{pass.in_rows(begin).first, pass.in_rows(end - 1).last}, group * packs * kVector, packs};
  if (part.rows.last < part.rows.first) part.rows.last = part.rows.first;  // rows that no window holds
  const auto planes = pass.template stage<kVector>(n, part, dynamic_shared<unsigned char>());
  __syncthreads();  // the rows are there
  for (int i = static_cast<int>(threadIdx.x); i < (end - begin) * out.width * packs; i += kBlock) {
    const int pixel = i / packs, c = part.first_channel + i % packs * kVector;
    if (c < pass.shape.C) pass.template at<kVector>(planes, {n, begin + pixel / out.width, pixel % out.width}, c);
  }
}

/// Bytes of shared memory that rung 4 wants for some rows of a pass's inputs, `elements` of each pixel.
template <class Pass>
int64_t staged_bytes(const Pass& pass, Range rows, int64_t elements) {
  if constexpr (requires { pass.staged_bytes(rows, elements); })
    return pass.staged_bytes(rows, elements);
  else
    return int64_t{rows.last - rows.first} * pass.in().width * elements * Pass::kPixelBytes;
}

/// How rung 4 cuts the work: the widest group of packs, eight at most, whose rows for eight rows of the output, or all,
/// fit.
struct Bands {
  int packs = 0, rows = 0;
  unsigned shared_bytes = 0;
};

template <int kVector, class Pass>
Bands bands_of(const Pass& pass) {
  constexpr int64_t kCapacity = 96 * 1024;
  const int most = static_cast<int>(std::min<int64_t>(ceil_div(pass.shape.C, kVector), kVector == 1 ? 32 : 8));
  const int height = pass.out().height;
  for (int packs = most; packs >= 1; packs = packs / 2) {
    const auto bytes_for = [&](int rows) {  // of the output, wherever they begin
      int64_t largest = 0;
      for (int begin = 0; begin < height; begin += rows) {
        const Range wanted = {pass.in_rows(begin).first, pass.in_rows(std::min(begin + rows, height) - 1).last};
        largest = std::max(largest, staged_bytes(pass, wanted, int64_t{packs} * kVector));
      }
      return largest;
    };
    for (int rows = height; rows >= 1; rows = rows / 2) {
      if (rows < std::min(height, 8) && packs > 1) break;
      const int64_t bytes = bytes_for(rows);
      if (bytes <= kCapacity) return {packs, rows, static_cast<unsigned>(bytes)};
    }
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
void launch_pool_rows_in_shared(const Problem& problem, void* const* operands, void*, Stream stream) {
  with_vector(problem.dtype, problem.extents[extents::Pool::C], [&]<class T, int kVector>() {
    const Pass<T> pass(problem, operands);
    const Bands bands = bands_of<kVector>(pass);
    const auto groups = static_cast<int>(ceil_div(pass.shape.C, bands.packs * kVector));
    const auto count = static_cast<int>(ceil_div(pass.out().height, bands.rows));
    launch(pool_rows_in_shared<kVector, Pass<T>>,
           {.grid = blocks_for(pass.shape.N * groups * count, 1),
            .block = kBlock,
            .shared_bytes = bands.shared_bytes,
            .stream = stream},
           pass, bands.packs, groups, bands.rows, count);
  });
}

/// True where rung 4 finds room for the rows of a window.
template <template <class> class Pass>
bool pool_rows_fit(const Problem& problem) {
  bool fit = false;
  void* const none[kMaxOperands] = {};
  with_vector(problem.dtype, problem.extents[extents::Pool::C],
              [&]<class T, int kVector>() { fit = bands_of<kVector>(Pass<T>(problem, none)).packs > 0; });
  return fit;
}

/// Rung 4 where windows overlap; where they do not, rung 3 reads nothing twice and has no barrier.
inline int choose_pool_rung(const Problem& problem, int) {
  using extents::Pool;
  const std::int64_t* e = problem.extents;
  return e[Pool::R] > e[Pool::stride_h] || e[Pool::S] > e[Pool::stride_w] ? 3 : 2;
}

inline constexpr const char* kPoolWarpIdea =
    "A warp walks the channels of a pixel, so that the divisions are paid once for all of them.";
inline constexpr const char* kPoolVectorsIdea = "A thread takes 16 bytes of channels with one instruction.";
inline constexpr const char* kPoolSharedIdea =
    "A block copies the rows that its windows cover into shared memory: each element is read once, not once a window.";

/// The rungs of one pass.
template <template <class> class Pass>
constexpr Rung pool_rung(int rung, const char* first_name, const char* first_idea) {
  if (rung == 0) return {first_name, first_idea, {.dtypes = kFloats}, launch_pool_per_element<Pass>};
  if (rung == 1) return {"warp-per-pixel", kPoolWarpIdea, {.dtypes = kFloats}, launch_pool_warp_per_pixel<Pass>};
  if (rung == 2)
    return {"vectorised", kPoolVectorsIdea, {.dtypes = kFloats, .alignment = 16}, launch_pool_vectors<Pass>};
  return {"rows-in-shared",
          kPoolSharedIdea,
          {.min_capability = 80, .dtypes = kFloats, .takes = pool_rows_fit<Pass>, .alignment = 16},
          launch_pool_rows_in_shared<Pass>};
}

}  // namespace weft::WEFT_TARGET
