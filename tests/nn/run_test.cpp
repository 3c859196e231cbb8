// RUN: what training leaves is what using it reads, and failures leave the former model.

#include "nn/run.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/files.h"
#include "kernels/error.h"
#include "nn/metrics.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

/// Stripes under the names that LabelledData wants.
LabelledData stripes(int side, bool augmented) {
  return LabelledData({"upright", "lying"}, imagenet_normalization(), std::make_shared<Stripes>(24, 1, augmented, side),
                      std::make_shared<Stripes>(24, 1, false, side), std::make_shared<Stripes>(9, 2, false, side));
}

LearnerOptions options_for(const std::filesystem::path& run) {
  LearnerOptions options;
  options.device = "simt";
  options.batch = 8;
  options.run = run;
  options.command = "train stripes --arch lenet";
  options.options = {{"arch", "lenet"}};
  return options;
}

}  // namespace

TEST_CASE("a run holds what predict needs") {
  const TemporaryFolder folder;
  const LabelledData data = stripes(20, true);
  Learner learn(lenet(data.classes(), 3), data, options_for(folder / "run"));
  learn.fit(0.01, 2);

  const auto json = nlohmann::json::parse(read_file(folder / "run" / "config.json"));
  CHECK(json["format"] == 1);
  CHECK(json["arch"] == "lenet");
  CHECK(json["classes"][1] == "lying");
  CHECK(json["size"] == 20);
  CHECK(json["mean"].dump() == "[0.485,0.456,0.406]");
  CHECK(json["std"].dump() == "[0.229,0.224,0.225]");
  CHECK(json["command"] == "train stripes --arch lenet");
  CHECK(read_file(folder / "run" / "log.csv")
            .starts_with("epoch,train_loss,valid_loss,accuracy,seconds,images_per_second,lr,data_share,macro_f1\n0,"));

  const std::vector<EpochResult> log = load_log(folder / "run");
  REQUIRE(log.size() == 2);
  const Evaluation evaluation = learn.validate();
  CHECK(log.back().accuracy == doctest::Approx(evaluation.accuracy).epsilon(1e-5));
  CHECK(log.back().macro_f1 == doctest::Approx(macro_f_beta(evaluation.counts)).epsilon(1e-5));
  CHECK(log.back().macro_f1 > 0);
  std::filesystem::create_directories(folder / "older");
  write_file_atomically(folder / "older" / "log.csv",
                        "epoch,train_loss,valid_loss,accuracy,seconds,images_per_second,lr,"
                        "data_share\n0,0.7,0.6,0.5,1.5,20,0.01,0.1\n");
  CHECK(load_log(folder / "older").at(0).data_share == 0.1);
  CHECK(std::isnan(load_log(folder / "older").at(0).macro_f1));

  const RunConfig config = load_run_config(folder / "run");
  CHECK(config.options.at("arch") == "lenet");
  CHECK(config.fits == std::vector<int>{2});
  CHECK(config.plan == learn.plan());
  const Model model = load_run_model(folder / "run", config);
  CHECK(tests::same_bits(model.state(), learn.model().state()));
  LearnerOptions use;
  use.device = "simt";
  Learner user(model, nullptr, data.valid(), use);
  CHECK(user.validate().loss == doctest::Approx(learn.validate().loss).epsilon(1e-6));
}

TEST_CASE("while training is not finished, the former model stays in use") {
  const TemporaryFolder folder;
  const auto run = folder / "run";
  const LabelledData data = stripes(20, true);
  Learner(lenet(data.classes(), 3), data, options_for(run)).fit(0.01, 1);
  const std::string former = read_file(run / "model.safetensors"), settings = read_file(run / "config.json");

  LearnerOptions options = options_for(run);
  options.command = "another";
  Learner stopped(mlp(data.classes(), 3), data, options);
  stopped.add(std::make_shared<tests::StopAfter>(tests::StopAfter::When::step, 2));
  stopped.fit(0.01, 1);
  Learner::stop_requested() = false;
  CHECK(read_file(run / "model.safetensors") == former);
  CHECK(read_file(run / "config.json") == settings);
  CHECK(load_run_config(run).arch == "lenet");
  CHECK(load_run_config_to_resume(run).arch == "mlp");

  options.resume = true;
  Learner(mlp(data.classes(), 3), data, options).fit(0.01, 1);
  CHECK(load_run_config(run).arch == "mlp");
  CHECK(load_run_config_to_resume(run).command == "another");
  CHECK_NOTHROW(load_run_model(run, load_run_config(run)));
}

TEST_CASE("a finished run, resumed, is as it was") {
  const TemporaryFolder folder;
  const LabelledData data = stripes(20, true);
  LearnerOptions options = options_for(folder / "run");
  Learner(lenet(data.classes(), 3), data, options).fit(0.01, 2);
  const std::string model = read_file(folder / "run" / "model.safetensors");
  options.resume = true;
  Learner again(lenet(data.classes(), 3), data, options);
  CHECK(again.fit(0.01, 2).size() == 2);
  CHECK(read_file(folder / "run" / "model.safetensors") == model);
  CHECK(again.validate().predictions.size() == 9);
}

TEST_CASE("runs that cannot be used say why") {
  const TemporaryFolder folder;
  const auto config = [&](const std::string& text) {
    write_file_atomically(folder / "config.json", text);
    try {
      load_run_config(folder / "");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THROWS_WITH_AS(load_run_config(folder / "nowhere"),
                       doctest::Contains("no such folder: give the one that `train"), Error);
  CHECK_THROWS_WITH_AS(load_run_config_to_resume(folder / "nowhere"), doctest::Contains("resume"), Error);
  CHECK(config("{\"format\": 1").find("config.json") != std::string::npos);
  CHECK(config("{\"format\": 999}").find("999") != std::string::npos);
  CHECK(config("{\"format\": 1}").find("weft") != std::string::npos);
  RunConfig wrong;
  wrong.arch = "lenet";
  wrong.classes = {"a", "b"};
  CHECK(config(to_json(wrong)).find("0 means") != std::string::npos);
  wrong.mean = wrong.std = {0.5f};
  CHECK(config(to_json(wrong)).empty());
  CHECK_THROWS_WITH_AS(load_run_model(folder / "", wrong), doctest::Contains("model.safetensors"), Error);
}
