// What is frozen stays, what is not moves at its own rate, and stages follow each other as in fast.ai's first lesson.

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "nn/groups.h"
#include "nn/learner.h"
#include "tests/nn/harness.h"

using namespace weft;
using tests::StopAfter;
using tests::Stripes;
using tests::TemporaryFolder;

namespace {

LearnerOptions options_for(const std::string& device) {
  return tests::small_options(device, 1);
}

/// Augmented pictures and plain ones.
LabelledData stripes() {
  return LabelledData({"upright", "lying"}, imagenet_normalization(), std::make_shared<Stripes>(24, 1, true),
                      std::make_shared<Stripes>(24, 1, false), std::make_shared<Stripes>(9, 2, false));
}

/// The names of what differs, at their layers.
std::string moved(const StateDict& before, const StateDict& after) {
  std::string names;
  for (const auto& [name, tensor] : before)
    if (tests::largest_difference(tensor, after.at(name)) > 0) names += name + " ";
  return names;
}

}  // namespace

TEST_CASE("freeze, freeze_to and unfreeze say what moves") {
  const std::string conv2 = "bn2.bias bn2.running_mean bn2.running_var bn2.weight conv2.weight ";
  const std::string head = "head.fc.bias head.fc.weight ";
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    Learner learn(tests::small_model(), stripes(), options_for(device));
    const auto trains = [&] {
      const StateDict before = learn.model().state();
      learn.fit(0.05, 1);
      return moved(before, learn.model().state());
    };
    CHECK(learn.freeze().model().classes().size() == 2);
    CHECK(trains() == head);
    learn.freeze_to("conv2");
    CHECK(trains() == conv2 + head);
    learn.freeze_to("bn2");
    CHECK(trains() == "bn2.bias bn2.running_mean bn2.running_var bn2.weight " + head);
    learn.unfreeze();
    CHECK(trains() ==
          "bn1.bias bn1.running_mean bn1.running_var bn1.weight "
          "bn2.bias bn2.running_mean bn2.running_var bn2.weight conv1.weight conv2.weight " +
              head);
    learn.freeze();
    CHECK(trains() == head);
    // The features were computed anew, since the trunk had moved: head and whole agree.
    const auto rows = learn.fit(1e-9, 1);
    CHECK(rows[0].valid_loss == doctest::Approx(learn.validate().loss).epsilon(1e-4));
  }
}

TEST_CASE("batch norm's statistics may stay while its scale learns") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    LearnerOptions options = options_for(device);
    options.fixed_batch_norm = true;
    Learner learn(tests::small_model(), stripes(), options);
    const StateDict before = learn.model().state();
    learn.fit(0.05, 1);
    CHECK(moved(before, learn.model().state()) ==
          "bn1.bias bn1.weight bn2.bias bn2.weight conv1.weight conv2.weight head.fc.bias head.fc.weight ");
  }
}

TEST_CASE("each part of the model goes at its own rate") {
  for (const std::string& device : tests::devices()) {
    CAPTURE(device);
    LearnerOptions options = options_for(device);
    options.batch = 24;  // one step
    const auto moves = [&](const std::vector<double>& rates) {
      Learner learn(tests::small_model(), std::make_shared<Stripes>(24, 1), std::make_shared<Stripes>(9, 2), options);
      const StateDict before = learn.model().state();
      learn.fit(rates, 1);
      std::map<std::string, double> lengths;
      for (const auto& [name, tensor] : learn.model().state())
        lengths[name] = tests::largest_difference(tensor, before.at(name));
      return lengths;
    };
    const auto one = moves({0.1}), three = moves({0.001, 0.01, 0.1}), two = moves({0.05, 0.1});
    for (const auto& [name, length] : one) {
      if (name.find("running") != std::string::npos) continue;
      CAPTURE(name);
      CHECK(length > 0);
      const bool head = name.starts_with("head"), first = name.find('1') != std::string::npos;
      CHECK(three.at(name) == doctest::Approx(length * (head ? 1 : first ? 0.01 : 0.1)).epsilon(1e-2));
      CHECK(two.at(name) == doctest::Approx(length * (head ? 1 : 0.5)).epsilon(1e-2));
    }
  }
  Learner learn(tests::small_model(), stripes(), options_for("simt"));
  CHECK_THROWS_WITH_AS(learn.fit({1, 1, 1, 1}, 1), doctest::Contains("one, two or three"), UsageError);
  CHECK_THROWS_WITH_AS(learn.fit(std::vector<double>{}, 1), doctest::Contains("learning rate"), Error);
  CHECK_THROWS_WITH_AS(learn.fit({0, 0.1}, 1), doctest::Contains("above 0"), Error);
}

