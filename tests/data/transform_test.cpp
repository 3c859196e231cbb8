// Transforms: torchvision's rules, the short cut through placements against the long way, and a user's own.

#include "data/transform.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "tests/data/pictures.h"

namespace weft::test {
namespace {

Image base() {
  return read_image(fixture("resize/base.png"));
}  // 61 x 47

TEST_CASE("CenterCrop rounds its offset half to even, and frames a small picture in black") {
  Philox random(0, 0);
  Image image = base();
  Image crop = CenterCrop(20).apply(image, random);  // (61 - 20) / 2 = 20.5 -> 20, (47 - 20) / 2 = 13.5 -> 14
  REQUIRE(crop.width == 20);
  REQUIRE(crop.height == 20);
  for (int y = 0; y < 20; ++y) CHECK(std::memcmp(crop.row(y), image.row(14 + y) + 60, 60) == 0);
  Image framed = CenterCrop(50).apply(image, random);  // rows: padded by 1 above and 2 below; columns: 5.5 -> 6
  for (int x = 0; x < 150; ++x) {
    CHECK(framed.row(0)[x] == 0);
    CHECK(framed.row(48)[x] == 0);
    CHECK(framed.row(49)[x] == 0);
  }
  for (int y = 0; y < 47; ++y) CHECK(std::memcmp(framed.row(1 + y), image.row(y) + 18, 150) == 0);
}

TEST_CASE("HorizontalFlip mirrors, and does so about half of the time") {
  Philox random(0, 0);
  Image image = base(), mirrored = HorizontalFlip(1).apply(image, random);
  for (int y = 0; y < 47; ++y) {
    for (int x = 0; x < 61; ++x) CHECK(std::memcmp(mirrored.row(y) + 3 * x, image.row(y) + 3 * (60 - x), 3) == 0);
  }
  CHECK(largest_difference(HorizontalFlip(0).apply(image, random), image) == 0);
  int flips = 0;
  for (int i = 0; i < 2000; ++i) {
    Placement placement = Placement::whole(4, 4);
    Philox stream = item_random(1, 0, i);
    HorizontalFlip().place(placement, stream);
    flips += placement.flipped;
  }
  CHECK(flips > 900);
  CHECK(flips < 1100);
}

TEST_CASE("RandomResizedCrop keeps to its area and ratio, and covers the picture") {
  RandomResizedCrop crop(224);
  double mean_area = 0;
  int left = 0, right = 0;
  constexpr int kDraws = 3000;
  for (int i = 0; i < kDraws; ++i) {
    Philox random = item_random(3, 1, i);
    Box box = crop.choose(500, 375, random);
    REQUIRE(box.x >= 0);
    REQUIRE(box.y >= 0);
    REQUIRE(box.x + box.width <= 500);
    REQUIRE(box.y + box.height <= 375);
    double area = double(box.width) * box.height / (500.0 * 375), ratio = double(box.width) / box.height;
    CHECK(area > 0.078);
    CHECK(area < 1.002);
    CHECK(ratio > 0.73);
    CHECK(ratio < 1.36);
    mean_area += area / kDraws;
    left += box.x == 0;
    right += box.x + box.width == 500;
  }
  CHECK(mean_area > 0.425);  // torchvision's mean is 0.433 +- 0.003: the largest areas fit few ratios
  CHECK(mean_area < 0.455);
  CHECK(left > 5);
  CHECK(right > 5);
}

TEST_CASE("RandomResizedCrop falls back to the middle of a thin picture") {
  Philox random(0, 0);
  RandomResizedCrop crop(10, {1.0, 1.0});
  CHECK(crop.choose(1000, 10, random) == Box{493, 0, 13, 10});  // 13 = round(10 * 4/3)
  CHECK(crop.choose(10, 1000, random) == Box{0, 493, 10, 13});
  CHECK(RandomResizedCrop(10).choose(1, 1, random) == Box{0, 0, 1, 1});
  CHECK(contains(error_of([] { RandomResizedCrop(10, {0.5, 0.1}); }), "must be positive and in order"));
}

TEST_CASE("validation is Resize and CenterCrop done one after the other") {
  for (int size : {16, 32, 47, 80}) {
    CAPTURE(size);
    Philox random(0, 0);
    ImageReader reader(fixture("resize/base.png"));
    Image quick = validation_transform(size).apply(reader, random);
    Image image = base();
    Size resized = short_side_to(61, 47, size);
    Image slow = CenterCrop(size).apply(resize(image, resized.width, resized.height), random);
    CHECK(largest_difference(quick, slow) == 0);
    CHECK(largest_difference(validation_transform(size).apply(image, random), slow) == 0);
  }
}

TEST_CASE("training from a file that is not decoded yet equals training from the decoded picture") {
  for (const std::string name : {"decode/s420.jpg", "decode/orientation8.jpg", "decode/rgb.png"}) {
    CAPTURE(name);
    Image image = read_image(fixture(name));
    for (int i = 0; i < 40; ++i) {
      Philox one = item_random(5, 2, i), two = item_random(5, 2, i), three = item_random(5, 2, i);
      ImageReader reader(fixture(name));
      Image quick = training_transform(24).apply(reader, one);
      CHECK(largest_difference(quick, training_transform(24).apply(image, two)) == 0);
      Box box = RandomResizedCrop(24).choose(image.width, image.height, three);
      Image slow = resize(ImageView(image).crop(box), 24, 24);
      if (three.next() < 0x80000000u) slow = HorizontalFlip(1).apply(slow, three);
      CHECK(largest_difference(quick, slow) == 0);
    }
  }
}

TEST_CASE("a fast decode stays near the exact one") {
  Image large = gradient(640, 480, 30);
  std::vector<uint8_t> bytes = encode_jpeg(large, 95);
  for (int i = 0; i < 20; ++i) {
    Philox one = item_random(9, 0, i), two = item_random(9, 0, i);
    ImageReader exact(bytes, "large"), fast(bytes, "large");
    Image a = training_transform(32).apply(exact, one, false), b = training_transform(32).apply(fast, two, true);
    CHECK(largest_difference(a, b) <= 8);
  }
}

// The example of DESIGN.md's "own transforms plug in": nothing of Weft knows of it.
class Invert : public Transform {
 public:
  Image apply(Image image, Philox&) const override {
    for (uint8_t& value : image.rgb) value = uint8_t(255 - value);
    return image;
  }
};

TEST_CASE("a user's transform takes its place among the others") {
  Philox random(0, 0);
  ImageReader reader(fixture("resize/base.png"));
  Image got = Transforms().then(Resize(30)).then(Invert()).then(CenterCrop(12)).apply(reader, random);
  Size size = short_side_to(61, 47, 30);
  Image expected = CenterCrop(12).apply(resize(base(), size.width, size.height), random);
  REQUIRE(got.rgb.size() == expected.rgb.size());
  for (size_t i = 0; i < got.rgb.size(); ++i) CHECK(int(got.rgb[i]) == 255 - int(expected.rgb[i]));
}

TEST_CASE("steps that do not combine are done one after the other") {
  Philox random(0, 0);
  ImageReader reader(fixture("resize/base.png"));
  Transforms steps = Transforms().then(CenterCrop(40)).then(Resize(20)).then(HorizontalFlip(1)).then(CenterCrop(9));
  Image got = steps.apply(reader, random);
  Image step = HorizontalFlip(1).apply(resize(CenterCrop(40).apply(base(), random), 20, 20), random);
  CHECK(largest_difference(got, CenterCrop(9).apply(step, random)) == 0);
}

TEST_CASE("to_floats is (value / 255 - mean) / std, channel by channel") {
  Image image = base();
  Normalization imagenet = imagenet_normalization();
  std::vector<float> out(image.rgb.size(), NAN);
  to_floats(image, imagenet, out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    double expected = (image.rgb[i] / 255.0 - imagenet.mean[i % 3]) / imagenet.std[i % 3];
    CHECK(std::abs(out[i] - expected) < 1e-6);
  }
  std::vector<float> grey(out.size() / 3, NAN);
  to_floats(image, mnist_normalization(), grey.data());
  for (size_t i = 0; i < grey.size(); ++i) {
    double luma = 0.299 * image.rgb[3 * i] + 0.587 * image.rgb[3 * i + 1] + 0.114 * image.rgb[3 * i + 2];
    CHECK(std::abs(grey[i] - (luma / 255 - 0.1307) / 0.3081) < 0.6 / 255 / 0.3081);
  }
  CHECK(contains(error_of([&] { to_floats(image, {{0, 0}, {1, 1}}, out.data()); }), "1 of each or 3"));
}

TEST_CASE("an item's random numbers differ by seed, epoch and index") {
  uint32_t first = item_random(1, 0, 0).next();
  CHECK(item_random(1, 0, 0).next() == first);
  CHECK(item_random(2, 0, 0).next() != first);
  CHECK(item_random(1, 1, 0).next() != first);
  CHECK(item_random(1, 0, 1).next() != first);
}

}  // namespace
}  // namespace weft::test
