#pragma once
// The ladder that both passes of max and average pooling climb. A pass is a struct, and its kernels and launchers stand
// here once:
//
//   at<kVector>(planes or rings, pixel, c)  computes and writes kVector channels of one pixel of its output
//   planes(n), in_rows(row), ...            as rolling_rows.h wants them
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
// Rung 4, rolling-rows. A block walks down a picture with the rows under its windows in a ring in shared memory
// (rolling_rows.h): each element is read once, and those that a stride skips are not.

#include "kernels/launch.h"
#include "kernels/pool.h"
#include "kernels/rolling_rows.h"
#include "kernels/vector.h"

namespace weft::WEFT_TARGET {

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
    fetch_rows<kVector>(planes, ring, rows, this->in().width, strip, this->shape.C, [&](int row, int column) {
      return kBackward || windows_hold(this->shape, row, column);  // every window holds a pixel
    });
  }
};

template <class Pass>
__global__ void pool_thread_per_element(Pass pass) {
  const Extent2d out = pass.out();
  const int C = pass.shape.C;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= pass.shape.N * out.height * out.width * C) return;
  const PicturePixel at = pixel_at(i / C, out.height, out.width);
  pass.template at<1>(pass.planes(at.n), at, static_cast<int>(i % C));
}

template <class Pass>
__global__ void pool_warp_per_pixel(Pass pass) {
  const Extent2d out = pass.out();
  const int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (pixel >= pass.shape.N * out.height * out.width) return;
  const PicturePixel at = pixel_at(pixel, out.height, out.width);
  for (int c = static_cast<int>(threadIdx.x); c < pass.shape.C; c += 32) pass.template at<1>(pass.planes(at.n), at, c);
}

// Two blocks an SM are asked for: left alone, ptxas aims at so many that it spills what a pack of channels keeps.
template <int kVector, class Pass>
__global__ void __launch_bounds__(kBlock, 2) pool_vectors(Pass pass) {
  const Extent2d out = pass.out();
  const int packs = pass.shape.C / kVector;
  const int64_t i = int64_t{blockIdx.x} * kBlock + threadIdx.x;
  if (i >= pass.shape.N * out.height * out.width * packs) return;
  const PicturePixel at = pixel_at(i / packs, out.height, out.width);
  pass.template at<kVector>(pass.planes(at.n), at, static_cast<int>(i % packs) * kVector);
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
  with_vector(problem.dtype, problem.extents[extents::Pool::C],
              [&]<class T, int kVector>() { launch_rolling_rows<kVector>(Pass<T>(problem, operands), stream); });
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

/// Rung 4 where rung 3 reads something twice and there are blocks for most of some 100 SMs; of few pictures rung 3 has
/// more blocks, and leaves the second reading to the caches. Forward that is where windows overlap; backward wherever a
/// window has more than one pixel, each of which asks for its gradient.
template <bool kBackward>
int choose_pool_rung(const Problem& problem, int) {
  using extents::Pool;
  const std::int64_t* e = problem.extents;
  const bool again =
      kBackward ? e[Pool::R] > 1 || e[Pool::S] > 1 : e[Pool::R] > e[Pool::stride_h] || e[Pool::S] > e[Pool::stride_w];
  return again && rolling_fills(e[Pool::N], e[Pool::C], static_cast<int64_t>(width(problem))) ? 3 : 2;
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
          {.min_capability = 80,
           .dtypes = kFloats,
           .takes = pool_rows_fit<Pass>,
           .takes_what = "rows of a window within shared memory",
           .alignment = 16},
          launch_pool_rolling_rows<Pass>};
}

}  // namespace weft::WEFT_TARGET
