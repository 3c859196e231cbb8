#pragma once
// Resampling through an affine map: rotation, zoom, shift and mirror in one step, so that a picture is interpolated
// once however many of them were chosen.

#include "data/image.h"
#include "data/resize.h"

namespace weft {

/// (x, y) -> (a x + b y + c, d x + e y + f), in pixel coordinates, where pixel i covers i to i + 1.
struct Affine {
  double a = 1, b = 0, c = 0;
  double d = 0, e = 1, f = 0;

  /// First `inner`, then this one.
  Affine after(const Affine& inner) const;
  double x(double u, double v) const { return a * u + b * v + c; }
  double y(double u, double v) const { return d * u + e * v + f; }
  bool operator==(const Affine&) const = default;

  /// Counter-clockwise (as one looks at the picture) by `degrees` around (x, y).
  static Affine rotation(double degrees, double x, double y);
};

/// The part of a picture of width x height that warp() reads for an output of out_width x out_height.
Box warp_source(const Affine& to_picture, int out_width, int out_height, int width, int height);

/// An output of out_width x out_height whose pixel (u, v) shows the picture around to_picture(u + 1/2, v + 1/2). The
/// filter is that of resize(): a triangle, as wide as the output's pixels lie apart where that is more than a pixel, so
/// that every source pixel counts when a picture shrinks. It stands along the source's axes, which makes it exactly
/// resize()'s (but for one rounding less) where the map does not rotate. Beyond the picture's edge its mirror image
/// follows, edge pixel repeated (fast.ai's and OpenCV's BORDER_REFLECT).
///
/// `part` holds the rectangle `box` of a picture of width x height: at least what warp_source() names.
Image warp(const ImageView& part, Box box, int width, int height, const Affine& to_picture, int out_width,
           int out_height);

}  // namespace weft
