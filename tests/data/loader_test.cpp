// The loader: the same batches whatever the threads, failures dealt with as asked, a prompt end.

#include "data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/data/pictures.h"

namespace weft::test {
namespace {

// The example of "own data sets plug in": items are (1, 2, 1): the index and a random number. Some cannot be read.
class Numbers : public Dataset {
 public:
  explicit Numbers(int64_t size, std::vector<int64_t> broken = {}) : size_(size), broken_(std::move(broken)) {}
  int64_t size() const override { return size_; }
  ItemShape shape() const override { return {1, 2, 1}; }
  int label(int64_t index) const override { return int(index % 3); }
  std::string name(int64_t index) const override { return "number " + std::to_string(index); }
  bool augmented() const override { return true; }
  void load(int64_t index, Philox& random, float* item) const override {
    ++loads;
    if (index % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(100 * (index % 7)));
    if (std::find(broken_.begin(), broken_.end(), index) != broken_.end()) fail(name(index) + ": broken");
    item[0] = float(index);
    item[1] = random.uniform();
  }
  mutable std::atomic<int64_t> loads{0};

 private:
  int64_t size_;
  std::vector<int64_t> broken_;
};

struct Seen {
  std::vector<int64_t> sizes, indices;
  std::vector<int32_t> labels;
  std::vector<float> values;
  bool operator==(const Seen&) const = default;
};

Seen run_epoch(Loader& loader, int64_t epoch, int64_t first = 0) {
  Seen seen;
  Batch batch;
  int64_t number = first;
  for (loader.start(epoch, first); loader.next(batch); ++number) {
    CHECK(batch.images.shape() == Shape({batch.count(), 1, 2, 1}));
    CHECK(batch.labels.shape() == Shape({batch.count()}));
    seen.sizes.push_back(batch.count());
    for (int64_t i : batch.indices) seen.indices.push_back(i);
    for (int32_t v : batch.labels.values<int32_t>()) seen.labels.push_back(v);
    for (float v : batch.images.values<float>()) seen.values.push_back(v);
  }
  return seen;
}

LoaderOptions quiet(LoaderOptions options) {
  if (!options.warn) options.warn = [](const std::string&) {};
  return options;
}

TEST_CASE("batches come in order, the last one ragged or dropped") {
  auto numbers = std::make_shared<Numbers>(23);
  Loader loader(numbers, {.batch = 5, .threads = 3});
  CHECK(loader.batches() == 5);
  Seen seen = run_epoch(loader, 0);
  CHECK(seen.sizes == std::vector<int64_t>{5, 5, 5, 5, 3});
  for (int i = 0; i < 23; ++i) {
    CHECK(seen.indices[size_t(i)] == i);
    CHECK(seen.labels[size_t(i)] == i % 3);
    CHECK(seen.values[size_t(2 * i)] == float(i));
    Philox random = item_random(0, 0, i);
    CHECK(seen.values[size_t(2 * i + 1)] == random.uniform());
  }
  Loader dropping(numbers, {.batch = 5, .drop_last = true});
  CHECK(dropping.batches() == 4);
  CHECK(run_epoch(dropping, 0).sizes == std::vector<int64_t>{5, 5, 5, 5});
  Loader large(numbers, {.batch = 100});
  CHECK(run_epoch(large, 0).sizes == std::vector<int64_t>{23});
  Loader none(numbers, {.batch = 100, .drop_last = true});
  CHECK(none.batches() == 0);
  CHECK(run_epoch(none, 0).sizes.empty());
}

TEST_CASE("nothing depends on the number of threads or on the queue") {
  auto numbers = std::make_shared<Numbers>(101, std::vector<int64_t>{7, 8, 50});
  LoaderOptions options = quiet({.batch = 8, .shuffle = true, .seed = 3});
  std::vector<Seen> first;
  for (int threads : {1, 2, 4, 7}) {
    for (int ahead : {1, 2, 5}) {
      options.threads = threads;
      options.ahead = ahead;
      Loader loader(numbers, options);
      std::vector<Seen> epochs = {run_epoch(loader, 0), run_epoch(loader, 1), run_epoch(loader, 0)};
      CHECK(epochs[0] == epochs[2]);
      if (first.empty()) first = epochs;
      CHECK(epochs == first);
    }
  }
  CHECK(first[0].indices != first[1].indices);
  CHECK(first[0].values.size() == 202);
}

TEST_CASE("an epoch may begin in its middle, and another while one is under way") {
  auto numbers = std::make_shared<Numbers>(60);
  LoaderOptions options{.batch = 7, .shuffle = true, .threads = 2, .seed = 1};
  Loader loader(numbers, options);
  Seen whole = run_epoch(loader, 4);
  Seen part = run_epoch(loader, 4, 3);
  CHECK(std::equal(part.indices.begin(), part.indices.end(), whole.indices.begin() + 21, whole.indices.end()));
  CHECK(std::equal(part.values.begin(), part.values.end(), whole.values.begin() + 42, whole.values.end()));
  Batch batch;
  loader.start(2);
  CHECK(loader.next(batch));
  CHECK(run_epoch(loader, 4) == whole);
  CHECK_FALSE(loader.next(batch));
}

TEST_CASE("the order is a permutation, by seed and epoch") {
  std::vector<int64_t> order = Loader::order(1000, true, 5, 2), sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t i = 0; i < 1000; ++i) CHECK(sorted[size_t(i)] == i);
  CHECK(Loader::order(1000, true, 5, 2) == order);
  CHECK(Loader::order(1000, true, 6, 2) != order);
  CHECK(Loader::order(1000, true, 5, 3) != order);
  CHECK(Loader::order(3, false, 5, 3) == std::vector<int64_t>{0, 1, 2});
  double moved = 0;  // the mean distance of a uniform permutation is n / 3
  for (int64_t i = 0; i < 1000; ++i) moved += std::abs(double(order[size_t(i)] - i)) / 1000;
  CHECK(moved > 300);
  CHECK(moved < 366);
}

TEST_CASE("an unreadable item: replaced by the next of its class, skipped, or raised") {
  auto numbers = std::make_shared<Numbers>(12, std::vector<int64_t>{4, 7});
  std::vector<std::string> lines;
  LoaderOptions options{.batch = 6, .threads = 2, .warn = [&](const std::string& line) { lines.push_back(line); }};
  Loader replacing(numbers, options);
  Seen seen = run_epoch(replacing, 0);
  CHECK(seen.indices == std::vector<int64_t>{0, 1, 2, 3, 10, 5, 6, 10, 8, 9, 10, 11});  // after 4 comes 7, broken too
  CHECK(seen.labels[4] == 1);
  CHECK(replacing.failures() == 2);
  CHECK(lines == std::vector<std::string>{"warning: number 4: broken; another of its class stands in",
                                          "warning: number 7: broken; another of its class stands in"});
  options.on_failure = OnFailure::skip;
  Loader skipping(numbers, options);
  seen = run_epoch(skipping, 0);
  CHECK(seen.sizes == std::vector<int64_t>{5, 5});
  CHECK(seen.indices == std::vector<int64_t>{0, 1, 2, 3, 5, 6, 8, 9, 10, 11});
  for (size_t i = 0; i < seen.indices.size(); ++i) CHECK(seen.values[2 * i] == float(seen.indices[i]));
  options.on_failure = OnFailure::raise;
  Loader raising(numbers, options);
  CHECK(error_of([&] { run_epoch(raising, 0); }) == "number 4: broken");
  Batch batch;
  CHECK_FALSE(raising.next(batch));
  CHECK(error_of([&] { run_epoch(raising, 0); }) == "number 4: broken");
}

TEST_CASE("when nothing of a class can stand in, that is an error; a batch of nothing is passed over") {
  auto numbers = std::make_shared<Numbers>(4, std::vector<int64_t>{1});
  Loader loader(numbers, quiet({.batch = 2, .threads = 2}));
  CHECK(contains(error_of([&] { run_epoch(loader, 0); }), "number 1: broken; and nothing of its class could stand in"));
  auto holes = std::make_shared<Numbers>(6, std::vector<int64_t>{2, 3});
  Loader skipping(holes, quiet({.batch = 2, .on_failure = OnFailure::skip}));
  CHECK(run_epoch(skipping, 0).indices == std::vector<int64_t>{0, 1, 4, 5});
}

class Explosive : public Numbers {
 public:
  Explosive() : Numbers(50) {}
  void load(int64_t index, Philox& random, float* item) const override {
    if (index == 20) throw std::bad_alloc();
    Numbers::load(index, random, item);
  }
};

TEST_CASE("other exceptions of a thread come out of next") {
  Loader loader(std::make_shared<Explosive>(), {.batch = 8, .threads = 3});
  Batch batch;
  loader.start(0);
  CHECK(loader.next(batch));
  CHECK(loader.next(batch));
  CHECK_THROWS_AS(loader.next(batch), std::bad_alloc);
}

TEST_CASE("no more than `ahead` batches are made in advance, and giving up is prompt") {
  auto numbers = std::make_shared<Numbers>(10000);
  {
    Loader loader(numbers, {.batch = 10, .threads = 2, .ahead = 2});
    loader.start(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(numbers->loads <= 20);
    Batch batch;
    CHECK(loader.next(batch));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(numbers->loads <= 30);
    CHECK(loader.seconds_waited() < 60);
  }
  CHECK(numbers->loads <= 30);
}

TEST_CASE("a loader needs items and a batch size") {
  CHECK(contains(error_of([] { Loader(std::make_shared<Numbers>(0)); }), "the data set is empty"));
  CHECK(contains(error_of([] { Loader(std::make_shared<Numbers>(3), {.batch = 0}); }), "a batch of 0 items"));
}

TEST_CASE("a batch's memory is used again") {
  Loader loader(std::make_shared<Numbers>(100), {.batch = 10, .threads = 1, .ahead = 2});
  Batch batch;
  std::vector<const void*> seen;
  for (loader.start(0); loader.next(batch);) seen.push_back(batch.images.data());
  std::sort(seen.begin(), seen.end());
  CHECK(std::unique(seen.begin(), seen.end()) - seen.begin() <= 4);
}

}  // namespace
}  // namespace weft::test
