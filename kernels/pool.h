#pragma once
// What max and average pooling share: the shape in a kernel's argument, which windows hold a pixel, the call's checks
// and the shapes worth testing.

#include <algorithm>
#include <string>

#include "kernels/element.h"
#include "kernels/launch_math.h"
#include "kernels/ops.h"
#include "kernels/rolling_rows.h"
#include "kernels/target.h"

namespace weft::WEFT_TARGET {

/// Windows of R x S over x (N, H, W, C), y (N, P, Q, C).
struct PoolShape {
  int64_t N;
  int H, W, C, R, S, stride_h, stride_w, pad_h, pad_w, P, Q;
};

inline PoolShape pool_shape(const Problem& problem) {
  using extents::Pool;
  const auto e = [&](int which) { return static_cast<int>(problem.extents[which]); };
  return {problem.extents[Pool::N], e(Pool::H),        e(Pool::W),     e(Pool::C),     e(Pool::R), e(Pool::S),
          e(Pool::stride_h),        e(Pool::stride_w), e(Pool::pad_h), e(Pool::pad_w), e(Pool::P), e(Pool::Q)};
}

__device__ inline PicturePixel pixel_at(int64_t i, int height, int width) {
  return {i / width / height, static_cast<int>(i / width % height), static_cast<int>(i % width)};
}

/// The pixels of window `p` along one axis that lie in the picture.
__host__ __device__ inline Range pixels_of_window(int p, int size, int window, int stride, int pad) {
  const int begin = p * stride - pad, end = begin + window;
  return {begin > 0 ? begin : 0, end < size ? end : size};
}

/// The windows along one axis that hold pixel `h`: those p with p * stride - pad <= h < p * stride - pad + window.
__host__ __device__ inline Range windows_of_pixel(int h, int windows, int window, int stride, int pad) {
  const int first = h + pad < window ? 0 : (h + pad - window) / stride + 1;
  const int last = (h + pad) / stride + 1;
  return {first, last < windows ? last : windows};
}

/// True where some window holds pixel `h` of those before the last window's end: a stride over the window skips others.
__host__ __device__ inline bool windows_hold(int h, int window, int stride, int pad) {
  return stride <= window || (h + pad) % stride < window;
}

/// True where some window holds the pixel, of a row before the last window's end.
__host__ __device__ inline bool windows_hold(const PoolShape& z, int row, int column) {
  return column < (z.Q - 1) * z.stride_w - z.pad_w + z.S && windows_hold(row, z.R, z.stride_h, z.pad_h) &&
         windows_hold(column, z.S, z.stride_w, z.pad_w);
}

/// The geometry of a pass: forward from pixels to windows, backward from windows to pixels.
template <bool kBackward>
struct PoolPass {
  PoolShape shape;

  __host__ __device__ int64_t pictures() const { return shape.N; }
  __host__ __device__ int channels() const { return shape.C; }
  __host__ __device__ Extent2d in() const { return kBackward ? windows() : pixels(); }
  __host__ __device__ Extent2d out() const { return kBackward ? pixels() : windows(); }
  /// The rows of its input that a row of its output wants.
  __host__ __device__ Range in_rows(int row) const {
    return kBackward ? windows_of_pixel(row, shape.P, shape.R, shape.stride_h, shape.pad_h)
                     : pixels_of_window(row, shape.H, shape.R, shape.stride_h, shape.pad_h);
  }
  /// And its columns.
  __host__ __device__ Range in_columns(int column) const {
    return kBackward ? windows_of_pixel(column, shape.Q, shape.S, shape.stride_w, shape.pad_w)
                     : pixels_of_window(column, shape.W, shape.S, shape.stride_w, shape.pad_w);
  }

