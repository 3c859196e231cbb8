#pragma once
// Pictures in memory, and the way in and out of JPEG and PNG files.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace weft {

/// A picture: `rgb` is (height, width, 3), 8 bits a value, row-major and dense.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;

  Image() = default;
  /// A black picture. Throws Error unless both sides are at least 1.
  Image(int width, int height);

  const uint8_t* row(int y) const { return rgb.data() + size_t(y) * width * 3; }
  uint8_t* row(int y) { return rgb.data() + size_t(y) * width * 3; }
};

/// A rectangle of whole pixels: columns x to x + width - 1, rows y to y + height - 1.
struct Box {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;

  bool operator==(const Box&) const = default;
};

/// The largest picture that is decoded, in pixels: twice Pillow's MAX_IMAGE_PIXELS, where Pillow refuses as well.
/// A few kilobytes of PNG can claim gigabytes of pixels ("decompression bomb").
constexpr int64_t kMaxPixels = 178956970;

/// A picture whose header has been read and whose pixels have not, so that a crop can be chosen from the size alone and
/// no more than the crop be decoded. The kind of file is told by its first bytes, never by its name.
///
/// Values are those of Pillow's ImageOps.exif_transpose(Image.open(path)).convert("RGB"): grey is repeated, CMYK and
/// YCCK are taken as Adobe's inverted ones, a palette is looked up, alpha is dropped rather than blended, 16-bit values
/// keep their high byte. One exception: 16-bit grey, which Pillow clips at 255 (almost all white) and which here keeps
/// its high byte like every other 16-bit picture.
class ImageReader {
 public:
  /// Takes over the bytes of a whole file. `name` is what errors call it. Throws Error: empty, not a JPEG or PNG (and
  /// what it looks like instead), a broken header, over kMaxPixels.
  ImageReader(std::vector<uint8_t> bytes, std::string name);
  /// Reads a file. Throws Error as above, or if it cannot be read.
  explicit ImageReader(const std::string& path);
  ~ImageReader();
  ImageReader(ImageReader&&) noexcept;
  ImageReader& operator=(ImageReader&&) noexcept;

  /// The size as it is looked at: after the orientation that EXIF asks for.
  int width() const;
  int height() const;

  /// The pixels of a rectangle: the same values as decoding everything and cropping, but a JPEG's rows below it are not
  /// read, and those above and beside it only so far as its Huffman code demands. May be called once.
  /// `reduce` of 2, 4 or 8 lets a JPEG be decoded at that fraction of its size through its DCT (region / reduce,
  /// rounded outward; the values then differ from Pillow's); it is 1 for everybody who does not ask for speed. Throws
  /// Error if the file is cut short or broken, or the region lies outside the picture.
  Image read(Box region, int reduce = 1);
  Image read() { return read({0, 0, width(), height()}); }

  /// Whether read() can take a `reduce` other than 1: upright JPEGs.
  bool can_reduce() const;
  /// How often the decoder met damaged data and went on, as Pillow does. Known after read().
  int warnings() const;
  /// The first of those warnings in the decoder's words, or "".
  const std::string& first_warning() const;
  /// "JPEG" or "PNG".
  const char* format() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads a whole picture. Throws Error, naming the file.
Image read_image(const std::string& path);
/// Decodes a whole picture from memory; `name` is what errors call it.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name);

/// Turns a picture as EXIF orientation 1 to 8 asks (EXIF 2.3, tag 0x0112); any other value leaves it.
Image apply_orientation(Image image, int orientation);

/// A whole file. Throws Error if it cannot be read.
std::vector<uint8_t> read_file_bytes(const std::string& path);

/// What a file looks like by its first bytes: "JPEG", "PNG", "GIF", "BMP", "WebP", "TIFF", "HEIC", "text", or "" if
/// unknown.
std::string sniff_format(std::span<const uint8_t> head);

/// JPEG, 4:2:0, quality 1 to 100. The same picture gives the same bytes.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality = 90);
std::vector<uint8_t> encode_png(const Image& image);
/// Throws Error if the file cannot be written; nothing is left of it then.
void write_jpeg(const std::string& path, const Image& image, int quality = 90);
void write_png(const std::string& path, const Image& image);

}  // namespace weft
