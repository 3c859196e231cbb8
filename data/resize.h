#pragma once
// Antialiased bilinear resizing, bit for bit Pillow's (src/libImaging/Resample.c): a triangle filter whose support
// grows with the shrinking, so that every source pixel counts. Rows first, rounded to 8 bits, then columns;
// coefficients are fixed-point numbers of 22 bits.

#include <cstdint>

#include "data/image.h"

namespace weft {

/// Pixels that belong to somebody else: (height, width, 3), a row every `stride` bytes. A crop is a view with a later
/// start and the same stride.
struct ImageView {
  const uint8_t* rgb = nullptr;
  int width = 0;
  int height = 0;
  int64_t stride = 0;

  ImageView() = default;
  ImageView(const Image& image)  // NOLINT: an Image is wanted where a view is
      : rgb(image.rgb.data()), width(image.width), height(image.height), stride(int64_t(3) * image.width) {}
  ImageView(const uint8_t* rgb, int width, int height, int64_t stride)
      : rgb(rgb), width(width), height(height), stride(stride) {}

  /// The part inside `box`, which must lie inside the view. No pixel is copied.
  ImageView crop(Box box) const { return {rgb + box.y * stride + int64_t(3) * box.x, box.width, box.height, stride}; }
};

/// A rectangle in pixel coordinates, where pixel i covers i to i + 1: floats, because Pillow's box is.
struct FloatBox {
  float left = 0;
  float top = 0;
  float right = 0;
  float bottom = 0;
};

/// The whole of `source`, resized to width x height: Pillow's image.resize((width, height), Image.BILINEAR).
Image resize(const ImageView& source, int width, int height);

/// The part of `source` inside `box`, resized to width x height: Pillow's resize(size, BILINEAR, box). Near the box's
/// edge the filter reaches pixels outside it, unlike with resize(source.crop(...)), which is torchvision's
/// resized_crop. Throws Error if the box is empty or not inside the source.
Image resize(const ImageView& source, int width, int height, FloatBox box);

/// The rectangle `window` of resize(source, width, height, box), without computing the rest. `out` is
/// (window.height, window.width, 3), dense.
void resize_window(const ImageView& source, int width, int height, FloatBox box, Box window, uint8_t* out);

/// torchvision's Resize(size): the short side becomes `size`, the long one int(size * long / short). Throws Error if
/// that is over 2^24.
struct Size {
  int width = 0;
  int height = 0;
  bool operator==(const Size&) const = default;
};
Size short_side_to(int width, int height, int size);

}  // namespace weft
