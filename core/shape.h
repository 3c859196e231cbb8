#pragma once
// Extents of a tensor, outermost first.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace weft {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::vector<std::int64_t> extents);

  int rank() const { return static_cast<int>(extents_.size()); }
  /// Extent of an axis; a negative one counts from the end. Throws Error where there is no such axis.
  std::int64_t operator[](int axis) const;
  void set(int axis, std::int64_t extent);
  /// Product of the extents; 1 for rank 0.
  std::int64_t elements() const;
  const std::vector<std::int64_t>& extents() const { return extents_; }
  bool operator==(const Shape&) const = default;

 private:
  std::vector<std::int64_t> extents_;
};

/// "(32, 224, 224, 3)".
std::string to_string(const Shape& shape);

}  // namespace weft
