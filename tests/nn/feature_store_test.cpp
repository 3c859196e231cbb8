// Features are computed once for a trunk and its pictures, and again as soon as one of them is another.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "data/image_folder.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

/// Stripes that say what they depend on, and count what is loaded.
class Counted : public Stripes {
 public:
  Counted(std::int64_t size, std::string identity) : Stripes(size, 1), identity_(std::move(identity)) {}
  void load(std::int64_t index, Philox& random, float* item) const override {
    ++loaded;
    Stripes::load(index, random, item);
  }
  std::string identity() const override { return identity_; }
  mutable std::atomic<int> loaded{0};

 private:
  std::string identity_;
};

}  // namespace

TEST_CASE("a second training with the same trunk and pictures computes no features") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    const TemporaryFolder folder;
    const auto train = [&](const std::string& identity, std::uint64_t trunk_seed, int* loaded) {
      LearnerOptions options;
      options.device = device;
      options.threads = 1;
      options.batch = 8;
      options.freeze = true;
      options.feature_cache = folder / "cache";
      const auto data = std::make_shared<Counted>(20, identity), valid = std::make_shared<Counted>(9, "valid");
      Learner learn(tests::small_model(trunk_seed), data, valid, options);
      learn.fit(0.05, 2);
      *loaded = data->loaded + valid->loaded;
      return learn.model().state();
    };
    int loaded = 0;
    const StateDict first = train("train", 0, &loaded);
    CHECK(loaded == 29);
    CHECK(tests::same_bits(train("train", 0, &loaded), first));
    CHECK(loaded == 0);
    CHECK(tests::same_bits(train("other files", 0, &loaded), first));
    CHECK(loaded == 29);
    train("train", 1, &loaded);  // another trunk
    CHECK(loaded == 29);
    train("", 0, &loaded);  // pictures that cannot tell
    CHECK(loaded == 29);
    // What is broken is computed again.
    for (const auto& entry : std::filesystem::directory_iterator(folder / "cache"))
      std::filesystem::resize_file(entry.path(), 100);
    CHECK(tests::same_bits(train("train", 0, &loaded), first));
    CHECK(loaded == 29);
    train("train", 0, &loaded);
    CHECK(loaded == 0);
  }
}

TEST_CASE("pictures are others when a file, its time, the transform or the normalisation is") {
  const TemporaryFolder folder;
  const auto file = [&](const char* name) { return (folder / name).string(); };
  for (const char* name : {"a.jpg", "b.jpg"}) std::ofstream(file(name)) << name;
  const auto identity = [](std::vector<Sample> samples, int size, const Normalization& normalization,
                           bool augmented = false) {
    return PictureList(std::move(samples), size, validation_transform(size), normalization, augmented).identity();
  };
  const std::vector<Sample> both = {{file("a.jpg"), 0}, {file("b.jpg"), 1}};
  const std::string first = identity(both, 32, imagenet_normalization());
  CHECK_FALSE(first.empty());
  CHECK(identity(both, 32, imagenet_normalization()) == first);
  CHECK(identity({both[0]}, 32, imagenet_normalization()) != first);
  CHECK(identity({both[1], both[0]}, 32, imagenet_normalization()) != first);
  CHECK(identity({both[0], {both[1].path, 0}}, 32, imagenet_normalization()) != first);
  CHECK(identity(both, 64, imagenet_normalization()) != first);
  CHECK(identity(both, 32, {{0.5f, 0.5f, 0.5f}, {1, 1, 1}}) != first);
  CHECK(identity(both, 32, imagenet_normalization(), true).empty());
  std::filesystem::last_write_time(file("a.jpg"),
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  const std::string later = identity(both, 32, imagenet_normalization());
  CHECK(later != first);
  std::ofstream(file("b.jpg")) << "longer";
  CHECK(identity(both, 32, imagenet_normalization()) != later);
}
