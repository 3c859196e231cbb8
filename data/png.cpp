// PNG through libpng (libpng-manual.txt). Transformations ask for 8-bit RGB whatever the file holds.

#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "data/codec.h"
#include "kernels/error.h"

namespace weft {

namespace {

// As in jpeg.cpp: an error jumps back to guarded(), which throws; nothing with a destructor lives between the two.
struct ErrorState {
  jmp_buf jump;
  char message[256];
  int warnings;
  char first_warning[256];
};

void keep(char (&to)[256], const char* message) {
  std::snprintf(to, sizeof to, "%s", message);
}

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto& errors = *static_cast<ErrorState*>(png_get_error_ptr(png));
  keep(errors.message, message);
  longjmp(errors.jump, 1);
}

void on_warning(png_structp png, png_const_charp message) {
  auto& errors = *static_cast<ErrorState*>(png_get_error_ptr(png));
  if (errors.warnings++ == 0) keep(errors.first_warning, message);
}

template <typename Step>
void guarded(ErrorState& errors, const std::string& name, const char* what, Step&& step) {
  if (setjmp(errors.jump)) fail(fmt::format("{}: {}: {}", name, what, errors.message));
  step();
}

class PngCodec : public Codec {
 public:
  PngCodec(std::span<const uint8_t> bytes, const std::string& name) : name_(name), left_(bytes) {
    std::memset(&errors_, 0, sizeof errors_);
    try {
      read_header();
    } catch (...) {
      png_destroy_read_struct(&png_, &info_, nullptr);
      throw;
    }
  }
  ~PngCodec() override { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngCodec(const PngCodec&) = delete;
  PngCodec& operator=(const PngCodec&) = delete;

  const char* format() const override { return "PNG"; }

  Image read(Box region, int) override {
    guarded(errors_, name_, "broken PNG", [&] {
      png_set_palette_to_rgb(png_);
      png_set_expand_gray_1_2_4_to_8(png_);
      png_set_strip_16(png_);
      png_set_gray_to_rgb(png_);
      png_set_strip_alpha(png_);
      passes_ = png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
    WEFT_CHECK(png_get_rowbytes(png_, info_) == size_t(width) * 3, "libpng gives 8-bit RGB");
    Image whole(width, height);
    uint8_t* pixels = whole.rgb.data();
    guarded(errors_, name_, "broken PNG", [&] {
      for (int pass = 0; pass < passes_; ++pass) {
        for (int y = 0; y < height; ++y) png_read_row(png_, pixels + size_t(y) * width * 3, nullptr);
      }
    });
    warnings = errors_.warnings;
    first_warning = errors_.first_warning;
    if (region == Box{0, 0, width, height}) return whole;
    Image image(region.width, region.height);
    for (int y = 0; y < region.height; ++y) {
      std::memcpy(image.row(y), whole.row(region.y + y) + 3 * region.x, size_t(3) * region.width);
    }
    return image;
  }

 private:
  void read_header() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) fail(fmt::format("{}: no memory for the PNG decoder", name_));
    guarded(errors_, name_, "broken PNG", [&] {
      png_set_read_fn(png_, this, [](png_structp png, png_bytep to, size_t count) {
        auto& self = *static_cast<PngCodec*>(png_get_io_ptr(png));
        if (count > self.left_.size()) png_error(png, "it is cut short (truncated)");
        std::memcpy(to, self.left_.data(), count);
        self.left_ = self.left_.subspan(count);
      });
      png_read_info(png_, info_);
    });
    width = int(png_get_image_width(png_, info_));
    height = int(png_get_image_height(png_, info_));
    check_picture_size(width, height, name_);
    read_orientation();
  }

  void read_orientation() {
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0 || size == 0) return;
    std::vector<uint8_t> block = {'E', 'x', 'i', 'f', 0, 0};
    block.insert(block.end(), exif, exif + size);
    orientation = exif_orientation(block);
#endif
  }

  std::string name_;
  std::span<const uint8_t> left_;  // what libpng has not read yet
  ErrorState errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
};

}  // namespace

std::unique_ptr<Codec> open_png(std::span<const uint8_t> bytes, const std::string& name) {
  return std::make_unique<PngCodec>(bytes, name);
}

std::vector<uint8_t> encode_png(const Image& image) {
  png_image header;
  std::memset(&header, 0, sizeof header);
  header.version = PNG_IMAGE_VERSION;
  header.width = png_uint_32(image.width);
  header.height = png_uint_32(image.height);
  header.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::vector<uint8_t> bytes(size);
  if (!png_image_write_to_memory(&header, bytes.data(), &size, 0, image.rgb.data(), 0, nullptr)) {
    fail(fmt::format("PNG encoder: failed: {}", header.message));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace weft
