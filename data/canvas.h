#pragma once
// Inside data/ only: a small antialiased painter. A shape is a signed distance (negative inside, in the units of its
// frame), so an edge is as smooth as the pixel grid allows at any scale; a paint is a function of the place.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "data/image.h"

namespace weft::drawing {

struct Color {
  float r = 0, g = 0, b = 0;  // 0 to 1
};
inline Color operator*(Color c, float s) {
  return {c.r * s, c.g * s, c.b * s};
}
inline Color operator+(Color a, Color b) {
  return {a.r + b.r, a.g + b.g, a.b + b.b};
}
inline Color mix(Color a, Color b, float t) {
  return a * (1 - t) + b * t;
}
inline float brightness(Color c) {
  return 0.299f * c.r + 0.587f * c.g + 0.114f * c.b;
}
/// Hue in turns, saturation and value 0 to 1 (Smith, "Color gamut transform pairs", 1978).
Color hsv(float hue, float saturation, float value);

struct Point {
  float x = 0, y = 0;
};
inline Point operator+(Point a, Point b) {
  return {a.x + b.x, a.y + b.y};
}
inline Point operator-(Point a, Point b) {
  return {a.x - b.x, a.y - b.y};
}
inline Point operator*(Point a, float s) {
  return {a.x * s, a.y * s};
}
inline float dot(Point a, Point b) {
  return a.x * b.x + a.y * b.y;
}
inline float length(Point a) {
  return std::sqrt(dot(a, a));
}
inline Point rotated(Point a, float angle) {
  float c = std::cos(angle), s = std::sin(angle);
  return {c * a.x - s * a.y, s * a.x + c * a.y};
}

/// Places a drawing's own coordinates (y down) on the canvas: turned, scaled, mirrored if `scale_x` is negative, moved.
struct Frame {
  Point origin;       // in pixels
  float scale = 1;    // pixels a unit
  float angle = 0;    // clockwise, in radians
  float scale_x = 1;  // 1 or -1
  Point to_pixels(Point p) const { return origin + rotated({p.x * scale_x, p.y}, angle) * scale; }
  Point from_pixels(Point p) const {
    Point local = rotated((p - origin) * (1 / scale), -angle);
    return {local.x * scale_x, local.y};
  }
  /// A frame inside this one.
  Frame inner(Point at, float turn) const { return {to_pixels(at), scale, angle + turn * scale_x, scale_x}; }
};

/// An ellipse with half axes rx and ry, turned. The distance is a first-order one: exact at the edge.
struct Ellipse {
  Point center;
  float rx = 1, ry = 1, angle = 0;
  float distance(Point p) const {
    Point q = rotated(p - center, -angle);
    float k0 = length({q.x / rx, q.y / ry}), k1 = length({q.x / (rx * rx), q.y / (ry * ry)});
    return k1 > 0 ? k0 * (k0 - 1) / k1 : -std::min(rx, ry);
  }
  float reach() const { return std::max(rx, ry); }
  Point middle() const { return center; }
};

/// A polygon with rounded corners (radius `round` is added all around).
struct Polygon {
  std::vector<Point> points;
  float round = 0;
  float distance(Point p) const;
  float reach() const;
  Point middle() const;
};

/// A line through points, thickness (radius) going from r0 to r1.
struct Stroke {
  std::vector<Point> points;
  float r0 = 0.1f, r1 = 0.1f;
  float distance(Point p) const;
  float reach() const;
  Point middle() const;
};

/// Points on the cubic Bezier curve a, b, c, d.
std::vector<Point> curve(Point a, Point b, Point c, Point d, int pieces = 12);

/// Smooth noise in 0 to 1 with features of size one, the same for the same seed.
float noise(Point p, uint32_t seed);

class Canvas {
 public:
  explicit Canvas(int size) : size_(size), pixels_(size_t(size) * size) {}
  int size() const { return size_; }
  Color& at(int x, int y) { return pixels_[size_t(y) * size_ + x]; }

  /// Paints a shape: paint(place, distance) gives its colour. The edge is `soft` units wide beyond a pixel's width.
  template <typename Shape, typename Paint>
  void fill(const Frame& frame, const Shape& shape, Paint paint, float opacity = 1, float soft = 0) {
    Point middle = frame.to_pixels(shape.middle());
    float reach = (shape.reach() + soft) * frame.scale + 2, edge = 1 + soft * frame.scale;
    int left = std::max(0, int(middle.x - reach)), right = std::min(size_ - 1, int(middle.x + reach));
    int top = std::max(0, int(middle.y - reach)), bottom = std::min(size_ - 1, int(middle.y + reach));
    for (int y = top; y <= bottom; ++y) {
      for (int x = left; x <= right; ++x) {
        Point p = frame.from_pixels({float(x) + 0.5f, float(y) + 0.5f});
        float distance = shape.distance(p);
        float cover = std::clamp(0.5f - distance * frame.scale / edge, 0.0f, 1.0f) * opacity;
        if (cover > 0) at(x, y) = mix(at(x, y), paint(p, distance), cover);
      }
    }
  }
  template <typename Shape>
  void fill(const Frame& frame, const Shape& shape, Color color, float opacity = 1, float soft = 0) {
    fill(
        frame, shape, [color](Point, float) { return color; }, opacity, soft);
  }

  /// Colours every pixel by paint(place), x and y from 0 to 1.
  template <typename Paint>
  void cover(Paint paint) {
    for (int y = 0; y < size_; ++y) {
      for (int x = 0; x < size_; ++x) at(x, y) = paint(Point{(x + 0.5f) / size_, (y + 0.5f) / size_}, at(x, y));
    }
  }

  Image image() const;

 private:
  int size_;
  std::vector<Color> pixels_;
};

}  // namespace weft::drawing
