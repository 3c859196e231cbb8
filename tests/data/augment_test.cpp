// Augmentation: what each transform does to known pictures, and that composing them is one resampling of the same
// thing.

#include "data/augment.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <set>
#include <string>

#include "data/image_folder.h"
#include "data/loader.h"
#include "tests/data/pictures.h"

namespace weft::test {
namespace {

Image base() {
  return read_image(fixture("resize/base.png"));
}  // 61 x 47

Image warp_whole(const Image& image, const Affine& map, int width, int height) {
  return warp(image, {0, 0, image.width, image.height}, image.width, image.height, map, width, height);
}

/// The pixels, for a set of different pictures. (Of vectors of bytes in order GCC 12 warns by mistake.)
std::string pixels(const Image& image) {
  return {image.rgb.begin(), image.rgb.end()};
}

double mean_difference(const Image& a, const Image& b) {
  REQUIRE(a.rgb.size() == b.rgb.size());
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(int(a.rgb[i]) - int(b.rgb[i]));
  return sum / double(a.rgb.size());
}

TEST_CASE("a warp that changes nothing gives the picture, and one that only scales gives resize()'s") {
  Image image = base();
  CHECK(largest_difference(warp_whole(image, {}, 61, 47), image) == 0);
  for (auto [width, height] : {std::pair{20, 30}, {61, 20}, {100, 90}}) {
    CAPTURE(width);
    Image resized = resize(image, width, height);
    // Away from the edge, where the one mirrors and the other leaves out.
    Image warped = warp_whole(image, {61.0 / width, 0, 0, 0, 47.0 / height, 0}, width, height);
    int largest = 0;
    for (int y = 4; y < height - 4; ++y)
      for (int x = 12; x < 3 * width - 12; ++x)
        largest = std::max(largest, std::abs(int(warped.row(y)[x]) - int(resized.row(y)[x])));
    CHECK(largest <= 1);
  }
}

TEST_CASE("each of the eight symmetries is the warp through its own map, and a quarter turn is counter-clockwise") {
  Image image = base();
  std::set<std::string> seen;
  for (int turns = 0; turns < 4; ++turns) {
    for (bool flip : {false, true}) {
      Placement placement = Placement::whole(61, 47);
      placement.source = {5, 3, 40, 30};
      placement.width = 40;
      placement.height = 30;
      placement.window = {2, 4, 21, 17};
      if (flip) placement.flip();
      placement.turn(turns);
      Image exact = render(image, placement);
      Size size = placement.output();
      CHECK(exact.width == (turns % 2 ? 17 : 21));
      Image through_map = render(image, Placement::warped(placement.to_picture(), size));
      CHECK(largest_difference(exact, through_map) == 0);
      placement.flip();  // behind the turn
      Image mirrored = render(image, placement);
      for (int x = 0; x < size.width; ++x)
        CHECK(std::memcmp(mirrored.row(1) + 3 * x, exact.row(1) + 3 * (size.width - 1 - x), 3) == 0);
      seen.insert(pixels(exact));
    }
  }
  CHECK(seen.size() == 8);
  Placement quarter = Placement::whole(61, 47);
  quarter.turn(1);
  Image turned = render(image, quarter);
  CHECK(std::memcmp(turned.row(0), image.row(0) + 3 * 60, 3) == 0);  // the upper right corner comes to the upper left
  Affine map = Affine{1, 0, 7, 0, 1, -7}.after(Affine::rotation(-90, 23.5, 30.5));
  CHECK(largest_difference(warp_whole(image, map, 47, 61), turned) == 0);
}

TEST_CASE("RandomRotate turns around the middle, mirrors beyond the edge, and leaves a quarter of the pictures alone") {
  Image image = gradient(64, 64, 30);
  int still = 0;
  for (int i = 0; i < 400; ++i) {
    Philox random = item_random(1, 0, i);
    Placement placement = Placement::whole(64, 64);
    CHECK(RandomRotate(10).place(placement, random));
    if (!placement.warp) {
      ++still;
      continue;
    }
    CHECK(placement.warp->x(32, 32) == doctest::Approx(32));
    CHECK(placement.warp->y(32, 32) == doctest::Approx(32));
    CHECK(std::acos(placement.warp->a) * 180 / M_PI <= 10.0001);
  }
  CHECK(still > 70);
  CHECK(still < 130);
  // No black corner: the gradient's red is the same everywhere, mirrored or not.
  for (int i = 0; i < 20; ++i) {
    Philox random = item_random(2, 0, i);
    Image turned = RandomRotate(45, 1).apply(image, random);
    for (size_t at = 0; at < turned.rgb.size(); at += 3) CHECK(std::abs(turned.rgb[at] - 30) <= 1);
  }
  Placement framed = Placement::whole(10, 10);
  Philox random = item_random(0, 0, 0), same = item_random(0, 0, 0);
  CHECK(CenterCrop(20).place(framed, random));
  CHECK_FALSE(RandomRotate(10, 1).place(framed, random));
  CHECK(random.next() == same.next());  // nothing was drawn
}

TEST_CASE("zoom, rotation and flip are one resampling, near what step after step gives, and sharper") {
  Image image = read_image(fixture("decode/s420.jpg"));
  for (int i = 0; i < 10; ++i) {
    Philox one = item_random(4, 0, i), two = item_random(4, 0, i);
    const RandomZoom zoom(24, 1.2);
    const RandomRotate rotate(20, 1);
    Image at_once = Transforms().then(zoom).then(rotate).apply(image, one);
    Image stepwise = rotate.apply(zoom.apply(image, two), two);
    // Steps lose the pixels beyond the crop and blur twice: near, not the same.
    CHECK(mean_difference(at_once, stepwise) < 12);
    Philox again = item_random(4, 0, i);
    Placement placement = Placement::whole(image.width, image.height);
    REQUIRE(zoom.place(placement, again));
    Affine before = placement.to_picture();
    REQUIRE(rotate.place(placement, again));
    CHECK(placement.warp->x(12, 12) == doctest::Approx(before.x(12, 12)));
    CHECK(placement.output() == Size{24, 24});
  }
}

TEST_CASE("every set: undecoded and decoded pictures give the same bits, by seed, epoch and index alone") {
  for (const std::string& set : Augmentation::names()) {
    for (const std::string name : {"decode/s420.jpg", "decode/orientation8.jpg", "decode/rgb.png"}) {
      CAPTURE(set);
      CAPTURE(name);
      Augmentation augmentation;
      augmentation.set = set;
      augmentation.cutout = set == "top-down" ? 0.3 : 0;
      augmentation.erase = set == "side-on" ? 0.5 : 0;
      const Transforms transform = augmentation.transform(24);
      Image image = read_image(fixture(name));
      std::set<std::string> versions;
      for (int i = 0; i < 12; ++i) {
        Philox one = item_random(5, 2, i), two = item_random(5, 2, i);
        ImageReader reader(fixture(name));
        Image quick = transform.apply(reader, one), slow = transform.apply(image, two);
        REQUIRE(quick.width == 24);
        REQUIRE(quick.height == 24);
        // A set's first steps are one placement; done one by one they are several resamplings.
        if (set == "none" || set == "crop") CHECK(largest_difference(quick, slow) == 0);
        Philox three = item_random(5, 2, i);
        ImageReader again(fixture(name));
        CHECK(largest_difference(quick, transform.apply(again, three)) == 0);
        versions.insert(pixels(quick));
      }
      CHECK(versions.size() == (augmentation.random() ? 12 : 1));
    }
  }
  Augmentation wrong;
  wrong.set = "sideways";
  CHECK(contains(error_of([&] { wrong.transform(8); }), "one of none, crop, side-on, top-down"));
}

TEST_CASE("--augment crop without more is training_transform(), bit for bit") {
  for (int i = 0; i < 20; ++i) {
    Philox one = item_random(3, 1, i), two = item_random(3, 1, i);
    ImageReader a(fixture("decode/s420.jpg")), b(fixture("decode/s420.jpg"));
    CHECK(largest_difference(Augmentation().transform(20).apply(a, one), training_transform(20).apply(b, two)) == 0);
  }
}

TEST_CASE("RandomLighting is (v - mean) c + mean + 255 b, rounded and clipped") {
  Image image = base();
  double mean = 0;
  for (uint8_t value : image.rgb) mean += double(value) / double(image.rgb.size());
  for (int i = 0; i < 20; ++i) {
    Philox random = item_random(7, 0, i), copy = item_random(7, 0, i);
    double b = uniform(copy, -0.2, 0.2), r = uniform(copy, -0.3, 0.3), c = r < 0 ? 1 / (1 - r) : 1 + r;
    Image lit = RandomLighting(0.2, 0.3).apply(image, random);
    for (size_t at = 0; at < lit.rgb.size(); at += 37) {
      double wanted = std::clamp((image.rgb[at] - mean) * c + mean + 255 * b, 0.0, 255.0);
      CHECK(std::abs(lit.rgb[at] - wanted) <= 0.5001);
    }
  }
}

int count_of(const Image& image, const std::array<uint8_t, 3>& color) {
  int count = 0;
  for (size_t at = 0; at < image.rgb.size(); at += 3) count += std::equal(color.begin(), color.end(), &image.rgb[at]);
  return count;
}

TEST_CASE("Cutout makes square holes that the edge may cut; RandomErasing one rectangle inside") {
  Image image(40, 30);  // black
  int whole = 0;
  for (int i = 0; i < 60; ++i) {
    Philox random = item_random(8, 0, i);
    int hole = count_of(Cutout(10).apply(image, random), kMeanColor);
    CHECK(hole >= 25);
    CHECK(hole <= 100);
    whole += hole == 100;
  }
  CHECK(whole > 20);
  CHECK(whole < 60);
  int erased = 0;
  for (int i = 0; i < 200; ++i) {
    Philox random = item_random(9, 0, i);
    int count = count_of(RandomErasing(0.5, 0.1, 0.2).apply(image, random), kMeanColor);
    if (count == 0) continue;
    ++erased;
    CHECK(count > 0.07 * 1200);
    CHECK(count < 0.24 * 1200);
  }
  CHECK(erased > 70);
  CHECK(erased < 130);
}

TEST_CASE("the transforms refuse what makes no sense") {
  CHECK(contains(error_of([] { RandomZoom(8, 0.5); }), "zoom of up to 0.5"));
  CHECK(contains(error_of([] { RandomRotate(200); }), "up to 200 degrees"));
  CHECK(contains(error_of([] { RandomLighting(2, 0); }), "balance 2"));
  CHECK(contains(error_of([] { Cutout(0); }), "at least one"));
  CHECK(contains(error_of([] { RandomErasing(1.5); }), "probability of 1.5"));
}

}  // namespace
}  // namespace weft::test