TEST_CASE("the parts of the architectures") {
  const auto group = [](const Model& model, int groups, const std::string& name) {
    return layer_groups(model, groups)(name);
  };
  const Model resnet = resnet18({"cat", "dog"});
  CHECK(group(resnet, 3, "conv1.weight") == 0);
  CHECK(group(resnet, 3, "layer2.1.bn2.running_mean") == 0);
  CHECK(group(resnet, 3, "layer3.0.conv1.weight") == 1);
  CHECK(group(resnet, 3, "layer3.0.downsample.0.weight") == 1);
  CHECK(group(resnet, 3, "layer4.1.bn2.bias") == 1);
  CHECK(group(resnet, 3, "fc.weight") == 2);
  CHECK(group(resnet, 2, "layer4.1.bn2.bias") == 0);
  CHECK(group(resnet, 2, "fc.bias") == 1);
  CHECK(group(resnet, 1, "fc.bias") == 0);
  const Model squeezenet = squeezenet1_1({"cat", "dog"});
  CHECK(group(squeezenet, 3, "features.4.squeeze.weight") == 0);
  CHECK(group(squeezenet, 3, "features.6.expand3x3.weight") == 1);
  CHECK(group(squeezenet, 3, "features.12.squeeze.bias") == 1);
  CHECK(group(squeezenet, 3, "classifier.1.weight") == 2);
  // Every architecture has three parts, none of them empty.
  for (const std::string& arch : model_names()) {
    CAPTURE(arch);
    const Model model = make_model(arch, {"cat", "dog"});
    std::map<int, int> sizes;
    const auto group_of = layer_groups(model, 3);
    for (const auto& [name, shape] : model.shapes()) ++sizes[group_of(name)];
    CHECK(sizes.size() == 3);
  }
  const auto frozen = layers_before(squeezenet, "classifier");
  CHECK(frozen("features.12.squeeze"));
  CHECK_FALSE(frozen("classifier.0"));  // dropout, which has no parameters
  CHECK_THROWS_WITH_AS(layers_before(resnet, "layer5"), doctest::Contains("layer1"), Error);
  CHECK_THROWS_WITH_AS(layers_before(resnet, "conv1"), doctest::Contains("nothing to freeze"), Error);
  // A refusal says where the model can be cut: of a container that nothing comes before, at its parts.
  const auto refused = [](const std::string& arch, const std::string& layer, const std::string& there) {
    CHECK_THROWS_WITH_AS(layers_before(make_model(arch, {"cat", "dog"}), layer), doctest::Contains(there.c_str()),
                         Error);
  };
  refused("resnet18", "nonsense", "there are bn1, layer1, layer2, layer3, layer4, fc");
  refused("resnet18", "conv1", "there are bn1, layer1, layer2, layer3, layer4, fc");
  refused("lenet", "layer9", "there are conv2, fc1, fc2");
  refused("squeezenet1_1", "layer9", "there are features.3, features.4, features.6, features.7");
  refused("squeezenet1_1", "layer9", "features.12, classifier");
}

TEST_CASE("head, then everything, in one run, broken off in either: the bits of an unbroken one") {
  for (const std::string& device : tests::devices()) {
    const auto lesson = [](Learner& learn) {
      learn.freeze();
      learn.fit(0.05, 1);
      if (learn.interrupted()) return;
      learn.unfreeze();
      learn.fit({0.005, 0.01, 0.05}, 2, {.policy = "triangular"});
      if (learn.interrupted()) return;
      learn.freeze();
      learn.fit(0.01, 1, {.policy = "one-cycle"});
    };
    CAPTURE(device);
    LearnerOptions options = options_for(device);
    Learner whole(tests::small_model(), stripes(), options);
    lesson(whole);
    for (const int at : {2, 8, 11}) {
      CAPTURE(at);
      const TemporaryFolder folder;
      options.run = folder / "run";
      options.resume = false;
      {
        Learner learn(tests::small_model(), stripes(), options);
        learn.add(std::make_shared<StopAfter>(StopAfter::When::step, at));
        lesson(learn);
        Learner::stop_requested() = false;
        REQUIRE(learn.interrupted());
      }
      options.resume = true;
      Learner learn(tests::small_model(), stripes(), options);
      lesson(learn);
      CHECK(tests::same_bits(learn.model().state(), whole.model().state()));
      CHECK(load_log(options.run).size() == 4);
    }
  }
}
