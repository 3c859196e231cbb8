#pragma once
// Inside data/ only: what ImageReader asks of a file format.

#include <memory>
#include <span>
#include <string>

#include "data/image.h"

namespace weft {

/// A decoder of one picture. Sizes and regions are the file's own, before orientation.
class Codec {
 public:
  virtual ~Codec() = default;
  virtual const char* format() const = 0;
  /// Decodes a region that lies inside the picture. See ImageReader::read.
  virtual Image read(Box region, int reduce) = 0;

  int width = 0;
  int height = 0;
  int orientation = 1;  // EXIF's, 1 to 8
  int warnings = 0;
  std::string first_warning;
};

/// `bytes` must outlive the codec. Throws Error with a reason that starts with the name.
std::unique_ptr<Codec> open_jpeg(std::span<const uint8_t> bytes, const std::string& name);
std::unique_ptr<Codec> open_png(std::span<const uint8_t> bytes, const std::string& name);

/// The orientation in a block of EXIF data that starts with "Exif\0\0"; 1 if it holds none.
int exif_orientation(std::span<const uint8_t> exif);

/// Throws Error if a picture of this size is empty or over kMaxPixels.
void check_picture_size(int64_t width, int64_t height, const std::string& name);

}  // namespace weft
