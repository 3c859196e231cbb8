#include "data/image.h"

#include <fmt/format.h>
#include <libexif/exif-data.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "data/codec.h"
#include "kernels/error.h"

namespace weft {

namespace {

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};

bool starts_with(std::span<const uint8_t> bytes, std::string_view magic, size_t at = 0) {
  return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

bool looks_like_text(std::span<const uint8_t> head) {
  return std::all_of(head.begin(), head.begin() + std::min<size_t>(head.size(), 256),
                     [](uint8_t c) { return c >= 32 || c == '\n' || c == '\r' || c == '\t' || c == '\f'; });
}

void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::unique_ptr<FILE, FileCloser> file(std::fopen(path.c_str(), "wb"));
  if (!file) fail(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
  bool written = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
  written = std::fclose(file.release()) == 0 && written;
  if (!written) {
    int reason = errno;
    std::remove(path.c_str());
    fail(fmt::format("{}: cannot be written: {}", path, std::strerror(reason)));
  }
}

std::unique_ptr<Codec> open_codec(std::span<const uint8_t> bytes, const std::string& name) {
  if (bytes.empty()) fail(fmt::format("{}: the file is empty (0 bytes)", name));
  std::string format = sniff_format(bytes);
  if (format == "JPEG") return open_jpeg(bytes, name);
  if (format == "PNG") return open_png(bytes, name);
  if (format.empty()) fail(fmt::format("{}: not a picture that Weft reads (JPEG or PNG)", name));
  if (format == "text") fail(fmt::format("{}: a text file, not a picture; Weft reads JPEG and PNG", name));
  fail(fmt::format("{}: a {} file; Weft reads JPEG and PNG, so convert it first", name, format));
}

// The region of the file's own pixels that an upright region is made of.
Box to_file_region(Box upright, int orientation, int file_width, int file_height) {
  Box box = upright;
  if (orientation >= 5) {  // the file's rows are columns when looked at
    std::swap(box.x, box.y);
    std::swap(box.width, box.height);
  }
  bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  if (mirror_x) box.x = file_width - box.x - box.width;
  if (mirror_y) box.y = file_height - box.y - box.height;
  return box;
}

}  // namespace

Image::Image(int width, int height) : width(width), height(height) {
  if (width < 1 || height < 1) fail(fmt::format("a picture cannot be {} x {} pixels", width, height));
  rgb.resize(size_t(width) * height * 3);
}

std::vector<uint8_t> read_file_bytes(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail(fmt::format("{}: a folder, where a file is wanted", path));
  std::unique_ptr<FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (!file) fail(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  std::vector<uint8_t> bytes;
  auto size = std::filesystem::file_size(path, ignored);
  bytes.resize(ignored ? 65536 : size + 1);  // one more, so that the first read meets the end
  size_t used = 0;
  while (size_t n = std::fread(bytes.data() + used, 1, bytes.size() - used, file.get())) {
    used += n;
    if (used == bytes.size()) bytes.resize(2 * used);
  }
  if (std::ferror(file.get())) fail(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  bytes.resize(used);
  return bytes;
}

std::string sniff_format(std::span<const uint8_t> head) {
  using namespace std::string_view_literals;
  if (starts_with(head, "\xff\xd8\xff"sv)) return "JPEG";
  if (starts_with(head, "\x89PNG\r\n\x1a\n"sv)) return "PNG";
  if (starts_with(head, "GIF87a"sv) || starts_with(head, "GIF89a"sv)) return "GIF";
  if (starts_with(head, "RIFF"sv) && starts_with(head, "WEBP"sv, 8)) return "WebP";
  if (starts_with(head, "II*\0"sv) || starts_with(head, "MM\0*"sv)) return "TIFF";
  if (starts_with(head, "ftyp"sv, 4)) return "HEIC, AVIF or video";
  if (starts_with(head, "BM"sv) && !looks_like_text(head)) return "BMP";
  if (!head.empty() && looks_like_text(head)) return "text";
  return "";
}

void check_picture_size(int64_t width, int64_t height, const std::string& name) {
  if (width < 1 || height < 1) fail(fmt::format("{}: the header says {} x {} pixels", name, width, height));
  if (width * height > kMaxPixels) {
    fail(fmt::format("{}: {} x {} pixels are more than Weft decodes ({} million); shrink the picture first", name,
                     width, height, kMaxPixels / 1000000));
  }
}

int exif_orientation(std::span<const uint8_t> exif) {
  std::unique_ptr<ExifData, void (*)(ExifData*)> data(exif_data_new_from_data(exif.data(), unsigned(exif.size())),
                                                      exif_data_unref);
  if (!data) return 1;
  ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) return 1;
  int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

Image apply_orientation(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  bool transposed = orientation >= 5;
  Image out(transposed ? image.height : image.width, transposed ? image.width : image.height);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      Box from = to_file_region({x, y, 1, 1}, orientation, image.width, image.height);
      std::memcpy(out.row(y) + 3 * x, image.row(from.y) + 3 * from.x, 3);
    }
  }
  return out;
}

struct ImageReader::Impl {
  std::vector<uint8_t> bytes;
  std::string name;
  std::unique_ptr<Codec> codec;
};

ImageReader::ImageReader(std::vector<uint8_t> bytes, std::string name) : impl_(std::make_unique<Impl>()) {
  impl_->bytes = std::move(bytes);
  impl_->name = std::move(name);
  impl_->codec = open_codec(impl_->bytes, impl_->name);
}

ImageReader::ImageReader(const std::string& path) : ImageReader(read_file_bytes(path), path) {}
ImageReader::~ImageReader() = default;
ImageReader::ImageReader(ImageReader&&) noexcept = default;
ImageReader& ImageReader::operator=(ImageReader&&) noexcept = default;

int ImageReader::width() const {
  return impl_->codec->orientation >= 5 ? impl_->codec->height : impl_->codec->width;
}
int ImageReader::height() const {
  return impl_->codec->orientation >= 5 ? impl_->codec->width : impl_->codec->height;
}
bool ImageReader::can_reduce() const {
  return impl_->codec->orientation == 1 && impl_->codec->format() == std::string_view("JPEG");
}
int ImageReader::warnings() const {
  return impl_->codec->warnings;
}
const std::string& ImageReader::first_warning() const {
  return impl_->codec->first_warning;
}
const char* ImageReader::format() const {
  return impl_->codec->format();
}

Image ImageReader::read(Box region, int reduce) {
  Codec& codec = *impl_->codec;
  if (region.x < 0 || region.y < 0 || region.width < 1 || region.height < 1 || region.width > width() - region.x ||
      region.height > height() - region.y) {
    fail(fmt::format("{}: the region {} x {} at ({}, {}) is not inside the picture of {} x {}", impl_->name,
                     region.width, region.height, region.x, region.y, width(), height()));
  }
  if (reduce != 1 && !can_reduce()) fail(fmt::format("{}: cannot be decoded at a fraction of its size", impl_->name));
  Box file_region = to_file_region(region, codec.orientation, codec.width, codec.height);
  return apply_orientation(codec.read(file_region, reduce), codec.orientation);
}

Image read_image(const std::string& path) {
  return ImageReader(path).read();
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name) {
  return ImageReader({bytes.begin(), bytes.end()}, name).read();
}

void write_jpeg(const std::string& path, const Image& image, int quality) {
  write_file(path, encode_jpeg(image, quality));
}

void write_png(const std::string& path, const Image& image) {
  write_file(path, encode_png(image));
}

}  // namespace weft
