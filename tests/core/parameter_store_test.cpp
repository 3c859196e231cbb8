#include "core/parameter_store.h"

#include <doctest/doctest.h>

#include <string>

#include "core/ops.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

ParameterStore make_store(const Graph& graph, const std::function<int(const std::string&)>& group_of = {}) {
  const std::shared_ptr<Device> device = make_device("simt");
  return {device, graph, device->compile(graph, {}), group_of};
}

TEST_CASE("parameter store: numbers go in and come out, everything starts as zero") {
  const Graph graph = with_gradients(small_net(), "loss");
  ParameterStore store = make_store(graph);
  CHECK(store.get("fc.weight").values<float>()[3] == 0);
  StateDict state = random_leaves(graph);
  state.emplace("too.much", Tensor::zeros({1}));
  const std::uint64_t version = store.entry("fc.weight").version;
  store.load(state);
  CHECK(store.entry("fc.weight").version == version + 1);
  const StateDict saved = store.save();
  CHECK(saved.size() == store.entries().size());
  CHECK(!saved.contains("too.much"));
  CHECK(!saved.contains("input"));
  for (const auto& [name, tensor] : saved)
    for (std::size_t i = 0; i < tensor.values<float>().size(); ++i)
      CHECK(tensor.values<float>()[i] == state.at(name).values<float>()[i]);
  store.set("fc.bias", Tensor::full({3}, 0.5f).to(DType::bf16));
  CHECK(store.get("fc.bias").values<float>()[2] == 0.5f);
}

TEST_CASE("parameter store: errors name the parameter") {
  ParameterStore store = make_store(small_net());
  CHECK_THROWS_WITH_AS(store.set("fc.weight", Tensor::zeros({8, 3})), "fc.weight has shape (3, 8), got (8, 3)", Error);
  CHECK_THROWS_WITH_AS(store.get("fc.wieght"), "there is no parameter \"fc.wieght\"; near names: fc.weight", Error);
  StateDict state = random_leaves(small_net());
  state.erase("bn1.running_var");
  CHECK_THROWS_WITH_AS(store.load(state), "1 parameters are missing: bn1.running_var", Error);
  CHECK_THROWS_AS(store.gradient("bn1.running_mean"), Error);
}

TEST_CASE("parameter store: groups are flat ranges, entries start on a cache line") {
  const Graph graph = with_gradients(small_net(), "loss");
  ParameterStore store = make_store(graph, [](const std::string& name) { return name.starts_with("fc") ? 2 : 0; });
  CHECK(store.groups() == 3);
  CHECK(store.range(0).offset == 0);
  CHECK(store.range(1).floats == 0);
  CHECK(store.range(1).offset == store.range(0).floats);
  CHECK(store.range(2).offset == store.range(0).floats);
  for (const ParameterStore::Entry& entry : store.entries()) {
    CHECK(entry.offset % 64 == 0);
    CHECK(entry.bytes % 64 == 0);
    if (!entry.trained) {
      CHECK(store.gradient_data(entry) == nullptr);
      continue;
    }
    const ParameterStore::Range range = store.range(entry.group);
    CHECK(entry.offset / 4 >= range.offset);
    CHECK((entry.offset + entry.bytes) / 4 <= range.offset + range.floats);
    CHECK(entry.group == (entry.name.starts_with("fc") ? 2 : 0));
  }
}

TEST_CASE("parameter store: an SGD step over a whole range leaves the padding zero") {
  const Graph graph = with_gradients(small_net(), "loss");
  ParameterStore store = make_store(graph);
  store.load(random_leaves(graph));
  const ParameterStore::Range range = store.range(0);
  for (int i = 0; i < 2; ++i)
    store.device().sgd_step({.weight = store.weights() + range.offset,
                             .gradient = store.gradients() + range.offset,
                             .velocity = store.velocities() + range.offset,
                             .groups = {{static_cast<std::int64_t>(range.floats), 0.1, 0.01}},
                             .momentum = 0.9,
                             .nesterov = true});
  const ParameterStore::Entry& bias = store.entry("fc.bias");  // 3 floats of 16
  float floats[16];
  store.device().copy_out(floats, store.data(bias), sizeof floats);
  for (int i = 0; i < 16; ++i) CHECK((floats[i] != 0) == (i < 3));
}

TEST_CASE("parameter store: velocities are saved and taken again") {
  const Graph graph = with_gradients(small_net(), "loss");
  ParameterStore store = make_store(graph), other = make_store(graph);
  StateDict velocity;
  for (const auto& [name, tensor] : random_leaves(graph, 9))
    if (store.contains(name) && store.entry(name).trained) velocity.emplace(name, tensor);
  store.load_velocity(velocity);
  other.load_velocity(store.save_velocity());
  const StateDict saved = other.save_velocity();
  CHECK(saved.size() == velocity.size());
  CHECK(saved.at("conv1.weight").values<float>()[11] == velocity.at("conv1.weight").values<float>()[11]);
  velocity.erase("fc.bias");
  CHECK_THROWS_WITH_AS(store.load_velocity(velocity), "the velocity of fc.bias is missing", Error);
}

TEST_CASE("parameter store: a graph without gradients gets no arenas for them until asked") {
  const ParameterStore store = make_store(small_net());
  const Graph training = with_gradients(small_net(), "loss");
  const std::size_t before = store.bytes();
  CHECK(make_store(training).bytes() > 2 * before);
  CHECK(store.gradients() != nullptr);
  CHECK(store.bytes() > before);
}

TEST_CASE("parameter store: versions") {
  ParameterStore store = make_store(small_net());
  store.touch_states();
  CHECK(store.entry("bn1.running_mean").version == 1);
  CHECK(store.entry("bn1.weight").version == 0);
  store.touch_trained();
  CHECK(store.entry("bn1.running_mean").version == 1);
  CHECK(store.entry("bn1.weight").version == 1);
}

}  // namespace
}  // namespace weft::test
