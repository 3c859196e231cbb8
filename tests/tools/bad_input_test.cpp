// Every bad input gets one clear line: what, where, what to do; exit 1 where it failed, 2 where the command line was
// wrong.

#include <doctest/doctest.h>

#include <map>
#include <regex>
#include <sstream>

#include "tests/tools/harness.h"

namespace fs = std::filesystem;
using namespace weft::tests;

namespace {

/// The verbs of dogs_vs_cats, as its own help lists them.
std::vector<std::string> verbs() {
  const std::string help = dogs_vs_cats({"--help"}).out;
  std::istringstream text(help.substr(help.find("Subcommands:")));
  std::vector<std::string> names;
  std::string line;
  for (std::getline(text, line); std::getline(text, line);)
    if (line.starts_with("  ") && line[2] != ' ') names.push_back(line.substr(2, line.find(' ', 2) - 2));
  return names;
}

/// The real-valued options that a verb's own help lists.
std::vector<std::string> real_options(const std::string& verb) {
  const std::string help = dogs_vs_cats({verb, "--help"}).out;
  static const std::regex option(R"((--[a-z-]+) FLOAT)");
  std::vector<std::string> names;
  for (std::sregex_iterator at(help.begin(), help.end(), option), end; at != end; ++at) names.push_back((*at)[1]);
  return names;
}

/// One line on stderr that holds `words`, nothing after it, the exit status given.
void check_refused(const ProcessResult& result, int status, const std::vector<std::string>& words) {
  CAPTURE(result.out);
  CAPTURE(result.err);
  CHECK(result.status == status);
  CHECK(lines(result.err) == 1);
  for (const auto& word : words) CHECK_MESSAGE(result.err.find(word) != std::string::npos, "no \"", word, "\" in it");
}

std::vector<std::string> train(const fs::path& data, const fs::path& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train",  data.string(), "--out",    run.string(), "--arch",   "lenet",
                                        "--size", "32",          "--epochs", "1",          "--device", "cpu"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

fs::path copy_of_sample(const TemporaryFolder& folder) {
  fs::copy(drawn_sample(), folder / "data", fs::copy_options::recursive);
  return folder / "data";
}

fs::path first_file(const fs::path& folder) {
  return fs::directory_iterator(folder)->path();
}

}  // namespace

TEST_CASE("a wrong command line exits 2") {
  const TemporaryFolder folder;
  CHECK(dogs_vs_cats({}).status == 2);
  CHECK(dogs_vs_cats({"trian"}).status == 2);
  CHECK(dogs_vs_cats({"train", drawn_sample().string()}).status == 2);  // no --out
  CHECK(dogs_vs_cats(train(drawn_sample(), folder / "run", {"--batch", "0"})).status == 2);
  check_refused(dogs_vs_cats(train(drawn_sample(), folder / "run", {"--policy", "warmup"})), 2,
                {"warmup", "constant", "step", "triangular", "one-cycle"});
  check_refused(
      dogs_vs_cats({"train", drawn_sample().string(), "--out", (folder / "run").string(), "--arch", "resnet19"}), 2,
      {"resnet19", "resnet18", "squeezenet1_1"});
  CHECK_FALSE(fs::exists(folder / "run"));
}

TEST_CASE("a layer that there is not is found before anything is trained, in the last stage too") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  const auto refused = [&](const std::vector<std::string>& options, const std::vector<std::string>& words) {
    const auto result = dogs_vs_cats(train(drawn_sample(), run, options));
    check_refused(result, 2, words);
    CHECK(result.out.find("epoch") == std::string::npos);
    CHECK_FALSE(fs::exists(run / "checkpoint.safetensors"));
    CHECK_FALSE(fs::exists(run / "model.safetensors"));
  };
  refused({"--stages", "head:2@1e-2; conv9:1@1e-2"}, {"--stages", "no layer 'conv9'", "conv2, fc1, fc2"});
  refused({"--stages", "head:1@1e-2; conv1:1@1e-2"}, {"--stages", "nothing of lenet comes before 'conv1'", "conv2"});
  refused({"--freeze-to", "layer9"}, {"--freeze-to", "no layer 'layer9'", "conv2, fc1, fc2"});
  refused({"--freeze-to", "fc1", "--freeze"}, {"--freeze", "give one"});
  check_refused(dogs_vs_cats({"lr-find", drawn_sample().string(), "--out", run.string(), "--arch", "lenet", "--device",
                              "cpu", "--freeze-to", "layer9"}),
                2, {"--freeze-to", "no layer 'layer9'"});
}

