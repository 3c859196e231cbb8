// What a run leaves, what the other verbs make of it, and that breaking off changes nothing.

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "nn/checkpoint.h"
#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

std::vector<std::string> train(const fs::path& run, std::vector<std::string> more) {
  std::vector<std::string> arguments = {
      "train", drawn_sample().string(), "--out", run.string(), "--device", "cpu", "--size", "32", "--batch", "8"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string weights_of(const fs::path& run) {
  return read_all(run / "model.safetensors");
}

}  // namespace

TEST_CASE("train, predict, evaluate") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  const auto trained = dogs_vs_cats(train(run, {"--arch", "lenet", "--epochs", "2"}));
  CAPTURE(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(trained.out.find("Accuracy") != std::string::npos);
  for (const char* name : {"model.safetensors", "config.json", "log.csv"}) CHECK(fs::file_size(run / name) > 0);

  const auto config = nlohmann::json::parse(read_all(run / "config.json"));
  CHECK(config["arch"] == "lenet");
  CHECK(config["classes"] == std::vector<std::string>{"cats", "dogs"});
  CHECK(config["size"] == 32);
  CHECK(config["mean"].size() == 3);
  CHECK(config["command"].get<std::string>().find("--arch lenet") != std::string::npos);

  std::istringstream log(read_all(run / "log.csv"));
  std::string header;
  std::getline(log, header);
  CHECK(header.starts_with("epoch,train_loss,valid_loss,accuracy,seconds,images_per_second"));
  int rows = 0;
  for (std::string row; std::getline(log, row);) ++rows;
  CHECK(rows == 2);

  const std::string pictures = (drawn_sample() / "valid").string();
  const auto predicted = dogs_vs_cats({"predict", run.string(), pictures, "--device", "cpu"});
  REQUIRE(predicted.status == 0);
  CHECK(lines(predicted.out) == 10);
  std::istringstream text(predicted.out);
  for (std::string line; std::getline(text, line);) {
    std::istringstream fields(line);
    std::string path, name, probability;
    std::getline(fields, path, '\t');
    std::getline(fields, name, '\t');
    std::getline(fields, probability, '\t');
    CHECK(fs::exists(path));
    CHECK((name == "cats" || name == "dogs"));
    const double p = std::stod(probability);
    CHECK(p >= 0.5);
    CHECK(p <= 1.0);
  }

  const auto logs = dogs_vs_cats({"predict", run.string(), pictures, "--device", "cpu", "--log"});
  CHECK(logs.status == 0);
  CHECK(std::stod(logs.out.substr(logs.out.find_last_of('\t') + 1)) <= 0);
  const auto json = dogs_vs_cats({"predict", run.string(), pictures, "--device", "cpu", "--json"});
  REQUIRE(json.status == 0);
  const auto first = nlohmann::json::parse(json.out.substr(0, json.out.find('\n')));
  CHECK(std::abs(first["probabilities"]["cats"].get<double>() + first["probabilities"]["dogs"].get<double>() - 1) <
        1e-5);

  const auto evaluated = dogs_vs_cats({"evaluate", run.string(), drawn_sample().string(), "--device", "cpu", "--json"});
  REQUIRE(evaluated.status == 0);
  const auto result = nlohmann::json::parse(evaluated.out);
  const auto& confusion = result["confusion"];
  const int right = confusion[0][0].get<int>() + confusion[1][1].get<int>();
  CHECK(right + confusion[0][1].get<int>() + confusion[1][0].get<int>() == 10);
  CHECK(std::abs(result["accuracy"].get<double>() - right / 10.0) < 1e-6);
}

TEST_CASE("train says what memory it takes, with sharing and without") {
  const TemporaryFolder folder;
  for (const bool freeze : {false, true}) {
    CAPTURE(freeze);
    auto arguments = train(folder / (freeze ? "frozen" : "whole"), {"--arch", "resnet18", "--epochs", "1"});
    if (freeze) arguments.insert(arguments.end(), {"--freeze", "--feature-cache", "none"});
    const auto run = dogs_vs_cats(arguments);
    CAPTURE(run.out);
    CAPTURE(run.err);
    REQUIRE(run.status == 0);
    // Behind the table of layers, before the first epoch; what there is most of is named.
    const auto table = run.out.find("layer4.1.conv2"), line = run.out.find("Memory of training 8 pictures at once:");
    REQUIRE(table != std::string::npos);
    REQUIRE(line != std::string::npos);
    CHECK(table < line);
    CHECK(line < run.out.find("train_loss"));
    const std::string text = run.out.substr(line, run.out.find('\n', line) - line);
    const ActivationBytes bytes = activation_bytes(text);
    CHECK(bytes.shared > 0);
    CHECK(bytes.shared <= bytes.unshared);
    CHECK(text.find("workspace") != std::string::npos);
    CHECK(text.find("the largest layers at its peak: ") != std::string::npos);
    CHECK(run.out.find("Memory of training", line + 1) == std::string::npos);
    if (!freeze) {
      // A deep net's values do not all live at once.
      CHECK(bytes.shared < 0.8 * bytes.unshared);
      continue;
    }
    // What a picture takes in the trunk is far more than in the head.
    const auto trunk = run.out.find("Memory of the frozen trunk, ");
    REQUIRE(trunk != std::string::npos);
    const ActivationBytes below = activation_bytes(run.out.substr(trunk));
    CHECK(below.shared < 0.8 * below.unshared);
    CHECK(below.shared > bytes.shared);
  }
}

TEST_CASE("the same seed gives the same bits, whatever decodes") {
  const TemporaryFolder folder;
  for (const bool freeze : {false, true}) {
    std::vector<std::string> options = {"--arch", "resnet18", "--epochs", "1", "--seed", "3"};
    if (freeze) options.push_back("--freeze");
    std::string former;
    for (const char* threads : {"1", "4", "4"}) {
      auto with_threads = options;
      with_threads.insert(with_threads.end(), {"--loader-threads", threads});
      const auto run = folder / ("run" + std::string(threads));
      const auto result = dogs_vs_cats(train(run, with_threads));
      CAPTURE(result.err);
      REQUIRE(result.status == 0);
      const std::string weights = weights_of(run);
      REQUIRE(weights.size() > 1000);
      if (!former.empty()) CHECK_MESSAGE(weights == former, "loader threads ", threads);
      former = weights;
    }
  }
}

TEST_CASE("Ctrl-C at random points, then --resume: the bits of an unbroken run") {
  const TemporaryFolder folder;
  std::mt19937 random(20240229);
  for (const bool freeze : {false, true}) {
    std::vector<std::string> options = {"--arch", "resnet18", "--epochs", "3", "--policy", "one-cycle", "--size", "64"};
    if (freeze) options.push_back("--freeze");
    const auto whole = folder / ("whole" + std::to_string(freeze));
    const auto unbroken = dogs_vs_cats(train(whole, options));
    CAPTURE(unbroken.err);
    REQUIRE(unbroken.status == 0);

    const auto broken = folder / ("broken" + std::to_string(freeze));
    int interruptions = 0;
    auto arguments = train(broken, options);
    for (int i = 0; i < 20; ++i) {
      // The first is broken off as soon as there is a checkpoint, ahead of all features and steps, so that one is
      // broken off whatever the machine's speed; the next three anywhere between the program's start and its end.
      ProcessOptions ctrl_c;
      if (i == 0) ctrl_c.interrupt_when = [&] { return fs::exists(broken / weft::kCheckpointFile); };
      const double after = std::uniform_real_distribution<double>(0.05, 0.9)(random) * unbroken.seconds;
      if (i >= 1 && i <= 3) ctrl_c.interrupt_after = after;
      const auto result = dogs_vs_cats(arguments, ctrl_c);
      CAPTURE(result.err);
      if (result.status == 0) break;
      const bool before_the_handler = result.status == 128 + 2;
      if (!before_the_handler) {
        REQUIRE(result.status == 1);
        CHECK(result.err.find("--resume") != std::string::npos);
        ++interruptions;
        arguments = {"train", "--out", broken.string(), "--resume"};
      }
    }
    MESSAGE("freeze ", freeze, ": ", interruptions, " interruptions");
    CHECK(interruptions > 0);
    CHECK(weights_of(broken) == weights_of(whole));
    CHECK(read_all(broken / "log.csv").size() > 0);
  }
}

TEST_CASE("--resume with other pictures is refused, with the same ones elsewhere it goes on") {
  const TemporaryFolder folder;
  const auto data = folder / "data", run = folder / "run";
  fs::copy(drawn_sample(), data, fs::copy_options::recursive);
  ProcessOptions ctrl_c;
  ctrl_c.interrupt_when = [&] { return fs::exists(run / "log.csv"); };
  const auto stopped =
      dogs_vs_cats({"train", data.string(), "--out", run.string(), "--device", "cpu", "--size", "32", "--arch",
                    "squeezenet1_1", "--freeze", "--feature-cache", "none", "--epochs", "100000"},
                   ctrl_c);
  REQUIRE_MESSAGE(stopped.status == 1, stopped.err);
  REQUIRE(fs::exists(run / "features-train.f32"));
  const auto swap = [&] {
    fs::rename(data / "train" / "cats", data / "aside");
    fs::rename(data / "train" / "dogs", data / "train" / "cats");
    fs::rename(data / "aside", data / "train" / "dogs");
  };
  swap();
  const auto resume = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"train", "--out", run.string(), "--resume"};
    arguments.insert(arguments.begin() + 1, more.begin(), more.end());
    ProcessOptions after_an_epoch;
    after_an_epoch.interrupt_when = [&, before = fs::last_write_time(run / "log.csv")] {
      return fs::last_write_time(run / "log.csv") != before;
    };
    return dogs_vs_cats(arguments, after_an_epoch);
  };
  const auto refused = resume({});
  CHECK(refused.status == 1);
  CHECK(lines(refused.err) == 1);
  CHECK(refused.err.find("other training files") != std::string::npos);
  CHECK(refused.err.find("another --out") != std::string::npos);
  swap();
  fs::rename(data, folder / "moved");
  const auto moved = resume({(folder / "moved").string()});
  CHECK(moved.status == 1);
  CHECK_MESSAGE(moved.err.find("everything so far is in") != std::string::npos, moved.err);
  // Their paths are others: what is kept of them is not taken, though the training is the same.
  CHECK(moved.out.find("kept features") == std::string::npos);
  const auto again = resume({(folder / "moved").string()});
  CHECK(again.out.find("kept features of 50 pictures read") != std::string::npos);
  CHECK(again.out.find("\nfeatures of") == std::string::npos);
}

