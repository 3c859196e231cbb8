// Contact sheets: what they show is what a training loader hands to the model.

#include "data/sheet.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "data/loader.h"
#include "data/mixup.h"
#include "tests/data/pictures.h"

namespace weft::test {
namespace {

/// Noise, of which index and random stream have a say. Some items cannot be read.
class Noise : public Dataset {
 public:
  Noise(int64_t size, std::set<int64_t> broken = {}) : size_(size), broken_(std::move(broken)) {}
  int64_t size() const override { return size_; }
  ItemShape shape() const override { return {3, 5, 3}; }
  int label(int64_t index) const override { return int(index % 2); }
  std::string name(int64_t index) const override { return "noise " + std::to_string(index); }
  bool augmented() const override { return true; }
  void load(int64_t index, Philox& random, float* item) const override {
    if (broken_.contains(index)) fail(name(index) + ": broken");
    for (int64_t i = 0; i < shape().size(); ++i) item[i] = random.uniform() + 0.01f * float(index);
  }

 private:
  int64_t size_;
  std::set<int64_t> broken_;
};

const Normalization kNormalization = {{0.1f, 0.2f, 0.3f}, {1.5f, 1.6f, 1.7f}};

/// The first `count` items of an epoch's first batch, as training blends it.
std::vector<Image> of_first_batch(const std::shared_ptr<const Dataset>& data, int64_t size, int64_t count, double mixup,
                                  int64_t epoch = 0) {
  Loader loader(data, {.batch = size, .shuffle = true, .seed = 7, .warn = [](const std::string&) {}});
  Batch batch;
  loader.start(epoch);
  REQUIRE(loader.next(batch));
  float* items = batch.images.values<float>().data();
  std::vector<float> scratch;
  if (mixup > 0)
    mix_rows(items, data->shape().size(), draw_mixture(mixup, 7, epoch, batch.number, batch.count()), scratch);
  std::vector<Image> pictures;
  for (int64_t i = 0; i < count; ++i)
    pictures.push_back(from_floats(items + i * data->shape().size(), data->shape(), kNormalization));
  return pictures;
}

TEST_CASE("a contact sheet is its pictures in rows, with gaps between") {
  Image image = read_image(fixture("resize/base.png"));  // 61 x 47
  const Normalization normalization = imagenet_normalization();
  std::vector<float> item(image.rgb.size());
  to_floats(image, normalization, item.data());
  CHECK(largest_difference(from_floats(item.data(), {47, 61, 3}, normalization), image) == 0);
  Image sheet = contact_sheet({image, image, image}, 2);
  CHECK(sheet.width == 2 * 61 + 3 * kSheetGap);
  CHECK(sheet.height == 2 * 47 + 3 * kSheetGap);
  for (int y = 0; y < 47; ++y)
    CHECK(std::memcmp(sheet.row(47 + 2 * kSheetGap + y) + 3 * kSheetGap, image.row(y), size_t(3) * 61) == 0);
  CHECK(contains(error_of([&] { contact_sheet({image, Image(3, 3)}, 2); }), "3 x 3"));
}

TEST_CASE("a contact sheet's cells are the first of the loader's own first batch, to the byte") {
  for (const auto& data : {std::make_shared<Noise>(40), std::make_shared<Noise>(40, std::set<int64_t>{0, 3, 11, 20})})
    for (const double mixup : {0.0, 1.0}) {
      CAPTURE(mixup);
      const auto sheet = [&](int64_t batch) {
        return contact_sheet(*data, kNormalization, {.seed = 7, .count = 16, .batch = batch, .mixup = mixup});
      };
      CHECK(sheet(24).rgb == contact_sheet(of_first_batch(data, 24, 16, mixup), 8).rgb);
      CHECK(sheet(64).rgb == contact_sheet(of_first_batch(data, 64, 16, mixup), 8).rgb);
      // Partners are drawn from all of a batch, so that mixup's pictures are others in a batch of another size.
      CHECK((sheet(24).rgb == sheet(32).rgb) == (mixup == 0));
    }
}

TEST_CASE("a contact sheet of versions has an epoch's in each column, and goes on into the next batch") {
  const auto data = std::make_shared<Noise>(40);
  const auto sheet = [&](double mixup) {
    return contact_sheet(*data, kNormalization,
                         {.seed = 7, .epoch = 2, .count = 6, .batch = 4, .versions = 3, .mixup = mixup});
  };
  const Image plain = sheet(0), mixed = sheet(1);
  CHECK(plain.width == 3 * 5 + 4 * kSheetGap);
  CHECK(plain.height == 6 * 3 + 7 * kSheetGap);
  const auto cell = [](const Image& image, int row, int column) {
    std::vector<uint8_t> bytes;
    for (int y = 0; y < 3; ++y) {
      const uint8_t* from =
          image.row(kSheetGap + row * (3 + kSheetGap) + y) + 3 * (kSheetGap + column * (5 + kSheetGap));
      bytes.insert(bytes.end(), from, from + 3 * 5);
    }
    return bytes;
  };
  const std::vector<Image> first = of_first_batch(data, 4, 4, 0, 2), blended = of_first_batch(data, 4, 4, 1, 2);
  const std::vector<int64_t> order = Loader::order(40, true, 7, 2);
  for (int row = 0; row < 6; ++row) {
    CAPTURE(row);
    if (row < 4) CHECK(cell(plain, row, 0) == first[size_t(row)].rgb);
    if (row < 4) CHECK(cell(mixed, row, 0) == blended[size_t(row)].rgb);
    for (int version = 0; version < 3; ++version) {
      std::vector<float> item(size_t(data->shape().size()));
      Philox random = item_random(7, 2 + version, order[size_t(row)]);
      data->load(order[size_t(row)], random, item.data());
      CHECK(cell(plain, row, version) == from_floats(item.data(), data->shape(), kNormalization).rgb);
    }
  }
}

}  // namespace
}  // namespace weft::test
