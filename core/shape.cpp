#include "core/shape.h"

#include "kernels/error.h"

namespace weft {

namespace {

void check_extents(const std::vector<std::int64_t>& extents) {
  for (const std::int64_t extent : extents) {
    if (extent < 0) {
      fail("a shape has a negative extent: " + std::to_string(extent));
    }
  }
}

std::size_t position(int axis, const Shape& shape) {
  const int counted = axis < 0 ? axis + shape.rank() : axis;
  if (counted < 0 || counted >= shape.rank()) {
    fail("the shape " + to_string(shape) + " has no axis " + std::to_string(axis));
  }
  return static_cast<std::size_t>(counted);
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> extents) : extents_(extents) {
  check_extents(extents_);
}

Shape::Shape(std::vector<std::int64_t> extents) : extents_(std::move(extents)) {
  check_extents(extents_);
}

std::int64_t Shape::operator[](int axis) const {
  return extents_[position(axis, *this)];
}

void Shape::set(int axis, std::int64_t extent) {
  if (extent < 0) {
    fail("a shape has a negative extent: " + std::to_string(extent));
  }
  extents_[position(axis, *this)] = extent;
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : extents_) {
    if (extent == 0) {
      return 0;  // also where the other extents' product would not fit
    }
  }
  for (const std::int64_t extent : extents_) {
    if (__builtin_mul_overflow(product, extent, &product)) {
      fail("the shape " + to_string(*this) + " has more elements than 64 bits count");
    }
  }
  return product;
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (const std::int64_t extent : shape.extents()) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return text + ")";
}

}  // namespace weft