TEST_CASE("a refused command line is one line: which verb, what is wrong, where help is") {
  check_refused(dogs_vs_cats({"train", "x"}), 2, {"dogs_vs_cats train: --out is required; --help lists the options\n"});
  check_refused(dogs_vs_cats({"schedule", "--wormup", "1"}), 2, {"dogs_vs_cats schedule: ", "--wormup"});
  check_refused(dogs_vs_cats({}), 2, {"dogs_vs_cats: a verb is missing", "train", "unpack"});
  check_refused(dogs_vs_cats({"shedule"}), 2, {"dogs_vs_cats: there is no verb 'shedule'; did you mean schedule?"});
  const auto unlike = dogs_vs_cats({"xyz"});
  check_refused(unlike, 2, {"there is no verb 'xyz'. The verbs are train, "});
  CHECK(unlike.err.find("did you mean") == std::string::npos);
  for (const std::string& verb : verbs()) CHECK_MESSAGE(unlike.err.find(verb) != std::string::npos, verb);
  check_refused(run_program("weft_doctor", {"weigths", "x"}), 2, {"weft_doctor: ", "'weigths'; did you mean weights?"});
  check_refused(run_program("weft_doctor", {"weights"}), 2, {"weft_doctor weights: FILE is required"});
}

TEST_CASE("no verb takes a real number that is none") {
  std::map<std::string, std::size_t> options;
  for (const std::string& verb : verbs()) {
    options[verb] = real_options(verb).size();
    for (const std::string& option : real_options(verb))
      for (const char* value : {"nan", "inf", "-inf", "abc", "1e999"})
        check_refused(dogs_vs_cats({verb, option + "=" + value}), 2,
                      {"dogs_vs_cats " + verb + ": " + option + ": '" + value + "' is not a"});
  }
  // What the help was read for.
  CHECK(options.size() >= 12);
  CHECK(options["train"] >= 22);
  CHECK(options["schedule"] >= 13);
  CHECK(options["lr-find"] >= 11);
  CHECK(options["evaluate"] >= 2);
  // Rates are texts in `train`; ranges are said in words, not in 300 digits.
  const auto data = drawn_sample().string();
  for (const char* stage : {"head:1@nan", "head:1@1e-2,inf", "all:sgdr(3 cycles, cycle_len=inf)@1e-2",
                            "all:step(2, step_size=inf)@1e-2", "all:one-cycle(2, div=nan)@1e-2"})
    check_refused(dogs_vs_cats({"train", data, "--out", "none", "--stages", stage}), 2, {});
  for (const char* rates : {"nan", "1e-3,inf", "-inf"})
    check_refused(dogs_vs_cats({"train", data, "--out", "none", std::string("--lr=") + rates}), 2, {"above 0"});
  check_refused(dogs_vs_cats({"schedule", "--lr", "1e-3,nan"}), 2, {"'nan' is not a number above 0"});
  check_refused(dogs_vs_cats({"train", data, "--weight-decay=-1"}), 2, {"'-1' is not a number from 0"});
  check_refused(dogs_vs_cats({"train", data, "--mixup", "101"}), 2, {"'101' is not a number from 0 to 100"});
}

TEST_CASE("pictures too small for an architecture are refused with the smallest that are not") {
  const TemporaryFolder folder;
  const auto smallest = [](const std::string& arch) {
    const auto refused = dogs_vs_cats({"graph", "--arch", arch, "--size", "8"});
    check_refused(refused, 2, {"pictures of 8 x 8 are too small for " + arch, "it takes --size "});
    const std::string words = "--size ";
    return std::stoi(refused.err.substr(refused.err.find(words) + words.size()));
  };
  for (const char* arch : {"lenet", "squeezenet1_1"}) {
    const int size = smallest(arch);
    CHECK(dogs_vs_cats({"graph", "--arch", arch, "--size", std::to_string(size)}).status == 0);
    CHECK(dogs_vs_cats({"graph", "--arch", arch, "--size", std::to_string(size - 1)}).status == 2);
  }
  CHECK(smallest("lenet") == 16);
  check_refused(dogs_vs_cats({"train", drawn_sample().string(), "--out", (folder / "run").string(), "--arch", "lenet",
                              "--size", "8"}),
                2, {"--size 16 or more"});
}