TEST_CASE("what changes pictures is refused where the head alone is trained, on features computed once") {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& options : {std::vector<std::string>{"--freeze", "--augment", "side-on"},
                                                  {"--freeze", "--cutout", "0.5"},
                                                  {"--stages", "head:1@1e-2", "--rotate", "5"}}) {
    CAPTURE(options);
    auto arguments = options;
    arguments.insert(arguments.end(), {"--arch", "lenet", "--epochs", "1"});
    const auto refused = dogs_vs_cats(train(folder / "run", arguments));
    CHECK(refused.status == 2);
    CHECK(lines(refused.err) == 1);
    CHECK(refused.err.find(*(options.end() - 2) + " would change nothing") != std::string::npos);
    CHECK(!fs::exists(folder / "run"));
  }
  CHECK(dogs_vs_cats(train(folder / "run", {"--freeze", "--augment", "none", "--arch", "lenet", "--epochs", "1"}))
            .status == 0);
}

TEST_CASE("--resume takes from config.json only what the command line would have taken") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  REQUIRE(dogs_vs_cats(train(run, {"--arch", "lenet", "--epochs", "1"})).status == 0);
  const std::string sound = read_all(run / "config.json");
  const std::pair<const char*, const char*> altered[] = {{"batch", "0"},      {"batch", "many"},  {"momentum", "nan"},
                                                         {"momentum", "1.5"}, {"threads", "-1"},  {"freeze", "perhaps"},
                                                         {"max-zoom", "inf"}, {"augment", "wild"}};
  for (const auto& [option, value] : altered) {
    auto json = nlohmann::json::parse(sound);
    REQUIRE(json["options"].contains(option));
    json["options"][option] = value;
    write_all(run / "config.json", json.dump());
    const auto refused = dogs_vs_cats({"train", "--out", run.string(), "--resume"});
    CAPTURE(option);
    CAPTURE(refused.err);
    CHECK(refused.status != 0);
    CHECK(lines(refused.err) == 1);
    CHECK(refused.err.find(std::string("--") + option) != std::string::npos);
  }
  write_all(run / "config.json", sound);
  CHECK(dogs_vs_cats({"train", "--out", run.string(), "--resume"}).status == 0);
}

