// A device with layouts of its own: the executor and the store must take them for what they are. This one keeps
// filters, pictures and their gradients back to front and padded, and reverses what the simt device computes.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "core/executor.h"
#include "core/passes.h"
#include "kernels/error.h"
#include "tests/core/harness.h"

namespace weft::test {
namespace {

constexpr std::size_t kPadding = 5;  // elements in front

struct Reversed final : Layout {
  std::string describe() const override { return "reversed"; }
  bool equals(const Layout& other) const override { return dynamic_cast<const Reversed*>(&other) != nullptr; }
};

class ReversedDevice final : public Device {
 public:
  /// `filters`: whether parameters are kept reversed as well.
  explicit ReversedDevice(bool filters) : filters_(filters), inner_(make_device("simt")) {}
  ~ReversedDevice() override { release_pool(); }

  void keep_filters_reversed(bool filters) { filters_ = filters; }

  std::string name() const override { return "reversed"; }
  std::string describe() const override { return "a test's"; }
  std::size_t memory_available() const override { return inner_->memory_available(); }
  void copy_in(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_out(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void fill_zero(void* data, std::size_t bytes) override { std::memset(data, 0, bytes); }
  void synchronize() override {}
  void sgd_step(const SgdArguments& arguments) override { inner_->sgd_step(arguments); }

  void reorder(const Shape& shape, DType dtype, const void* from, const LayoutPtr& from_layout, void* to,
               const LayoutPtr& to_layout) override {
    REQUIRE(dtype == DType::f32);
    const auto count = static_cast<std::size_t>(shape.elements());
    const float* source = static_cast<const float*>(from) + (from_layout ? kPadding : 0);
    float* target = static_cast<float*>(to);
    if (to_layout) {
      std::fill_n(target, kPadding, 0.0f);
      target += kPadding;
    }
    if ((from_layout == nullptr) == (to_layout == nullptr))
      std::copy_n(source, count, target);
    else
      std::reverse_copy(source, source + count, target);
  }

  Program compile(const Graph& graph, const CompileOptions& options) override {
    const auto inner = std::make_shared<Program>(inner_->compile(graph, options));
    Program program;
    program.storage = inner->storage;
    const auto reverse = [&](ValueId id) {
      ValueStorage& storage = program.storage[static_cast<std::size_t>(id.index)];
      if (storage.layout) return;
      storage.layout = std::make_shared<Reversed>();
      storage.bytes += kPadding * sizeof(float);
    };
    for (int i = 0; i < graph.value_count(); ++i) {
      const Value& value = graph.value(ValueId{i});
      if (value.dtype != DType::f32 || value.shape.rank() != 4) continue;
      if (value.kind != ValueKind::parameter) reverse(ValueId{i});
    }
    for (int i = 0; i < graph.value_count(); ++i) {
      const Value& value = graph.value(ValueId{i});
      if (value.kind == ValueKind::activation || value.kind == ValueKind::input) continue;
      const auto gradient = graph.outputs().find("grad." + value.name);
      if (filters_) {  // running statistics too, so that states are written back
        reverse(ValueId{i});
        if (gradient != graph.outputs().end()) reverse(gradient->second);
      } else if (gradient != graph.outputs().end()) {
        ValueStorage& storage = program.storage[static_cast<std::size_t>(gradient->second.index)];
        if (storage.layout) storage.bytes -= kPadding * sizeof(float);
        storage.layout = nullptr;
      }
    }
    program.plan = inner->plan;
    for (std::size_t i = 0; i < inner->steps.size(); ++i) program.steps.push_back(wrap(graph, program, *inner, i));
    return program;
  }

 protected:
  void* allocate_bytes(std::size_t bytes) override { return std::aligned_alloc(512, (bytes + 511) / 512 * 512); }
  void release_bytes(void* data) noexcept override { std::free(data); }

 private:
  class Dense final : public StepContext {
   public:
    Dense(const StepContext& outer, std::map<ValueId, Tensor>& tensors) : outer_(outer), tensors_(tensors) {}
    void* data(ValueId value) const override { return value ? tensors_.at(value).data() : nullptr; }
    void* workspace() const override { return outer_.workspace(); }
    std::uint64_t step() const override { return outer_.step(); }
    std::uint64_t parameters_version() const override { return outer_.parameters_version(); }

   private:
    const StepContext& outer_;
    std::map<ValueId, Tensor>& tensors_;
  };

  /// The inner device's step on dense copies of its operands.
  Step wrap(const Graph& graph, const Program& program, const Program& inner, std::size_t index) {
    Step step = inner.steps[index];
    const std::vector<ValueStorage> storage = program.storage;
    const auto values = graph.values();
    const std::vector<Value> kept(values.begin(), values.end());
    step.run = [this, storage, kept, step](const StepContext& context) {
      std::map<ValueId, Tensor> tensors;
      const auto move = [&](ValueId id, bool in) {
        const Value& value = kept[static_cast<std::size_t>(id.index)];
        Tensor& dense = tensors.try_emplace(id, value.shape, value.dtype).first->second;
        const LayoutPtr& layout = storage[static_cast<std::size_t>(id.index)].layout;
        if (layout == nullptr)
          std::memcpy(in ? dense.data() : context.data(id), in ? context.data(id) : dense.data(), dense.bytes());
        else if (in)
          reorder(value.shape, value.dtype, context.data(id), layout, dense.data(), nullptr);
        else
          reorder(value.shape, value.dtype, dense.data(), nullptr, context.data(id), layout);
      };
      for (const ValueId id : step.reads) move(id, true);
      for (const ValueId id : step.writes)
        tensors.try_emplace(id, kept[static_cast<std::size_t>(id.index)].shape,
                            kept[static_cast<std::size_t>(id.index)].dtype);
      step.run(Dense(context, tensors));
      for (const ValueId id : step.writes) move(id, false);
    };
    return step;
  }

  bool filters_;
  std::shared_ptr<Device> inner_;
};

TEST_CASE("layouts: a device's own are invisible from outside") {
  for (const bool filters : {false, true}) {
    for (const bool store_filters : {false, true}) {
      CAPTURE(filters);
      CAPTURE(store_filters);
      const auto device = std::make_shared<ReversedDevice>(store_filters);
      const Graph graph = with_gradients(small_net(), "loss", {"input"});
      // The store is laid out by one program and used by another, which may want other layouts.
      const auto store = std::make_shared<ParameterStore>(device, graph, device->compile(graph, {}));
      device->keep_filters_reversed(filters);
      Executor executor(device, graph, {.poison = true}, store);
      StateDict leaves = random_leaves(graph, 4, 3);
      feed(executor, leaves);
      for (int round = 0; round < 2; ++round) {
        executor.run();
        const std::vector<Doubles> exact = reference_run(graph, to_doubles(leaves));
        const auto truth = [&](std::string_view name) -> const Doubles& {
          return exact[static_cast<std::size_t>(graph.find(name).index)];
        };
        for (const auto& [name, id] : graph.outputs()) {
          CHECK(difference(name, executor.output(name), truth(name), 2e-4) == "");
          if (name.starts_with("grad.") && store->contains(name.substr(5)))
            CHECK(difference("store's " + name, store->gradient(name.substr(5)), truth(name), 2e-4) == "");
        }
        for (const ParameterStore::Entry& entry : store->entries())
          if (entry.state) CHECK(difference(entry.name, store->get(entry.name), truth(entry.name), 2e-4) == "");
        // Numbers that move in the store are taken by the next run.
        leaves = store->save();
        leaves["input"] = random_leaves(graph, 4, 3).at("input");
        leaves["labels"] = random_leaves(graph, 4, 3).at("labels");
        leaves["conv1.weight"] = random_leaves(graph, 77).at("conv1.weight");
        store->set("conv1.weight", leaves["conv1.weight"]);
      }
      CHECK(!executor.find_nonfinite());
      const Tensor before = store->get("bn1.running_var");
      (void)executor.find_nonfinite();
      CHECK(before.values<float>()[3] == store->get("bn1.running_var").values<float>()[3]);
    }
  }
}

}  // namespace
}  // namespace weft::test
