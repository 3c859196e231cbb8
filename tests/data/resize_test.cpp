// Resizing, bit for bit against Pillow's results in fixtures/resize (make_fixtures.py wrote them).

#include "data/resize.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>

#include "kernels/philox.h"
#include "tests/data/pictures.h"

namespace weft::test {
namespace {

TEST_CASE("resize equals Pillow's, larger, smaller, odd and to a single pixel") {
  Image base = read_image(fixture("resize/base.png"));
  for (Size size : {Size{61, 47},
                    {30, 23},
                    {17, 13},
                    {61, 20},
                    {25, 47},
                    {1, 1},
                    {7, 90},
                    {100, 80},
                    {122, 94},
                    {3, 2},
                    {60, 46}}) {
    CAPTURE(size.width);
    CAPTURE(size.height);
    std::string name = "resize/" + std::to_string(size.width) + "x" + std::to_string(size.height) + ".png";
    CHECK(largest_difference(resize(base, size.width, size.height), read_image(fixture(name))) == 0);
  }
}

TEST_CASE("resize of a part equals Pillow's box") {
  Image base = read_image(fixture("resize/base.png"));
  std::ifstream boxes(fixture("resize/box.txt"));
  int width, height, count = 0;
  for (FloatBox box; boxes >> width >> height >> box.left >> box.top >> box.right >> box.bottom; ++count) {
    CAPTURE(count);
    Image expected = read_image(fixture("resize/box" + std::to_string(count) + ".png"));
    CHECK(largest_difference(resize(base, width, height, box), expected) == 0);
  }
  CHECK(count == 5);
}

TEST_CASE("a window is a part of the whole result, a crop a part of the source") {
  Image base = read_image(fixture("resize/base.png"));
  FloatBox all{0, 0, 61, 47};
  Philox random(3, 0);
  for (Size size : {Size{40, 31}, {90, 70}, {5, 4}}) {
    Image whole = resize(base, size.width, size.height);
    for (int i = 0; i < 30; ++i) {
      Box window;
      window.x = int(random.below(uint32_t(size.width)));
      window.y = int(random.below(uint32_t(size.height)));
      window.width = 1 + int(random.below(uint32_t(size.width - window.x)));
      window.height = 1 + int(random.below(uint32_t(size.height - window.y)));
      Image part(window.width, window.height);
      resize_window(base, size.width, size.height, all, window, part.rgb.data());
      for (int y = 0; y < window.height; ++y) {
        CHECK(std::memcmp(part.row(y), whole.row(window.y + y) + 3 * window.x, size_t(3) * window.width) == 0);
      }
    }
  }
  Image copy(20, 15);
  for (int y = 0; y < 15; ++y) std::memcpy(copy.row(y), base.row(30 + y) + 3 * 41, 60);
  CHECK(largest_difference(resize(ImageView(base).crop({41, 30, 20, 15}), 9, 9), resize(copy, 9, 9)) == 0);
}

TEST_CASE("white stays white and black black, however far the way") {
  for (uint8_t value : {0, 1, 128, 254, 255}) {
    Image flat(97, 61);
    std::memset(flat.rgb.data(), value, flat.rgb.size());
    for (Size size : {Size{3, 2}, {50, 50}, {400, 300}}) {
      Image out = resize(flat, size.width, size.height);
      for (uint8_t v : out.rgb) REQUIRE(int(v) == int(value));
    }
  }
}

TEST_CASE("the short side follows torchvision's rule") {
  CHECK(short_side_to(500, 375, 224) == Size{298, 224});  // int(224 * 500 / 375) = int(298.67)
  CHECK(short_side_to(375, 500, 224) == Size{224, 298});
  CHECK(short_side_to(100, 100, 64) == Size{64, 64});
  CHECK(short_side_to(1, 1, 224) == Size{224, 224});
  CHECK(short_side_to(1, 3, 10) == Size{10, 30});
}

TEST_CASE("impossible sizes and boxes are refused") {
  Image base = gradient(10, 8, 1);
  CHECK(contains(error_of([&] { resize(base, 0, 5); }), "cannot be"));
  CHECK(contains(error_of([&] { resize(base, 5, 5, {0, 0, 11, 8}); }), "not inside the picture of 10 x 8"));
  CHECK(contains(error_of([&] { resize(base, 5, 5, {4, 0, 4, 8}); }), "is empty or not inside"));
  CHECK(contains(error_of([] { short_side_to(1, 100000000, 224); }), "too long and thin"));
}

}  // namespace
}  // namespace weft::test