TEST_CASE("--version and --help exit 0") {
  const auto version = dogs_vs_cats({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out.starts_with("weft "));
  CHECK(dogs_vs_cats({"train", "--help"}).status == 0);
  CHECK(run_program("weft_doctor", {"--version"}).status == 0);
}

TEST_CASE("the doctor says what a machine has") {
  const auto result = run_program("weft_doctor", {});
  CHECK(result.status == 0);
  CHECK(result.out.find("cpu") != std::string::npos);
  CHECK(result.out.find("simt") != std::string::npos);
  CHECK(result.out.find("cuda") != std::string::npos);
}

TEST_CASE("folders that cannot be trained on") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  check_refused(dogs_vs_cats(train(folder / "nowhere", run)), 1, {"nowhere"});

  fs::create_directories(folder / "empty");
  check_refused(dogs_vs_cats(train(folder / "empty", run)), 1, {"empty"});

  const auto data = copy_of_sample(folder);
  fs::create_directories(data / "train" / "birds");
  check_refused(dogs_vs_cats(train(data, run)), 1, {"birds"});
  fs::remove_all(data / "train" / "birds");

  fs::remove_all(data / "train" / "dogs");
  fs::remove_all(data / "valid" / "dogs");
  check_refused(dogs_vs_cats(train(data, run)), 1, {"one class"});
}

TEST_CASE("pictures that cannot be used are left out, counted and named") {
  const TemporaryFolder folder;
  const auto data = copy_of_sample(folder);
  write_all(data / "train" / "cats" / "notes.jpg", "this is no picture");
  write_all(data / "train" / "cats" / "nothing.jpg", "");
  const std::string whole = read_all(first_file(data / "train" / "dogs"));
  write_all(data / "train" / "dogs" / "cut.jpg", whole.substr(0, whole.size() / 2));
  const auto result = dogs_vs_cats(train(data, folder / "run"));
  CAPTURE(result.err);
  CHECK(result.status == 0);
  for (const char* name : {"notes.jpg", "nothing.jpg", "cut.jpg"}) CHECK(result.err.find(name) != std::string::npos);
  CHECK(lines(result.err) == 3);

  const auto audited = dogs_vs_cats({"audit", data.string()});
  CHECK(audited.status == 1);
  for (const char* name : {"notes.jpg", "nothing.jpg", "cut.jpg"}) CHECK(audited.out.find(name) != std::string::npos);
  CHECK(dogs_vs_cats({"audit", drawn_sample().string()}).status == 0);
}

TEST_CASE("a RUN that cannot be written is refused before the work") {
  const TemporaryFolder folder;
  write_all(folder / "file", "a regular file");
  check_refused(dogs_vs_cats(train(drawn_sample(), folder.path() / "file" / "run")), 1, {"file"});
  check_refused(dogs_vs_cats(train(drawn_sample(), folder / "file")), 1, {"file"});
}

TEST_CASE("weights that do not fit") {
  const TemporaryFolder folder;
  const auto made = dogs_vs_cats(train(drawn_sample(), folder / "lenet"));
  REQUIRE(made.status == 0);
  const std::string lenet = (folder / "lenet" / "model.safetensors").string();
  check_refused(dogs_vs_cats({"train", drawn_sample().string(), "--out", (folder / "run").string(), "--arch",
                              "squeezenet1_1", "--size", "64", "--weights", lenet}),
                1, {"squeezenet1_1", "lenet"});

  std::string broken = read_all(lenet);
  broken[3] = '\x7f';  // the header's length
  write_all(folder / "broken.safetensors", broken);
  check_refused(
      dogs_vs_cats(train(drawn_sample(), folder / "run", {"--weights", (folder / "broken.safetensors").string()})), 1,
      {"broken.safetensors", "header"});
  check_refused(
      dogs_vs_cats(train(drawn_sample(), folder / "run", {"--weights", (folder / "none.safetensors").string()})), 1,
      {"none.safetensors"});
}

TEST_CASE("devices that are not there") {
  const TemporaryFolder folder;
  check_refused(dogs_vs_cats(train(drawn_sample(), folder / "run", {"--device", "tpu"})), 2, {"tpu", "cpu", "simt"});
  const auto cuda = dogs_vs_cats(train(drawn_sample(), folder / "run", {"--device", "cuda:7"}));
  if (cuda.status != 0) check_refused(cuda, 1, {"cuda"});
}

TEST_CASE("runs that cannot be used") {
  const TemporaryFolder folder;
  const std::string picture = first_file(drawn_sample() / "valid" / "cats").string();
  check_refused(dogs_vs_cats({"predict", (folder / "nowhere").string(), picture}), 1, {"nowhere"});
  write_all(folder / "half" / "config.json", "{\"format\": 1");
  check_refused(dogs_vs_cats({"predict", (folder / "half").string(), picture}), 1, {"config.json"});
  write_all(folder / "newer" / "config.json", "{\"format\": 999}");
  check_refused(dogs_vs_cats({"evaluate", (folder / "newer").string(), drawn_sample().string()}), 1,
                {"config.json", "999"});
}
