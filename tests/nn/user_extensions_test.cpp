// What a program outside of Weft adds without touching its files: a layer, an op of its own with its gradient, a loss,
// a schedule, a callback, parameter groups, a model made of them, and an augmentation of its own in the data set.

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "nn/learner.h"
#include "tests/nn/harness.h"

namespace {

/// softplus(x) = log(1 + exp(x)), which Weft does not have. On the host, and therefore on every device.
const std::shared_ptr<const weft::OpDefinition>& softplus_op();

std::shared_ptr<const weft::OpDefinition> make_softplus_backward() {
  auto op = std::make_shared<weft::OpDefinition>();
  op->name = "softplus_backward";
  op->infer = [](const weft::Node&, std::span<const weft::Value> inputs) {
    return std::vector<weft::Value>{{.name = "", .shape = inputs[1].shape}};
  };
  // dy, x -> dx = dy / (1 + exp(-x))
  op->run_on_host = [](const weft::Node&, std::span<const weft::HostOperand> in, std::span<weft::HostOperand> out) {
    const auto* dy = static_cast<const float*>(in[0].data);
    const auto* x = static_cast<const float*>(in[1].data);
    auto* dx = static_cast<float*>(out[0].data);
    for (std::int64_t i = 0; i < in[1].shape.elements(); ++i) dx[i] = dy[i] / (1 + std::exp(-x[i]));
  };
  return op;
}

const std::shared_ptr<const weft::OpDefinition>& softplus_op() {
  static const std::shared_ptr<const weft::OpDefinition> definition = [] {
    auto op = std::make_shared<weft::OpDefinition>();
    op->name = "softplus";
    op->infer = [](const weft::Node&, std::span<const weft::Value> inputs) {
      return std::vector<weft::Value>{{.name = "", .shape = inputs[0].shape}};
    };
    op->run_on_host = [](const weft::Node&, std::span<const weft::HostOperand> in, std::span<weft::HostOperand> out) {
      const auto* x = static_cast<const float*>(in[0].data);
      auto* y = static_cast<float*>(out[0].data);
      for (std::int64_t i = 0; i < in[0].shape.elements(); ++i)
        y[i] = std::max(x[i], 0.0f) + std::log1p(std::exp(-std::abs(x[i])));
    };
    op->differentiate = [](weft::Graph& graph, weft::NodeId id, std::span<const weft::ValueId> dys,
                           std::span<const bool>) {
      static const auto backward = make_softplus_backward();
      const weft::ValueId x = graph.node(id).inputs[0];
      const std::string name = graph.node(id).name;
      return std::vector<weft::ValueId>{graph.apply(name, backward, {dys[0], x})};
    };
    return std::shared_ptr<const weft::OpDefinition>(op);
  }();
  return definition;
}

/// A layer with a parameter of its own: softplus(x) + shift, one shift for each channel.
class Softplus : public weft::Module {
 public:
  weft::ValueId forward(weft::Builder& builder, weft::ValueId x) const override {
    const weft::ValueId shift = builder.parameter("shift", {builder.shape(x)[-1]}, weft::constant(-0.5f));
    const weft::ValueId y = builder.graph().apply(builder.path(), softplus_op(), {x});
    return weft::ops::bias_add(builder.graph(), builder.path("add"), y, shift);
  }
};

weft::Model own_model() {
  return weft::Model("mine",
                     weft::sequential({{"conv", weft::make<weft::Conv2d>(6, 3)},
                                       {"plus", weft::make<Softplus>()},
                                       {"gap", weft::make<weft::GlobalAveragePool>()},
                                       {"fc", weft::make<weft::Linear>(2)}}),
                     {"upright", "lying"}, "fc", 3, 1, 8);
}

class Recorder : public weft::Callback {
 public:
  void on_step(const weft::StepResult& step) override { steps.push_back(step); }
  void on_epoch(const weft::EpochResult& epoch) override { epochs.push_back(epoch); }
  std::vector<weft::StepResult> steps;
  std::vector<weft::EpochResult> epochs;
};

}  // namespace

TEST_CASE("own layer, loss, schedule, callback and groups, on every device") {
  for (const std::string& device : weft::tests::devices()) {
    CAPTURE(device);
    weft::LearnerOptions options;
    options.device = device;
    options.batch = 8;
    // Twice the cross-entropy: the trained and the validated loss are then both twice as large.
    options.loss = [](weft::Graph& graph, weft::ValueId logits, weft::ValueId labels) {
      return weft::ops::scale(graph, "twice", weft::ops::cross_entropy(graph, "loss", logits, labels), 2);
    };
    options.schedule = [](std::int64_t step, std::int64_t total) {
      return weft::Rates{.lr = 0.2 * (1 - static_cast<double>(step) / static_cast<double>(total)), .momentum = 0.8};
    };
    // The shift stays where it is: its group's rate is 0.
    options.groups = {{.lr_factor = 1}, {.lr_factor = 0}};
    options.group_of = [](const std::string& name) { return name == "plus.shift" ? 1 : 0; };
    const auto recorder = std::make_shared<Recorder>();
    weft::Learner learn(own_model(), std::make_shared<weft::tests::Stripes>(24, 1),
                        std::make_shared<weft::tests::Stripes>(10, 2), options);
    learn.add(recorder);
    const auto rows = learn.fit(0.2, 8);

    REQUIRE(recorder->steps.size() == 24);
    CHECK(recorder->epochs.size() == 8);
    CHECK(recorder->steps[12].lr == doctest::Approx(0.1));
    CHECK(recorder->steps[12].momentum == 0.8);
    CHECK(recorder->steps[12].total_steps == 24);
    CHECK(rows.back().train_loss < 0.7 * rows.front().train_loss);
    for (float shift : learn.model().state().at("plus.shift").values<float>()) CHECK(shift == -0.5f);

    const weft::Evaluation evaluation = learn.validate();
    double sum = 0;
    for (const weft::Prediction& prediction : evaluation.predictions)
      sum -= std::log(static_cast<double>(prediction.probabilities[static_cast<std::size_t>(prediction.label)]));
    CHECK(evaluation.loss == doctest::Approx(2 * sum / 10).epsilon(1e-4));
  }
}
