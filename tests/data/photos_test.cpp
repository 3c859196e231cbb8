// Real photos and digits, where the environment's WEFT_DATA names a folder with catsdogs/ and mnist/.

#include <doctest/doctest.h>

#include <cmath>

#include "data/idx.h"
#include "data/image_folder.h"
#include "data/loader.h"
#include "tests/data/pictures.h"
#include "tests/real_data.h"

namespace weft::test {
namespace {

TEST_CASE("the photos of cats and dogs: none is unusable, batches look normalised, threads do not matter") {
  std::string path = real_data("catsdogs");
  if (path.empty()) return;
  ImageFolder data(path, {.size = 64});
  CHECK(data.classes() == std::vector<std::string>{"cats", "dogs"});
  CHECK(data.train()->size() == 2000);
  CHECK(data.valid()->size() == 500);
  CHECK(data.unusable() == 0);
  LoaderOptions options{.batch = 50, .shuffle = true, .threads = 1, .seed = 1};
  Loader one(data.train(), options);
  options.threads = 4;
  Loader four(data.train(), options);
  Batch a, b;
  one.start(3);
  four.start(3);
  double sum = 0, square = 0, count = 0;
  for (int i = 0; i < 6; ++i) {
    REQUIRE(one.next(a));
    REQUIRE(four.next(b));
    auto x = a.images.values<float>(), y = b.images.values<float>();
    CHECK(std::equal(x.begin(), x.end(), y.begin(), y.end()));
    CHECK(a.indices == b.indices);
    for (float v : x) {
      sum += v;
      square += double(v) * v;
      count += 1;
    }
  }
  CHECK(std::abs(sum / count) < 0.4);
  CHECK(square / count > 0.6);
  CHECK(square / count < 1.8);
  CHECK(one.failures() == 0);
}

TEST_CASE("MNIST: its counts, its mean and its deviation") {
  std::string path = real_data("mnist");
  if (path.empty()) return;
  LabelledData data = open_dataset(path);
  CHECK(data.classes().size() == 10);
  CHECK(data.train()->size() == 60000);
  CHECK(data.valid()->size() == 10000);
  CHECK(data.train()->label(0) == 5);
  CHECK(data.valid()->label(0) == 7);
  Loader loader(data.train(), {.batch = 1000, .threads = 2});
  Batch batch;
  double sum = 0, square = 0, count = 0;
  for (loader.start(0); loader.next(batch);) {
    for (float v : batch.images.values<float>()) {
      sum += v;
      square += double(v) * v;
      count += 1;
    }
  }
  CHECK(count == 60000.0 * 784);
  CHECK(std::abs(sum / count) < 1e-3);
  CHECK(std::abs(square / count - 1) < 1e-3);
}

}  // namespace
}  // namespace weft::test