TEST_CASE("--resume with another option is refused") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  REQUIRE(dogs_vs_cats(train(run, {"--arch", "lenet", "--epochs", "1"})).status == 0);
  const auto result = dogs_vs_cats({"train", "--out", run.string(), "--resume", "--lr", "0.5"});
  CHECK(result.status == 1);
  CHECK(result.err.find("--lr") != std::string::npos);
  // A run that is done is done: nothing to go on with, and nothing changes.
  const std::string weights = weights_of(run);
  CHECK(dogs_vs_cats({"train", "--out", run.string(), "--resume"}).status == 0);
  CHECK(weights_of(run) == weights);
}

TEST_CASE("--math tf32 is a setting of the run: trained so, resumed so, used on any device, refused on cpu") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  const auto train_on = [&](const std::string& device, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train",    drawn_sample().string(),
                                          "--out",    run.string(),
                                          "--device", device,
                                          "--size",   "32",
                                          "--arch",   "lenet",
                                          "--epochs", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return dogs_vs_cats(arguments);
  };
  const auto refused = train_on("cpu", {"--math", "tf32"});
  CHECK(refused.status == 1);
  CHECK(lines(refused.err) == 1);
  CHECK(refused.err.find("the cpu device") != std::string::npos);
  CHECK(refused.err.find("no TF32") != std::string::npos);
  const auto unknown = train_on("simt", {"--math", "half"});
  CHECK(unknown.status == 2);
  CHECK(unknown.err.find("--math half: there is no such choice; it is one of fast, strict, tf32") != std::string::npos);
  CHECK_FALSE(fs::exists(run / "config.json"));

  const auto trained = train_on("simt", {"--math", "tf32"});
  CAPTURE(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(nlohmann::json::parse(read_all(run / "config.json"))["options"]["math"] == "tf32");
  CHECK(dogs_vs_cats({"train", "--out", run.string(), "--resume"}).status == 0);
  const auto another = dogs_vs_cats({"train", "--out", run.string(), "--resume", "--math", "fast"});
  CHECK(another.status == 1);
  CHECK(another.err.find("--math") != std::string::npos);
  CHECK(nlohmann::json::parse(read_all(run / "config.json"))["options"]["math"] == "tf32");
  const std::string pictures = (drawn_sample() / "valid").string();
  CHECK(dogs_vs_cats({"predict", run.string(), pictures, "--device", "cpu"}).status == 0);
}
