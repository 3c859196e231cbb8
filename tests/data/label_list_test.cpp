// Lists of labels: what is read, what is refused and with which words, and the data sets made of them.

#include "data/label_list.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <set>

#include "data/loader.h"
#include "data/sample.h"
#include "tests/data/pictures.h"

namespace weft::test {
namespace {

std::string write(const TemporaryFolder& folder, const std::string& text) {
  std::string path = (folder.path() / kLabelsFile).string();
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST_CASE("a list of labels: quotes, CR LF, a byte order mark, empty lines, pictures without labels") {
  TemporaryFolder folder;
  const auto list = read_label_list(
      write(folder, "\xEF\xBB\xBFpath,labels\r\na.jpg,dog cat\r\n\r\n\"b, \"\"c\"\".jpg\",cat\r\nd.jpg,\r\n"));
  REQUIRE(list.size() == 3);
  CHECK(list[0].labels == std::vector<std::string>{"dog", "cat"});
  CHECK(list[1].path == "b, \"c\".jpg");
  CHECK(list[1].line == 4);
  CHECK(list[2].labels.empty());
}

TEST_CASE("a list of labels is refused with its line") {
  TemporaryFolder folder;
  const auto refused = [&](const std::string& text) {
    const std::string path = write(folder, text);
    return error_of([&] { read_label_list(path); });
  };
  CHECK(contains(refused("a.jpg,cat\n"), "labels.csv:1: the first line is \"a.jpg,cat\"; \"path,labels\" is wanted"));
  CHECK(contains(refused("path,labels\na.jpg\n"), "labels.csv:2: 1 fields"));
  CHECK(contains(refused("path,labels\na.jpg,cat,dog\n"), "labels.csv:2: 3 fields"));
  CHECK(contains(refused("path,labels\n\"a.jpg,cat\n"), ":2: a double quote is opened and not closed"));
  CHECK(contains(refused("path,labels\n,cat\n"), ":2: no path"));
  CHECK(contains(refused("path,labels\na.jpg,cat\nb.jpg,\na.jpg,dog\n"), ":4: a.jpg is listed in line 2 already"));
  CHECK(contains(refused("path,labels\na.jpg,cat cat\n"), ":2: the label cat stands there twice"));
  CHECK(contains(refused("path,labels\n"), "lists no pictures"));
  CHECK(contains(refused(""), "lists no pictures"));
}

TEST_CASE("pictures with several labels: classes, parts, a stand-in of the same labels") {
  TemporaryFolder folder;
  write_labelled_sample(folder.path(), {.count = 24, .seed = 3, .size = 32});
  const LabelledData data = open_dataset(folder.path().string(), {.size = 24});
  CHECK(data.classes() == std::vector<std::string>{"cat", "dog", "indoors", "spotted"});
  REQUIRE(data.train()->size() == 24);
  REQUIRE(data.valid()->size() == 6);
  CHECK(data.train()->multi_label());
  CHECK(data.train()->augmented());
  CHECK_FALSE(data.train_plain()->augmented());
  std::set<std::vector<int>> seen;
  for (int64_t i = 0; i < 24; ++i) {
    const Scene scene = draw_scene((uint64_t(3) << 32) + uint64_t(i), 32);
    std::vector<std::string> names;
    for (int label : data.train()->labels(i)) names.push_back(data.classes()[size_t(label)]);
    CHECK(names == scene.labels);
    for (int64_t k = 0; k < i; ++k)
      CHECK((data.train()->label(i) == data.train()->label(k)) == (data.train()->labels(i) == data.train()->labels(k)));
    seen.insert(data.train()->labels(i));
  }
  CHECK(seen.size() >= 6);
  // Evaluated with a trained model's labels: train/ and valid/ are still told apart.
  ImageFolderOptions whole{.size = 24, .valid_fraction = 1};
  whole.classes = {"cat", "dog", "indoors", "spotted", "asleep"};
  CHECK(LabelledPictures(folder.path(), whole).valid()->size() == 6);
  whole.classes = {"cat", "dog"};
  CHECK(contains(error_of([&] { LabelledPictures(folder.path(), whole); }), "is not one of the labels cat, dog"));
}

TEST_CASE("a list without parts is split by fraction; what is not there or cannot be used is said") {
  TemporaryFolder folder;
  std::string text = "path,labels\n";
  for (int i = 0; i < 10; ++i) {
    const std::string name = fmt::format("p{}.png", i);
    write_png((folder.path() / name).string(), gradient(20, 20, uint8_t(20 * i)));
    text += name + (i % 2 ? ",odd high\n" : ",\n");
  }
  write(folder, text);
  std::vector<std::string> warnings;
  ImageFolderOptions options{.size = 16, .valid_fraction = 0.3};
  options.warn = [&](const std::string& line) { warnings.push_back(line); };
  const LabelledPictures data(folder.path(), options);
  CHECK(data.valid()->size() == 3);
  CHECK(data.train()->size() == 7);
  std::ofstream(folder.path() / "broken.png") << "no picture";
  write(folder, text + "broken.png,odd\n");
  CHECK(LabelledPictures(folder.path(), options).unusable() == 1);
  CHECK(warnings.size() == 1);
  write(folder, text + "gone.png,odd\n");
  CHECK(contains(error_of([&] { LabelledPictures(folder.path(), options); }), "labels.csv:12: "));
  write(folder, "path,labels\np0.png,one\np1.png,\n");
  CHECK(contains(error_of([&] { LabelledPictures(folder.path(), options); }), "at least two labels are needed"));
}

}  // namespace
}  // namespace weft::test