 private:
  __host__ __device__ Extent2d pixels() const { return {shape.H, shape.W}; }
  __host__ __device__ Extent2d windows() const { return {shape.P, shape.Q}; }
};

/// How many elements window `p` is divided by along one axis, for the average: padding counts, what hangs over the
/// padded picture does not.
__device__ inline int divisor_of_window(int p, int size, int window, int stride, int pad) {
  const int begin = p * stride - pad, end = begin + window;
  return (end < size + pad ? end : size + pad) - begin;
}

inline constexpr const char* kPoolExtents[] = {"N",        "H",        "W",     "C",     "R", "S",
                                               "stride_h", "stride_w", "pad_h", "pad_w", "P", "Q"};

/// torch's rules for one axis of a pool: at most half a window of padding, and as many windows as fit, rounded down, or
/// up (ceil_mode) where the last one still starts within the picture or the padding before it.
inline void check_pool_axis(const char* op, const char* axis, int64_t size, int64_t window, int64_t stride, int64_t pad,
                            int64_t windows) {
  const auto refuse = [&](const std::string& why) {
    fail(std::string(op) + ": along " + axis + " a window of " + std::to_string(window) + ", stride " +
         std::to_string(stride) + ", padding " + std::to_string(pad) + " over " + std::to_string(size) + " gives " +
         why);
  };
  if (pad < 0 || 2 * pad > window) refuse("windows of padding alone; the padding may be half the window at most");
  if (size + 2 * pad < window) refuse("no output: the window is larger than the padded picture");
  const int64_t fewest = (size + 2 * pad - window) / stride + 1;
  int64_t most = ceil_div(size + 2 * pad - window, stride) + 1;
  if ((most - 1) * stride >= size + pad) --most;
  if (windows != fewest && windows != most)
    refuse(std::to_string(fewest) + " outputs (" + std::to_string(most) + " with ceil_mode), not " +
           std::to_string(windows));
}

inline void check_pool(const char* op, const Problem& problem) {
  using extents::Pool;
  const int64_t* e = problem.extents;
  for (int i = 0; i < Pool::kCount; ++i) {
    if (i != Pool::pad_h && i != Pool::pad_w && e[i] < 1)
      fail(std::string(op) + ": " + kPoolExtents[i] + " is " + std::to_string(e[i]) + ", and must be at least 1");
    if (e[i] > 2147483647)
      fail(std::string(op) + ": " + kPoolExtents[i] + " is " + std::to_string(e[i]) + ", too large");
  }
  if (e[Pool::H] * e[Pool::W] > 2147483647)
    fail(std::string(op) + ": H * W is " + std::to_string(e[Pool::H] * e[Pool::W]) + ", which an int32 cannot index");
  check_pool_axis(op, "H", e[Pool::H], e[Pool::R], e[Pool::stride_h], e[Pool::pad_h], e[Pool::P]);
  check_pool_axis(op, "W", e[Pool::W], e[Pool::S], e[Pool::stride_w], e[Pool::pad_w], e[Pool::Q]);
}

inline double pool_inputs(const Problem& p) {
  using extents::Pool;
  const int64_t* e = p.extents;
  return static_cast<double>(e[Pool::N] * e[Pool::H] * e[Pool::W] * e[Pool::C]);
}
/// Of those the elements that some window holds: what a forward pass has to read.
inline double pool_inputs_met(const Problem& p) {
  const PoolShape z = pool_shape(p);
  int64_t rows = 0, columns = 0;
  for (int h = 0; h < z.H; ++h) {
    const Range windows = windows_of_pixel(h, z.P, z.R, z.stride_h, z.pad_h);
    rows += windows.first < windows.last;
  }
  for (int w = 0; w < z.W; ++w) {
    const Range windows = windows_of_pixel(w, z.Q, z.S, z.stride_w, z.pad_w);
    columns += windows.first < windows.last;
  }
  return static_cast<double>(z.N * rows * columns * z.C);
}
inline double pool_outputs(const Problem& p) {
  using extents::Pool;
  const int64_t* e = p.extents;
  return static_cast<double>(e[Pool::N] * e[Pool::P] * e[Pool::Q] * e[Pool::C]);
}
inline double pool_window(const Problem& p) {
  return static_cast<double>(p.extents[extents::Pool::R] * p.extents[extents::Pool::S]);
}
/// How many windows hold a pixel, at most.
inline int64_t pool_overlap(const Problem& p) {
  using extents::Pool;
  return ceil_div(p.extents[Pool::R], p.extents[Pool::stride_h]) *
         ceil_div(p.extents[Pool::S], p.extents[Pool::stride_w]);
}

// N H W C  R S  stride  pad  P Q
inline constexpr Problem kPoolProblems[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1}},
    {{2, 1, 1, 3, 1, 1, 2, 2, 0, 0, 1, 1}, {}, DType::f32, "1 x 1 pictures"},
    {{1, 1, 1, 5, 3, 3, 1, 1, 1, 1, 1, 1}, {}, DType::f32, "one pixel, all else padding"},
    {{2, 7, 5, 3, 2, 2, 2, 2, 0, 0, 3, 2}},
    {{1, 7, 5, 33, 3, 2, 1, 1, 1, 1, 7, 6}, {}, DType::f32, "3 x 2 windows, every one overlapping"},
    {{3, 13, 11, 7, 3, 3, 2, 2, 1, 1, 7, 6}},
    {{1, 11, 9, 4, 2, 2, 3, 4, 0, 0, 4, 2}, {}, DType::f32, "stride over the window: pixels in none"},
    {{2, 6, 8, 5, 3, 3, 2, 2, 0, 0, 3, 4}, {}, DType::f32, "ceil_mode: the last window hangs over"},
    {{1, 5, 5, 2, 3, 3, 3, 3, 1, 1, 2, 2}},
    {{1, 6, 6, 3, 3, 3, 2, 2, 1, 1, 4, 4}, {}, DType::f32, "ceil_mode with padding"},
    {{1, 28, 28, 64, 3, 3, 2, 2, 1, 1, 14, 14}, {}, DType::f32, "resnet18 maxpool, at 56 px"},
    {{1, 27, 27, 65, 3, 3, 2, 2, 0, 0, 13, 13}, {}, DType::f32, "squeezenet1_1 maxpool3 and a channel"},
    {{2, 28, 28, 6, 2, 2, 2, 2, 0, 0, 14, 14}, {}, DType::f32, "lenet"},
    {{1, 20, 18, 72, 3, 3, 2, 2, 1, 1, 10, 9}, {}, DType::f32, "several strips of channels, the last narrower"},
    {{1, 8, 70, 32, 5, 1, 1, 1, 2, 0, 8, 70}, {}, DType::f32, "windows that reach back over two steps of rows"},
    {{2, 2, 3, 17, 4, 5, 1, 1, 2, 2, 3, 3}, {}, DType::f32, "windows larger than the picture"},
    {{1, 5, 7, 63, 2, 1, 3, 2, 0, 0, 2, 4}, {}, DType::f32, "63 channels, a stride over the window"},
};

}  // namespace weft::WEFT_TARGET
