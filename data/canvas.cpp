#include "data/canvas.h"

namespace weft::drawing {

namespace {

float hash(int x, int y, uint32_t seed) {
  uint32_t h = seed ^ (uint32_t(x) * 0x9E3779B1u) ^ (uint32_t(y) * 0x85EBCA77u);
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  h = (h ^ (h >> 12)) * 0x297A2D39u;
  return float((h ^ (h >> 15)) >> 8) * 0x1p-24f;
}

float reach_of(const std::vector<Point>& points, Point middle) {
  float reach = 0;
  for (Point p : points) reach = std::max(reach, length(p - middle));
  return reach;
}

Point middle_of(const std::vector<Point>& points) {
  Point low = points[0], high = points[0];
  for (Point p : points) {
    low = {std::min(low.x, p.x), std::min(low.y, p.y)};
    high = {std::max(high.x, p.x), std::max(high.y, p.y)};
  }
  return (low + high) * 0.5f;
}

}  // namespace

Color hsv(float hue, float saturation, float value) {
  auto channel = [&](float n) {
    float k = std::fmod(n + hue * 6, 6.0f);
    return value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0f, 1.0f));
  };
  return {channel(5), channel(3), channel(1)};
}

// Inigo Quilez, "2D distance functions" (iquilezles.org): nearest edge, sign by winding.
float Polygon::distance(Point p) const {
  float nearest = dot(p - points[0], p - points[0]);
  bool inside = false;
  for (size_t i = 0, j = points.size() - 1; i < points.size(); j = i++) {
    Point edge = points[j] - points[i], to = p - points[i];
    Point off = to - edge * std::clamp(dot(to, edge) / dot(edge, edge), 0.0f, 1.0f);
    nearest = std::min(nearest, dot(off, off));
    bool above = p.y >= points[i].y, below = p.y<points[j].y, left = edge.x * to.y> edge.y * to.x;
    if ((above && below && left) || (!above && !below && !left)) inside = !inside;
  }
  return (inside ? -std::sqrt(nearest) : std::sqrt(nearest)) - round;
}

Point Polygon::middle() const {
  return middle_of(points);
}
float Polygon::reach() const {
  return reach_of(points, middle()) + round;
}

float Stroke::distance(Point p) const {
  float nearest = 1e9f;
  float pieces = float(points.size() - 1);
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    Point along = points[i + 1] - points[i], to = p - points[i];
    float t = std::clamp(dot(to, along) / std::max(dot(along, along), 1e-12f), 0.0f, 1.0f);
    float radius = r0 + (r1 - r0) * (float(i) + t) / pieces;
    nearest = std::min(nearest, length(to - along * t) - radius);
  }
  return nearest;
}

Point Stroke::middle() const {
  return middle_of(points);
}
float Stroke::reach() const {
  return reach_of(points, middle()) + std::max(r0, r1);
}

std::vector<Point> curve(Point a, Point b, Point c, Point d, int pieces) {
  std::vector<Point> points;
  for (int i = 0; i <= pieces; ++i) {
    float t = float(i) / float(pieces), s = 1 - t;
    points.push_back(a * (s * s * s) + b * (3 * s * s * t) + c * (3 * s * t * t) + d * (t * t * t));
  }
  return points;
}

float noise(Point p, uint32_t seed) {
  float fx = std::floor(p.x), fy = std::floor(p.y);
  int x = int(fx), y = int(fy);
  float u = p.x - fx, v = p.y - fy;
  u = u * u * (3 - 2 * u);
  v = v * v * (3 - 2 * v);
  float top = hash(x, y, seed) * (1 - u) + hash(x + 1, y, seed) * u;
  float bottom = hash(x, y + 1, seed) * (1 - u) + hash(x + 1, y + 1, seed) * u;
  return top * (1 - v) + bottom * v;
}

Image Canvas::image() const {
  Image image(size_, size_);
  for (size_t i = 0; i < pixels_.size(); ++i) {
    const float channels[] = {pixels_[i].r, pixels_[i].g, pixels_[i].b};
    for (size_t c = 0; c < 3; ++c) {
      image.rgb[3 * i + c] = uint8_t(std::lround(std::clamp(channels[c], 0.0f, 1.0f) * 255));
    }
  }
  return image;
}

}  // namespace weft::drawing
