#include "data/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/error.h"

namespace weft {

namespace {

constexpr int kPrecision = 32 - 8 - 2;  // bits after the point: 8 for the pixel, 2 to spare
constexpr int kSlack = 16;              // bytes readable after the last pixel of a row

// What each output position of one axis takes from the source: taps [first[i], first[i] + count[i]) with weights
// weight[i * stride ...].
struct Taps {
  int stride = 0;
  std::vector<int> first, count;
  std::vector<int32_t> weight;
};

// precompute_coeffs() and normalize_coeffs_8bpc() of Resample.c, for the output positions [begin, begin + n) alone.
// in0 and in1 are floats and their difference is taken in float, as there.
void compute_taps(int in_size, float in0, float in1, int out_size, int begin, int n, Taps& taps) {
  double scale = double(in1 - in0) / out_size;
  double filter_scale = std::max(scale, 1.0);
  double support = filter_scale;  // the triangle reaches one (scaled) pixel to either side
  taps.stride = int(std::ceil(support)) * 2 + 1;
  taps.first.resize(n);
  taps.count.resize(n);
  taps.weight.assign(size_t(n) * taps.stride, 0);
  std::vector<double> weights(taps.stride);
  double inverse = 1.0 / filter_scale;
  for (int i = 0; i < n; ++i) {
    double center = in0 + (begin + i + 0.5) * scale;
    int first = std::max(int(center - support + 0.5), 0);
    int count = std::min(int(center + support + 0.5), in_size) - first;
    double sum = 0;
    for (int t = 0; t < count; ++t) {
      double distance = std::abs((t + first - center + 0.5) * inverse);
      weights[t] = distance < 1.0 ? 1.0 - distance : 0.0;
      sum += weights[t];
    }
    for (int t = 0; t < count; ++t) {
      double weight = sum != 0 ? weights[t] / sum : weights[t];
      taps.weight[size_t(i) * taps.stride + t] = int32_t(0.5 + weight * (1 << kPrecision));
    }
    taps.first[i] = first;
    taps.count[i] = count;
  }
}

// Four lanes hold red, green, blue and a neighbour's byte that is thrown away.
using Int4 = int32_t __attribute__((vector_size(16)));
using Byte4 = uint8_t __attribute__((vector_size(4)));

inline Int4 load_pixel(const uint8_t* p) {
  Byte4 bytes;
  std::memcpy(&bytes, p, 4);
  return __builtin_convertvector(bytes, Int4);
}

inline void store_pixel(uint8_t* p, Int4 sum) {  // weights are positive and add up to one: no clipping below 0
  sum >>= kPrecision;
  sum = sum > 255 ? Int4{255, 255, 255, 255} : sum;
  Byte4 bytes = __builtin_convertvector(sum, Byte4);
  std::memcpy(p, &bytes, 4);
}

// kRows rows at once, so that a weight is fetched once for all. Reads a byte past each pixel and writes one past each
// output row: both have slack.
template <int kRows>
void horizontal(const uint8_t* const* rows, uint8_t* out, int64_t out_stride, int n, const Taps& taps) {
  constexpr int32_t kHalf = 1 << (kPrecision - 1);
  for (int i = 0; i < n; ++i) {
    const int32_t* weight = taps.weight.data() + size_t(i) * taps.stride;
    int64_t offset = int64_t(3) * taps.first[i];
    Int4 sum[kRows];
    for (int r = 0; r < kRows; ++r) sum[r] = Int4{kHalf, kHalf, kHalf, kHalf};
    for (int t = 0; t < taps.count[i]; ++t, offset += 3) {
      for (int r = 0; r < kRows; ++r) sum[r] += load_pixel(rows[r] + offset) * weight[t];
    }
    for (int r = 0; r < kRows; ++r) store_pixel(out + r * out_stride + 3 * i, sum[r]);
  }
}

// One output row from `count` rows of the same columns: (columns * 3) bytes each. A block of columns at a time keeps
// its sums in registers.
void vertical(const uint8_t* first_row, int64_t stride, const int32_t* weight, int count, int bytes, uint8_t* out) {
  constexpr int kBlock = 64;
  for (int begin = 0; begin < bytes; begin += kBlock) {
    int32_t sum[kBlock];
    for (int x = 0; x < kBlock; ++x) sum[x] = 1 << (kPrecision - 1);
    for (int t = 0; t < count; ++t) {
      const uint8_t* row = first_row + t * stride + begin;
      int32_t w = weight[t];
      for (int x = 0; x < kBlock; ++x) sum[x] += row[x] * w;
    }
    uint8_t block[kBlock];
    for (int x = 0; x < kBlock; ++x) block[x] = uint8_t(std::min(sum[x] >> kPrecision, 255));
    std::memcpy(out + begin, block, size_t(std::min(kBlock, bytes - begin)));
  }
}

}  // namespace

void resize_window(const ImageView& source, int width, int height, FloatBox box, Box window, uint8_t* out) {
  if (width < 1 || height < 1) fail(fmt::format("a picture cannot be resized to {} x {} pixels", width, height));
  if (!(box.left >= 0 && box.top >= 0 && box.right <= float(source.width) && box.bottom <= float(source.height) &&
        box.left < box.right && box.top < box.bottom)) {
    fail(fmt::format("the box ({}, {}) to ({}, {}) is empty or not inside the picture of {} x {}", box.left, box.top,
                     box.right, box.bottom, source.width, source.height));
  }
  WEFT_CHECK(window.x >= 0 && window.y >= 0 && window.x + window.width <= width && window.y + window.height <= height &&
                 window.width > 0 && window.height > 0,
             "the window lies inside the resized picture");
  if (width == source.width && height == source.height && box.left == 0 && box.top == 0 && box.right == float(width) &&
      box.bottom == float(height)) {  // nothing to resize
    for (int y = 0; y < window.height; ++y) {
      std::memcpy(out + int64_t(3) * window.width * y,
                  source.rgb + (window.y + y) * source.stride + int64_t(3) * window.x, size_t(3) * window.width);
    }
    return;
  }
  thread_local Taps across, down;
  thread_local std::vector<uint8_t> rows, last_row;
  compute_taps(source.width, box.left, box.right, width, window.x, window.width, across);
  compute_taps(source.height, box.top, box.bottom, height, window.y, window.height, down);

  // The source rows that the vertical pass will ask for, each squeezed to the window's columns.
  int top = down.first.front(), bottom = down.first.back() + down.count.back();
  int64_t stride = int64_t(3) * window.width + 64;
  rows.resize(size_t(stride) * (bottom - top) + 64);
  last_row.resize(size_t(3) * source.width + kSlack);
  auto row_at = [&](int y) {
    const uint8_t* row = source.rgb + y * source.stride;
    if (y + 1 < source.height) return row;  // what comes after it may be read
    std::memcpy(last_row.data(), row, size_t(3) * source.width);
    return static_cast<const uint8_t*>(last_row.data());
  };
  int y = top;
  for (; y + 4 <= bottom; y += 4) {
    const uint8_t* four[] = {row_at(y), row_at(y + 1), row_at(y + 2), row_at(y + 3)};
    horizontal<4>(four, rows.data() + stride * (y - top), stride, window.width, across);
  }
  for (; y < bottom; ++y) {
    const uint8_t* one[] = {row_at(y)};
    horizontal<1>(one, rows.data() + stride * (y - top), stride, window.width, across);
  }
  for (int i = 0; i < window.height; ++i) {
    vertical(rows.data() + stride * (down.first[i] - top), stride, down.weight.data() + size_t(i) * down.stride,
             down.count[i], 3 * window.width, out + int64_t(3) * window.width * i);
  }
}

Image resize(const ImageView& source, int width, int height, FloatBox box) {
  Image image(width, height);
  resize_window(source, width, height, box, {0, 0, width, height}, image.rgb.data());
  return image;
}

Image resize(const ImageView& source, int width, int height) {
  return resize(source, width, height, {0, 0, float(source.width), float(source.height)});
}

Size short_side_to(int width, int height, int size) {
  // torchvision's _compute_output_size: int(size * long / short), a quotient of integers in double precision.
  double long_side = std::floor(double(size) * std::max(width, height) / std::min(width, height));
  if (long_side > 1 << 24) {  // beyond it a float box cannot name every pixel
    fail(fmt::format("a picture of {} x {} pixels is too long and thin to bring its short side to {}", width, height,
                     size));
  }
  return width <= height ? Size{size, int(long_side)} : Size{int(long_side), size};
}

}  // namespace weft
