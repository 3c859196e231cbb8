// Decoding: every kind of file against Pillow's pixels, and every bad file against its sentence.

#include "data/image.h"

#include <doctest/doctest.h>

#include <cstring>

#include "kernels/philox.h"
#include "tests/data/pictures.h"

namespace weft::test {
namespace {

Image crop(const Image& image, Box box) {
  Image out(box.width, box.height);
  for (int y = 0; y < box.height; ++y) {
    std::memcpy(out.row(y), image.row(box.y + y) + 3 * box.x, size_t(3) * box.width);
  }
  return out;
}

TEST_CASE("decoding gives Pillow's pixels for every kind of file") {
  int count = 0;
  for (const std::string path : {"rgb.png",          "grey.png",         "grey4.png",
                                 "bits.png",         "palette.png",      "palette_transparent.png",
                                 "rgba.png",         "grey_alpha.png",   "rgb16.png",
                                 "grey16.png",       "interlaced.png",   "turned.png",
                                 "one.png",          "s444.jpg",         "s422.jpg",
                                 "s420.jpg",         "progressive.jpg",  "grey.jpg",
                                 "cmyk.jpg",         "one.jpg",          "jpeg_named.png",
                                 "orientation1.jpg", "orientation2.jpg", "orientation3.jpg",
                                 "orientation4.jpg", "orientation5.jpg", "orientation6.jpg",
                                 "orientation7.jpg", "orientation8.jpg"}) {
    CAPTURE(path);
    Image got = read_image(fixture("decode/" + path));
    Image expected = read_image(fixture("decode/expected/" + path + ".png"));
    // Lossless files agree exactly; another libjpeg may round a JPEG's last bit otherwise.
    bool jpeg = contains(path, ".jpg") || contains(path, "jpeg_");
    CHECK(largest_difference(got, expected) <= (jpeg ? 1 : 0));
    ++count;
  }
  CHECK(count == 29);
}

TEST_CASE("a region has the pixels of the whole picture's crop") {
  Philox random(7, 0);
  for (const std::string name : {"s444.jpg", "s422.jpg", "s420.jpg", "progressive.jpg", "cmyk.jpg", "grey.jpg",
                                 "orientation6.jpg", "orientation7.jpg", "rgb.png", "interlaced.png"}) {
    CAPTURE(name);
    Image whole = read_image(fixture("decode/" + name));
    for (int i = 0; i < 40; ++i) {
      Box box;
      box.x = int(random.below(uint32_t(whole.width)));
      box.y = int(random.below(uint32_t(whole.height)));
      box.width = 1 + int(random.below(uint32_t(whole.width - box.x)));
      box.height = 1 + int(random.below(uint32_t(whole.height - box.y)));
      CAPTURE(box.x);
      CAPTURE(box.y);
      CHECK(largest_difference(ImageReader(fixture("decode/" + name)).read(box), crop(whole, box)) == 0);
    }
  }
}

TEST_CASE("a region of a picture of many blocks, in every sampling") {
  Philox random(8, 0);
  Image large(203, 157);
  for (uint8_t& value : large.rgb) value = uint8_t(random.next());
  std::vector<uint8_t> bytes = encode_jpeg(large, 90);
  Image whole = decode_image(bytes, "large");
  for (int i = 0; i < 100; ++i) {
    Box box;
    box.x = int(random.below(180));
    box.y = int(random.below(140));
    box.width = 1 + int(random.below(uint32_t(203 - box.x)));
    box.height = 1 + int(random.below(uint32_t(157 - box.y)));
    CHECK(largest_difference(ImageReader(bytes, "large").read(box), crop(whole, box)) == 0);
  }
}

TEST_CASE("a region must lie inside the picture") {
  for (Box box : {Box{-1, 0, 5, 5}, Box{0, 0, 38, 5}, Box{0, 28, 5, 2}, Box{3, 3, 0, 4}, Box{2147483647, 0, 2, 2}}) {
    std::string error = error_of([&] { ImageReader(fixture("decode/rgb.png")).read(box); });
    CHECK(contains(error, "is not inside the picture of 37 x 29"));
  }
}

TEST_CASE("a JPEG decoded at a fraction of its size is near the average of its pixels") {
  Image smooth = gradient(160, 96, 90);
  std::vector<uint8_t> bytes = encode_jpeg(smooth, 95);
  ImageReader reader(bytes, "smooth");
  REQUIRE(reader.can_reduce());
  Image half = reader.read({32, 16, 64, 48}, 2);
  REQUIRE(half.width == 32);
  REQUIRE(half.height == 24);
  for (int y = 0; y < 24; ++y) {
    for (int x = 0; x < 32; ++x) {
      CHECK(std::abs(half.row(y)[3 * x + 1] - smooth.row(16 + 2 * y)[3 * (32 + 2 * x) + 1]) <= 6);
    }
  }
  CHECK_FALSE(ImageReader(fixture("decode/orientation6.jpg")).can_reduce());
  CHECK_FALSE(ImageReader(fixture("decode/rgb.png")).can_reduce());
}

TEST_CASE("orientation turns pixels as EXIF says") {
  Image image(3, 2);  // a b c / d e f, in the red values
  for (int i = 0; i < 6; ++i) image.rgb[size_t(3 * i)] = uint8_t("abcdef"[i]);
  const char* turned[] = {"abcdef", "cbafed", "fedcba", "defabc", "adbecf", "daebfc", "fcebda", "cfbead"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    Image out = apply_orientation(image, orientation);
    CHECK(out.width == (orientation >= 5 ? 2 : 3));
    std::string letters;
    for (int i = 0; i < 6; ++i) letters += char(out.rgb[size_t(3 * i)]);
    CHECK(letters == turned[orientation - 1]);
  }
}

TEST_CASE("PNG keeps every value, JPEG comes close") {
  TemporaryFolder folder;
  Image image = gradient(33, 21, 120);
  write_png(folder / "a.png", image);
  CHECK(largest_difference(read_image(folder / "a.png"), image) == 0);
  write_jpeg(folder / "a.jpg", image, 95);
  CHECK(largest_difference(read_image(folder / "a.jpg"), image) <= 12);
  CHECK(std::string(ImageReader(folder / "a.jpg").format()) == "JPEG");
  CHECK(contains(error_of([&] { write_png(folder / "none/a.png", image); }), "cannot be written: No such file"));
}

TEST_CASE("what is no picture is said in a line that names the file") {
  TemporaryFolder folder;
  auto error = [](const std::string& path) { return error_of([&] { read_image(path); }); };
  auto says = [&](const std::string& path, const std::string& reason) {
    std::string got = error(path);
    CAPTURE(got);
    CHECK(got.starts_with(path + ": "));
    CHECK(contains(got, reason));
    CHECK_FALSE(contains(got, "\n"));
  };
  says(folder / "missing.jpg", "No such file or directory");
  says(folder.path().string(), "a folder, where a file is wanted");
  says(folder.write("text.jpg", std::string("These are words, not pixels.\n")), "a text file, not a picture");
  says(folder.write("empty.jpg", std::string()), "the file is empty (0 bytes)");
  says(folder.write("a.gif", std::string("GIF89a\1\0\1\0", 10)), "a GIF file; Weft reads JPEG and PNG");
  says(folder.write("a.webp", std::string("RIFF\1\2\3\4WEBPVP8 ", 16)), "a WebP file");
  says(folder.write("a.bmp", std::string("BM\0\0\1\0", 6)), "a BMP file");
  says(folder.write("a.jpg", std::string("\x01\x02\x03\xff\xfe", 5)), "not a picture that Weft reads");
  says(folder.write("head.jpg", std::string("\xff\xd8\xff\xe0", 4)), "the JPEG is cut short");
  std::vector<uint8_t> strange = read_file_bytes(fixture("decode/s444.jpg"));
  for (size_t i = 0; i + 4 < strange.size(); ++i) {
    if (strange[i] == 0xFF && strange[i + 1] == 0xC0) strange[i + 4] = 99;  // bits a sample, in the frame header
  }
  says(folder.write("strange.jpg", strange), "broken JPEG: Unsupported JPEG data precision 99");
  says(folder.write("head.png", std::string("\x89PNG\r\n\x1a\n\0\0", 10)), "cut short");
}

TEST_CASE("files that are cut short are refused wherever the cut is") {
  for (const std::string name :
       {"s420.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "interlaced.png", "palette.png"}) {
    CAPTURE(name);
    std::vector<uint8_t> bytes = read_file_bytes(fixture("decode/" + name));
    for (size_t keep : {size_t(20), bytes.size() / 3, bytes.size() / 2, bytes.size() * 9 / 10}) {
      CAPTURE(keep);
      std::string error = error_of([&] { decode_image({bytes.data(), keep}, "cut"); });
      CHECK(error.starts_with("cut: "));
    }
  }
  std::vector<uint8_t> bytes = read_file_bytes(fixture("decode/s420.jpg"));
  CHECK(contains(error_of([&] {
                   decode_image({bytes.data(), bytes.size() * 3 / 4}, "cut");
                 }),
                 "cut short (truncated)"));
  // All pixels are there and only the end marker is not: a whole picture.
  CHECK(largest_difference(decode_image({bytes.data(), bytes.size() - 2}, "a"), decode_image(bytes, "a")) == 0);
}

TEST_CASE("damage inside a JPEG is counted, and the picture still given, as Pillow does") {
  std::vector<uint8_t> bytes = read_file_bytes(fixture("decode/s444.jpg"));
  for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 12; ++i) bytes[i] = 0x55;
  bytes[bytes.size() * 3 / 4] = 0xFF;
  bytes[bytes.size() * 3 / 4 + 1] = 0xD9;  // an end marker in the middle
  ImageReader reader(bytes, "damaged");
  Image image = reader.read();
  CHECK(image.width == 37);
  CHECK(reader.warnings() >= 1);
  CHECK_FALSE(reader.first_warning().empty());
}

TEST_CASE("whatever bytes are changed, a file decodes or is refused with a sentence") {
  Philox random(11, 0);
  int refused = 0, decoded = 0;
  for (const std::string name : {"s420.jpg", "progressive.jpg", "cmyk.jpg", "orientation6.jpg", "rgb.png",
                                 "palette.png", "interlaced.png", "turned.png", "grey16.png"}) {
    const std::vector<uint8_t> bytes = read_file_bytes(fixture("decode/" + name));
    for (int round = 0; round < 150; ++round) {
      std::vector<uint8_t> changed = bytes;
      for (uint32_t i = 0; i <= random.below(4); ++i) {
        // The head, where sizes and tables stand, as often as all the rest.
        size_t reach = random.below(2) ? std::min<size_t>(changed.size(), 200) : changed.size();
        changed[2 + random.below(uint32_t(reach - 2))] = uint8_t(random.next());
      }
      if (random.below(4) == 0) changed.resize(1 + random.below(uint32_t(changed.size())));
      try {
        ImageReader reader(changed, name);
        if (int64_t(reader.width()) * reader.height() > 4000000) continue;  // a large claim is not worth the time
        Image image = reader.read();
        CHECK(image.rgb.size() == size_t(image.width) * image.height * 3);
        ++decoded;
      } catch (const Error& error) {
        CHECK(std::string(error.what()).starts_with(name + ": "));
        ++refused;
      }
    }
  }
  CHECK(decoded > 100);
  CHECK(refused > 100);
}

TEST_CASE("a picture that claims too many pixels is refused before memory is taken") {
  std::vector<uint8_t> png = read_file_bytes(fixture("decode/rgb.png"));
  auto claim = [&](size_t at, uint32_t value) {
    for (int i = 0; i < 4; ++i) png[at + size_t(i)] = uint8_t(value >> (24 - 8 * i));
  };
  claim(16, 30000);
  claim(20, 30000);
  uint32_t crc = 0xFFFFFFFFu;  // PNG specification, annex D
  for (size_t i = 12; i < 29; ++i) {
    crc ^= png[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
  }
  claim(29, ~crc);
  std::string error = error_of([&] { ImageReader(png, "bomb.png"); });
  CHECK(error == "bomb.png: 30000 x 30000 pixels are more than Weft decodes (178 million); shrink the picture first");
  CHECK(contains(error_of([] { Image(0, 4); }), "cannot be 0 x 4"));
}

}  // namespace
}  // namespace weft::test
