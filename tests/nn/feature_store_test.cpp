// Features are computed once for a trunk and its pictures, and again as soon as one of them is another.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "data/image_folder.h"
#include "kernels/error.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

/// Stripes that say what they depend on, and count what is loaded.
class Counted : public Stripes {
 public:
  Counted(std::int64_t size, std::string identity, std::string contents = {})
      : Stripes(size, 1), identity_(std::move(identity)), contents_(std::move(contents)) {}
  void load(std::int64_t index, Philox& random, float* item) const override {
    ++loaded;
    Stripes::load(index, random, item);
  }
  std::string identity() const override { return identity_; }
  std::string contents() const override { return contents_; }
  mutable std::atomic<int> loaded{0};

 private:
  std::string identity_, contents_;
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

TEST_CASE("a resumed training takes the features that it left of the same pictures alone") {
  struct Notes : Callback {
    void on_note(const std::string& line) override { text += line + "\n"; }
    std::string text;
  };
  for (const std::size_t memory : {std::size_t{1} << 30, std::size_t{100}}) {
    CAPTURE(memory);
    const TemporaryFolder folder;
    LearnerOptions options;
    options.device = "simt";
    options.threads = 1;
    options.batch = 8;
    options.freeze = true;
    options.feature_memory = memory;
    const auto train = [&](const std::string& identity, int steps, int* loaded, std::string* notes = nullptr) {
      const auto data = std::make_shared<Counted>(20, identity), valid = std::make_shared<Counted>(9, identity);
      Learner learn(tests::small_model(), data, valid, options);
      const auto heard = std::make_shared<Notes>();
      learn.add(std::make_shared<tests::StopAfter>(tests::StopAfter::When::step, steps)).add(heard).fit(0.05, 3);
      Learner::stop_requested() = false;
      *loaded = data->loaded + valid->loaded;
      if (notes != nullptr) *notes = heard->text;
      return learn.model().state();
    };
    int loaded = 0;
    const StateDict whole = train("a", 1000, &loaded);
    options.run = folder / "run";
    train("a", 2, &loaded);
    CHECK(loaded == 29);
    options.resume = true;
    std::string notes;
    train("a", 2, &loaded, &notes);
    CHECK(loaded == 0);
    CHECK(notes == "kept features of 29 pictures read\n");
    train("b", 1, &loaded, &notes);  // other pictures, or the same ones changed
    CHECK(loaded == 29);
    CHECK(notes.empty());
    train("a", 1, &loaded);  // nothing is left of what "a" once was
    CHECK(loaded == 29);
    train("", 1, &loaded);  // pictures that cannot tell
    CHECK(loaded == 29);
    CHECK(tests::same_bits(train("", 1000, &loaded), whole));
    CHECK(loaded == 29);
  }
}

TEST_CASE("a training is not resumed with other files") {
  const TemporaryFolder folder;
  LearnerOptions options;
  options.device = "simt";
  options.threads = 1;
  options.batch = 8;
  options.run = folder / "run";
  const auto train = [&](const std::string& training, const std::string& validation, int steps) {
    Learner learn(tests::small_model(), std::make_shared<Counted>(20, "", training),
                  std::make_shared<Counted>(9, "", validation), options);
    learn.add(std::make_shared<tests::StopAfter>(tests::StopAfter::When::step, steps)).fit(0.05, 1);
    Learner::stop_requested() = false;
  };
  train("these", "those", 1);
  options.resume = true;
  CHECK_THROWS_WITH_AS(train("others", "those", 1), doctest::Contains("other training files"), Error);
  CHECK_THROWS_WITH_AS(train("these", "others", 1), doctest::Contains("other validation files"), Error);
  CHECK_THROWS_WITH_AS(train("these", "others", 1), doctest::Contains("(those then, others now)"), Error);
  train("these", "those", 1);
  train("these", "", 100);  // validation pictures that cannot tell
}

TEST_CASE("the files of a training are others when one is renamed, resized or relabelled, not when all are moved") {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << text;
  };
  const auto contents = [&](const std::string& below, const std::vector<std::pair<std::string, int>>& files) {
    std::vector<Sample> samples;
    for (const auto& [name, label] : files) samples.push_back({(folder / below / name).string(), label});
    return PictureList(std::move(samples), 32, validation_transform(32), imagenet_normalization(), true).contents();
  };
  for (const char* below : {"here", "elsewhere/deep"}) {
    write(std::string(below) + "/cats/1.jpg", "one");
    write(std::string(below) + "/cats/2.jpg", "two");
    write(std::string(below) + "/dogs/1.jpg", "eleven");
  }
  const std::vector<std::pair<std::string, int>> all = {{"cats/1.jpg", 0}, {"cats/2.jpg", 0}, {"dogs/1.jpg", 1}};
  const std::string first = contents("here", all);
  CHECK(first.starts_with("3 files "));
  CHECK(contents("elsewhere/deep", all) == first);
  CHECK(contents("here/../here", all) == first);
  CHECK(contents("here", {all[0], all[1], {"dogs/1.jpg", 0}}) != first);
  CHECK(contents("here", {all[1], all[0], all[2]}) != first);
  CHECK(contents("here", {all[0], all[1]}) != first);
  CHECK(contents("here", {{"cats/3.jpg", 0}}).empty());  // not there
  write("elsewhere/deep/cats/1.jpg", "another");
  CHECK(contents("elsewhere/deep", all) != first);
  std::filesystem::rename(folder / "here/cats/2.jpg", folder / "here/cats/3.jpg");
  CHECK(contents("here", {all[0], {"cats/3.jpg", 0}, all[2]}) != first);
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
