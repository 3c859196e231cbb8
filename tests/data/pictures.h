#pragma once
// Pictures to test with: fixtures and drawn ones.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "data/image.h"
#include "tests/temporary_folder.h"

namespace weft::test {

inline std::string fixture(const std::string& name) {
  return std::string(WEFT_FIXTURES) + "/" + name;
}

/// A picture of one colour with a gradient over it, so that no two columns or rows agree.
inline Image gradient(int width, int height, uint8_t red) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = red;
      pixel[1] = uint8_t(x * 255 / width);
      pixel[2] = uint8_t(y * 255 / height);
    }
  }
  return image;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The largest difference of any two values; 256 if the sizes differ.
inline int largest_difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) largest = std::max(largest, std::abs(int(a.rgb[i]) - int(b.rgb[i])));
  return largest;
}

}  // namespace weft::test
