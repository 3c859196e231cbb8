// train_step as a person runs it.

#include <doctest/doctest.h>

#include "tests/tools/harness.h"

namespace weft::tests {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("train_step --profile: where the time goes, and what memory a step takes with sharing and without") {
  std::vector<std::string> arguments = {"--arch", "squeezenet1_1", "--size", "32",        "--batch",
                                        "2",      "--steps",       "1",      "--threads", "2"};
  const auto plain = run_program("train_step", arguments);
  CAPTURE(plain.err);
  REQUIRE(plain.status == 0);
  CHECK(!has(plain.out, "without sharing"));
  arguments.push_back("--profile");
  const auto profiled = run_program("train_step", arguments);
  CAPTURE(profiled.out);
  CAPTURE(profiled.err);
  REQUIRE(profiled.status == 0);
  const ActivationBytes bytes = activation_bytes(profiled.out);
  CHECK(bytes.shared > 0);
  CHECK(bytes.shared < bytes.unshared);
  // The last line is what a peer's is compared with.
  CHECK(profiled.out.find("img/s (best") > profiled.out.find("without sharing"));
  CHECK(lines(profiled.out.substr(profiled.out.find("squeezenet1_1 32px"))) == 1);
}

TEST_CASE("train_step --size: a model whose head goes by the size of its pictures gets it") {
  const auto lenet =
      run_program("train_step", {"--arch", "lenet", "--size", "32", "--batch", "2", "--steps", "1", "--threads", "1"});
  CHECK(lenet.status == 0);
  CHECK(lenet.out.find("lenet 32px batch 2 fp32") != std::string::npos);
}

TEST_CASE("train_step --no-fuse: the same step, every node by itself") {
  for (const std::string device : {"simt", "cpu"}) {
    std::vector<std::string> arguments = {"--arch",  "lenet", "--size",   "28",   "--batch",  "2",
                                          "--steps", "1",     "--device", device, "--profile"};
    const auto fused = run_program("train_step", arguments);
    arguments.push_back("--no-fuse");
    const auto apart = run_program("train_step", arguments);
    CAPTURE(device);
    CAPTURE(fused.out);
    CAPTURE(apart.out);
    REQUIRE(fused.status == 0);
    REQUIRE(apart.status == 0);
    const std::string mark = device == "cpu" ? " +relu" : " + relu";  // in an algorithm, or in a node's name
    CHECK(has(fused.out, mark));
    CHECK(!has(fused.out, "nothing fused"));
    CHECK(!has(apart.out, mark));
    CHECK(has(apart.out, " math, nothing fused, "));
    const auto losses = [](const std::string& text) {
      const std::size_t at = text.find(", loss ");
      return text.substr(at, text.find('\n', at) - at);
    };
    CHECK(has(losses(fused.out), "->"));
    CHECK(losses(fused.out) == losses(apart.out));
  }
}

}  // namespace
}  // namespace weft::tests
