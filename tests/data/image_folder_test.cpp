// Class folders: what is read from them, and what is said of those that cannot be.

#include "data/image_folder.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/data/pictures.h"

namespace weft::test {
namespace {

std::vector<uint8_t> a_jpeg(uint8_t red) {
  return encode_jpeg(gradient(40, 40, red));
}

// train/ and valid/ with three and one pictures of each of two classes.
void write_parts(const TemporaryFolder& folder) {
  for (const std::string name : {"cats", "dogs"}) {
    for (const std::string file : {"b.jpg", "a.jpg", "c.jpg"}) folder.write("train/" + name + "/" + file, a_jpeg(10));
    folder.write("valid/" + name + "/v.jpg", a_jpeg(20));
  }
}

TEST_CASE("train and valid: classes by name, files by path, hidden ones passed over") {
  TemporaryFolder folder;
  write_parts(folder);
  folder.write("train/cats/.DS_Store", std::string("x"));
  folder.write("train/.cache/x.jpg", std::string("x"));
  folder.write("train/dogs/more/z.png", encode_png(gradient(9, 9, 1)));
  ImageFolder data(folder.path(), {.size = 24});
  CHECK(data.classes() == std::vector<std::string>{"cats", "dogs"});
  std::vector<Sample> expected = {{folder / "train/cats/a.jpg", 0},     {folder / "train/cats/b.jpg", 0},
                                  {folder / "train/cats/c.jpg", 0},     {folder / "train/dogs/a.jpg", 1},
                                  {folder / "train/dogs/b.jpg", 1},     {folder / "train/dogs/c.jpg", 1},
                                  {folder / "train/dogs/more/z.png", 1}};
  CHECK(data.train_samples() == expected);
  CHECK(data.valid()->size() == 2);
  CHECK(data.valid()->name(1) == folder / "valid/dogs/v.jpg");
  CHECK(data.valid()->label(1) == 1);
  CHECK(data.shape() == ItemShape{24, 24, 3});
  CHECK(data.train()->augmented());
  CHECK_FALSE(data.train_plain()->augmented());
  CHECK_FALSE(data.valid()->augmented());
  CHECK(data.unusable() == 0);
  CHECK(data.normalization() == imagenet_normalization());
}

TEST_CASE("an item is the picture through the transform, normalised") {
  TemporaryFolder folder;
  write_parts(folder);
  ImageFolder data(folder.path(), {.size = 24});
  std::vector<float> item(24 * 24 * 3, -1e9f), expected(item.size());
  Philox random = item_random(0, 0, 1);
  data.valid()->load(1, random, item.data());
  ImageReader reader(folder / "valid/dogs/v.jpg");
  to_floats(validation_transform(24).apply(reader, random), imagenet_normalization(), expected.data());
  CHECK(item == expected);
}

TEST_CASE("a fraction for validation: of each class, by seed and path, wherever the folder lies") {
  auto names = [](const std::vector<Sample>& samples) {
    std::set<std::string> set;
    for (const Sample& sample : samples) set.insert(std::filesystem::path(sample.path).filename().string());
    return set;
  };
  TemporaryFolder one, two;
  for (const TemporaryFolder* folder : {&one, &two}) {
    for (int i = 0; i < 20; ++i) folder->write("cats/c" + std::to_string(i) + ".jpg", a_jpeg(1));
    for (int i = 0; i < 10; ++i) folder->write("dogs/d" + std::to_string(i) + ".jpg", a_jpeg(2));
  }
  ImageFolder data(one.path(), {.valid_fraction = 0.2, .seed = 4});
  CHECK(data.train_samples().size() == 24);
  CHECK(data.valid_samples().size() == 6);
  int cats = 0;
  for (const Sample& sample : data.valid_samples()) cats += sample.label == 0;
  CHECK(cats == 4);
  auto chosen = names(data.valid_samples());
  for (const std::string& name : names(data.train_samples())) CHECK_FALSE(chosen.contains(name));
  CHECK(names(ImageFolder(two.path(), {.valid_fraction = 0.2, .seed = 4}).valid_samples()) == chosen);
  CHECK(names(ImageFolder(two.path(), {.valid_fraction = 0.2, .seed = 5}).valid_samples()) != chosen);
  ImageFolder everything(one.path(), {.valid_fraction = 1});
  CHECK(everything.train_samples().empty());
  CHECK(everything.valid()->size() == 30);
  CHECK(contains(error_of([&] { ImageFolder(one.path(), {.valid_fraction = 1.5}); }), "lies between 0 and 1"));
}

TEST_CASE("classes that are settled already keep their numbers") {
  TemporaryFolder folder;
  folder.write("dogs/a.jpg", a_jpeg(1));
  ImageFolder data(folder.path(), {.valid_fraction = 1, .classes = {"cats", "dogs", "owls"}});
  CHECK(data.classes() == std::vector<std::string>{"cats", "dogs", "owls"});
  REQUIRE(data.valid()->size() == 1);
  CHECK(data.valid()->label(0) == 1);
  folder.write("mice/a.jpg", a_jpeg(1));
  std::string error = error_of([&] { ImageFolder(folder.path(), {.classes = {"cats", "dogs"}}); });
  CHECK(contains(error, "\"mice\" is not one of the classes cats, dogs"));
}

TEST_CASE("folders that cannot be used end in one line that says which and what to do") {
  TemporaryFolder folder;
  auto error = [&](const std::string& path) { return error_of([&] { ImageFolder{std::filesystem::path(path)}; }); };
  CHECK(error(folder / "none") == (folder / "none").string() +
                                      ": no such folder; wanted is one that holds train/ and "
                                      "valid/, or a folder for each class");
  folder.write("file", std::string("x"));
  CHECK(contains(error(folder / "file"), "a file; wanted is a folder that holds train/ and valid/"));
  std::filesystem::create_directories(folder / "bare");
  CHECK(contains(error(folder / "bare"), "holds no class folders"));
  folder.write("single/cats/a.jpg", a_jpeg(1));
  folder.write("single/cats/b.jpg", a_jpeg(1));
  CHECK(contains(error(folder / "single"), "one class only, \"cats\""));
  folder.write("hole/cats/a.jpg", a_jpeg(1));
  std::filesystem::create_directories(folder / "hole/dogs");
  CHECK(error(folder / "hole") ==
        (folder / "hole/dogs").string() + ": the class folder is empty; put its pictures there, or remove it");
  folder.write("differ/train/cats/a.jpg", a_jpeg(1));
  folder.write("differ/train/dogs/a.jpg", a_jpeg(1));
  folder.write("differ/valid/cats/a.jpg", a_jpeg(1));
  folder.write("differ/valid/owls/a.jpg", a_jpeg(1));
  CHECK(contains(error(folder / "differ"), "hold different classes: cats, dogs and cats, owls"));
  folder.write("half/train/cats/a.jpg", a_jpeg(1));
  CHECK(contains(error(folder / "half"), "holds train/ but not both train/ and valid/"));
  folder.write("few/cats/a.jpg", a_jpeg(1));
  folder.write("few/dogs/a.jpg", a_jpeg(1));
  CHECK(contains(error(folder / "few"), "cannot be split into training and validation"));
  folder.write("words/cats/a.jpg", a_jpeg(1));
  folder.write("words/dogs/a.jpg", std::string("not a picture"));
  CHECK(contains(error(folder / "words"),
                 "none of its files can be used; the first: " + (folder / "words/dogs/a.jpg").string()));
}

TEST_CASE("unusable pictures are left out, named and counted") {
  TemporaryFolder folder;
  write_parts(folder);
  std::vector<uint8_t> jpeg = a_jpeg(1);
  folder.write("train/cats/cut.jpg",
               std::vector<uint8_t>(jpeg.begin(), jpeg.begin() + std::ptrdiff_t(jpeg.size() / 2)));
  folder.write("train/cats/empty.jpg", std::string());
  folder.write("train/dogs/text.jpg", std::string("words"));
  std::vector<std::string> lines;
  ImageFolderOptions options{.size = 24, .warn = [&](const std::string& line) { lines.push_back(line); }};
  ImageFolder data(folder.path(), options);
  CHECK(data.unusable() == 3);
  CHECK(data.train_samples().size() == 6);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] ==
        "warning: left out: " + (folder / "train/cats/cut.jpg").string() + ": the JPEG is cut short (truncated)");
  CHECK(contains(lines[1], "empty.jpg: the file is empty (0 bytes)"));
  CHECK(contains(lines[2], "text.jpg: a text file, not a picture"));
  for (int i = 0; i < 20; ++i) folder.write("valid/dogs/t" + std::to_string(i) + ".jpg", std::string("words"));
  lines.clear();
  CHECK(ImageFolder(folder.path(), options).unusable() == 23);
  REQUIRE(lines.size() == 11);
  CHECK(contains(lines[10], "left out 23 files"));
}

