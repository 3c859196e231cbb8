#include "data/sample.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <system_error>

#include "core/files.h"
#include "data/animals.h"
#include "data/image_folder.h"
#include "data/label_list.h"
#include "data/parallel.h"
#include "kernels/error.h"

namespace weft {

namespace fs = std::filesystem;

namespace {

// Pictures of a larger sample, or somebody's own, would be trained on unseen.
void check_nothing_else(const fs::path& folder, const std::set<std::string>& expected) {
  size_t others = 0;
  for (const char* part : {"train", "valid"}) {
    std::error_code ignored;
    if (!fs::is_directory(folder / part, ignored)) continue;
    for (const std::string& file : list_files(folder / part)) others += !expected.contains(file);
  }
  if (others > 0) {
    fail(fmt::format("{}: holds {} file{} beside the sample's; choose another folder, or empty this one",
                     folder.string(), others, others == 1 ? "" : "s"));
  }
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(fmt::format("{}: cannot be made: {}", path.string(), error.message()));
}

}  // namespace

Image draw_animal(Animal animal, uint64_t seed, int size) {
  using namespace drawing;
  if (size < 32) fail(fmt::format("a drawn picture of {} pixels; at least 32 are needed to see anything", size));
  Dice dice(seed, subsequence_of(animal == Animal::cat ? "sample.cat" : "sample.dog"));
  Canvas canvas(size);
  draw_background(canvas, dice);
  Coat coat = Coat::draw(dice);
  // A portrait shows the head; otherwise the whole animal sits there.
  bool portrait = dice.chance(0.7f);
  float side = float(size);
  Frame frame;
  frame.scale = side * (portrait ? dice.between(0.28f, 0.37f) : dice.between(0.2f, 0.25f));
  frame.origin = {side * dice.between(0.36f, 0.64f),
                  side * (portrait ? dice.between(0.45f, 0.6f) : dice.between(0.32f, 0.4f))};
  frame.angle = dice.between(-0.12f, 0.12f);
  frame.scale_x = dice.chance(0.5f) ? 1.0f : -1.0f;
  drawing::draw_animal(canvas, frame, animal, coat, dice);
  finish(canvas, dice);
  return canvas.image();
}

Scene draw_scene(uint64_t seed, int size) {
  using namespace drawing;
  if (size < 32) fail(fmt::format("a drawn picture of {} pixels; at least 32 are needed to see anything", size));
  Dice dice(seed, subsequence_of("sample.scene"));
  Scene scene;
  Canvas canvas(size);
  const bool cat = seed % 4 == 0 || seed % 4 == 2, dog = seed % 4 == 1 || seed % 4 == 2;
  const bool indoors = dice.chance(0.5f), cat_left = dice.chance(0.5f);
  draw_background(canvas, dice, indoors ? Background::room : Background::meadow);
  bool spotted = false;
  for (Animal animal : {Animal::cat, Animal::dog}) {
    if (!(animal == Animal::cat ? cat : dog)) continue;
    Coat coat = Coat::draw(dice);
    spotted = spotted || coat.pattern == Coat::Pattern::spots;
    float side = float(size), middle = 0.5f;
    if (cat && dog) middle = (animal == Animal::cat) == cat_left ? 0.27f : 0.73f;
    Frame frame;
    frame.scale = side * (cat && dog ? dice.between(0.18f, 0.23f) : dice.between(0.24f, 0.32f));
    frame.origin = {side * (middle + dice.between(-0.06f, 0.06f)), side * dice.between(0.38f, 0.5f)};
    frame.angle = dice.between(-0.12f, 0.12f);
    frame.scale_x = dice.chance(0.5f) ? 1.0f : -1.0f;
    drawing::draw_animal(canvas, frame, animal, coat, dice);
  }
  finish(canvas, dice);
  scene.image = canvas.image();
  if (cat) scene.labels.push_back("cat");
  if (dog) scene.labels.push_back("dog");
  if (indoors) scene.labels.push_back("indoors");
  if (spotted) scene.labels.push_back("spotted");
  return scene;
}

void write_labelled_sample(const fs::path& folder, SampleOptions options) {
  if (options.count < 2) fail(fmt::format("a sample of {} pictures; at least 2 are needed", options.count));
  struct Job {
    std::string path;
    uint64_t seed;
    std::vector<std::string> labels = {};
  };
  std::vector<Job> jobs;
  std::set<std::string> names;
  auto add = [&](const char* part, int count, uint64_t first) {
    for (int i = 0; i < count; ++i)
      jobs.push_back({fmt::format("{}/{:04}.jpg", part, i), (options.seed << 32) + first + uint64_t(i)});
  };
  add("train", options.count, 0);
  add("valid", std::max(2, options.count / 4), uint64_t(1) << 31);
  for (const Job& job : jobs) names.insert((folder / job.path).string());
  check_nothing_else(folder, names);
  for (const char* part : {"train", "valid"}) make_folder(folder / part);
  for_each_in_parallel(int64_t(jobs.size()), [&](int64_t i) {
    Job& job = jobs[size_t(i)];
    Scene scene = draw_scene(job.seed, options.size);
    write_jpeg((folder / job.path).string(), scene.image, 92);
    job.labels = std::move(scene.labels);
  });
  std::string list = "path,labels\n";
  for (const Job& job : jobs) list += fmt::format("{},{}\n", job.path, fmt::join(job.labels, " "));
  write_file_atomically(folder / kLabelsFile, list);
}

void write_sample(const fs::path& folder, SampleOptions options) {
  if (options.count < 2) fail(fmt::format("a sample of {} pictures; at least 2 are needed", options.count));
  struct Job {
    fs::path file;
    Animal animal;
    uint64_t seed;
  };
  std::vector<Job> jobs;
  auto add = [&](const char* part, int count, uint64_t first) {
    for (int i = 0; i < count; ++i) {
      Animal animal = i % 2 == 0 ? Animal::cat : Animal::dog;
      bool cat = animal == Animal::cat;
      fs::path file = folder / part / (cat ? "cats" : "dogs") / fmt::format("{}.{:04}.jpg", cat ? "cat" : "dog", i / 2);
      jobs.push_back({file, animal, (options.seed << 32) + first + uint64_t(i)});
    }
  };
  add("train", options.count, 0);
  add("valid", std::max(2, options.count / 4), uint64_t(1) << 31);
  std::set<std::string> names;
  for (const Job& job : jobs) names.insert(job.file.string());
  check_nothing_else(folder, names);
  for (const char* part : {"train", "valid"}) {
    for (const char* name : {"cats", "dogs"}) {
      make_folder(folder / part / name);
    }
  }
  for_each_in_parallel(int64_t(jobs.size()), [&](int64_t i) {
    const Job& job = jobs[size_t(i)];
    write_jpeg(job.file.string(), draw_animal(job.animal, job.seed, options.size), 92);
  });
}

}  // namespace weft
