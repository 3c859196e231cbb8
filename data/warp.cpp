#include "data/warp.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "kernels/error.h"

namespace weft {

namespace {

// Half the width of the filter along each source axis: the distance in source pixels between output neighbours, and one
// pixel at least.
struct Support {
  double x, y;
};

Support support_of(const Affine& map) {
  return {std::max(1.0, std::hypot(map.a, map.b)), std::max(1.0, std::hypot(map.d, map.e))};
}

// Where the mirrored picture's pixel i lies in one of n pixels: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
int mirrored(int i, int n) {
  if (i >= 0 && i < n) return i;
  int period = 2 * n, rest = i % period;
  if (rest < 0) rest += period;
  return rest < n ? rest : period - 1 - rest;
}

// The filter's pixels along one axis and their weights, which add up to one.
struct Taps {
  int first = 0, count = 0;
  std::vector<float> weight;

  explicit Taps(double support) : weight(size_t(2 * support) + 3) {}
  void place(double center, double support) {
    first = int(std::floor(center - support + 0.5));
    count = std::min(int(std::floor(center + support + 0.5)) - first, int(weight.size()));
    double inverse = 1 / support;
    float sum = 0;
    for (int t = 0; t < count; ++t) {
      weight[size_t(t)] = float(std::max(0.0, 1 - std::abs(t + first - center + 0.5) * inverse));
      sum += weight[size_t(t)];
    }
    for (int t = 0; t < count; ++t) weight[size_t(t)] /= sum;
  }
};

using Float4 = float __attribute__((vector_size(16)));
using Byte4 = uint8_t __attribute__((vector_size(4)));

// Red, green, blue and whatever byte follows, which is thrown away.
inline Float4 load_pixel(const uint8_t* p) {
  Byte4 bytes;
  std::memcpy(&bytes, p, 4);
  return __builtin_convertvector(bytes, Float4);
}

// What warp() reads along one axis of n pixels, given how far the filter reaches: first pixel and one past the last.
std::pair<int, int> reach(double low, double high, int n) {
  if (low < -double(n) || high > 2.0 * n) return {0, n};  // mirrored more than once
  int first = int(std::floor(low)), last = int(std::ceil(high));
  int begin = std::clamp(first, 0, n), end = std::clamp(last, 0, n);
  if (first < 0) end = std::max(end, -first), begin = 0;
  if (last > n) begin = std::min(begin, 2 * n - last), end = n;
  return {std::clamp(begin, 0, n - 1), std::clamp(end, 1, n)};
}

}  // namespace

Affine Affine::after(const Affine& inner) const {
  return {a * inner.a + b * inner.d, a * inner.b + b * inner.e, a * inner.c + b * inner.f + c,
          d * inner.a + e * inner.d, d * inner.b + e * inner.e, d * inner.c + e * inner.f + f};
}

Affine Affine::rotation(double degrees, double x, double y) {
  // Rows grow downwards, so that counter-clockwise is (cos, sin; -sin, cos).
  double angle = degrees * std::numbers::pi / 180, cosine = std::cos(angle), sine = std::sin(angle);
  return {cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y};
}

Box warp_source(const Affine& to_picture, int out_width, int out_height, int width, int height) {
  double u[] = {0.5, out_width - 0.5}, v[] = {0.5, out_height - 0.5};
  double left = INFINITY, right = -INFINITY, top = INFINITY, bottom = -INFINITY;
  for (double corner_u : u) {
    for (double corner_v : v) {
      left = std::min(left, to_picture.x(corner_u, corner_v));
      right = std::max(right, to_picture.x(corner_u, corner_v));
      top = std::min(top, to_picture.y(corner_u, corner_v));
      bottom = std::max(bottom, to_picture.y(corner_u, corner_v));
    }
  }
  Support support = support_of(to_picture);
  auto [x0, x1] = reach(left - support.x - 1, right + support.x + 1, width);
  auto [y0, y1] = reach(top - support.y - 1, bottom + support.y + 1, height);
  return {x0, y0, x1 - x0, y1 - y0};
}

Image warp(const ImageView& part, Box box, int width, int height, const Affine& to_picture, int out_width,
           int out_height) {
  WEFT_CHECK(part.width == box.width && part.height == box.height, "the part is what the box says");
  Image out(out_width, out_height);
  Support support = support_of(to_picture);
  Taps across(support.x), down(support.y);
  for (int v = 0; v < out_height; ++v) {
    uint8_t* to = out.row(v);
    for (int u = 0; u < out_width; ++u, to += 3) {
      across.place(to_picture.x(u + 0.5, v + 0.5), support.x);
      down.place(to_picture.y(u + 0.5, v + 0.5), support.y);
      Float4 sum{0, 0, 0, 0};
      // Away from the edges pixels are read four bytes at a time, which the very last one of the part has not.
      bool inside = across.first >= box.x && across.first + across.count < box.x + box.width && down.first >= box.y &&
                    down.first + down.count <= box.y + box.height;
      for (int s = 0; s < down.count; ++s) {
        Float4 row_sum{0, 0, 0, 0};
        if (inside) {
          const uint8_t* from = part.rgb + (down.first + s - box.y) * part.stride + int64_t(3) * (across.first - box.x);
          for (int t = 0; t < across.count; ++t) row_sum += load_pixel(from + 3 * t) * across.weight[size_t(t)];
        } else {
          const uint8_t* row = part.rgb + (mirrored(down.first + s, height) - box.y) * part.stride;
          for (int t = 0; t < across.count; ++t) {
            const uint8_t* p = row + int64_t(3) * (mirrored(across.first + t, width) - box.x);
            row_sum += Float4{float(p[0]), float(p[1]), float(p[2]), 0} * across.weight[size_t(t)];
          }
        }
        sum += row_sum * down.weight[size_t(s)];
      }
      for (int channel = 0; channel < 3; ++channel) {
        to[channel] = uint8_t(std::clamp(sum[channel] + 0.5f, 0.0f, 255.0f));
      }
    }
  }
  return out;
}

}  // namespace weft