TEST_CASE("a transform of the wrong size is said so with the file") {
  TemporaryFolder folder;
  write_parts(folder);
  ImageFolder data(folder.path(), {.size = 24, .valid_transform = validation_transform(20)});
  std::vector<float> item(24 * 24 * 3);
  Philox random(0, 0);
  std::string error = error_of([&] { data.valid()->load(0, random, item.data()); });
  CHECK(contains(error, "v.jpg: the transforms made it 20 x 20 pixels; 24 x 24 are wanted"));
}

TEST_CASE("audit lists what cannot be used and what is odd") {
  TemporaryFolder folder;
  folder.write("cats/a.jpg", a_jpeg(1));
  folder.write("cats/again.jpg", a_jpeg(1));
  folder.write("cats/text.jpg", std::string("words"));
  folder.write("dogs/named.png", a_jpeg(9));
  folder.write("dogs/small.png", encode_png(gradient(5, 50, 1)));
  folder.write("dogs/good.png", encode_png(gradient(50, 50, 1)));
  std::vector<AuditFinding> findings = audit(folder.path());
  REQUIRE(findings.size() == 4);
  CHECK(findings[0].path == folder / "cats/again.jpg");
  CHECK(findings[0].reason == "the same bytes as " + (folder / "cats/a.jpg").string());
  CHECK(findings[0].usable);
  CHECK(findings[1].path == folder / "cats/text.jpg");
  CHECK(findings[1].reason == "a text file, not a picture; Weft reads JPEG and PNG");
  CHECK_FALSE(findings[1].usable);
  CHECK(findings[2].reason == "holds JPEG, is named as PNG");
  CHECK(findings[3].reason == "only 5 x 50 pixels");
}

}  // namespace
}  // namespace weft::test
