// The cases of op_parity.h. A new op of core/ops.h gets a line in cases().

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "core/ops.h"
#include "kernels/error.h"
#include "tests/core/harness.h"
#include "tests/core/op_parity.h"

namespace weft::test {
namespace {

struct Case {
  std::string name;
  std::function<ValueId(Graph&)> build;  ///< returns the output to be differentiated
  bool fused = false;                    ///< see ParityOptions
};

Case conv_case(Shape x, Shape weight, bool bias, ops::Conv2dOptions options) {
  const std::string name =
      fmt::format("conv2d {} {}{} stride {} padding {} dilation {} groups {}", to_string(x), to_string(weight),
                  bias ? " bias" : "", options.stride[0], options.padding[0], options.dilation[0], options.groups);
  return {name, [=](Graph& graph) {
            return ops::conv2d(graph, "layer", graph.input("x", x), graph.parameter("weight", weight),
                               bias ? graph.parameter("bias", {weight[0]}) : ValueId{}, options);
          }};
}

Case pool_case(bool max, Shape x, ops::PoolOptions options) {
  const std::string name =
      fmt::format("{} {} window {} stride {} padding {}{}", max ? "max_pool" : "avg_pool", to_string(x),
                  options.window[0], options.stride[0], options.padding[0], options.ceil_mode ? " ceil" : "");
  return {name, [=](Graph& graph) {
            const ValueId input = graph.input("x", x);
            return max ? ops::max_pool(graph, "layer", input, options) : ops::avg_pool(graph, "layer", input, options);
          }};
}

Case gemm_case(std::int64_t m, std::int64_t n, std::int64_t k, bool bias, bool trans_a, bool trans_b) {
  return {fmt::format("gemm M={} N={} K={}{}{}{}", m, n, k, bias ? " bias" : "", trans_a ? " trans_a" : "",
                      trans_b ? " trans_b" : ""),
          [=](Graph& graph) {
            const ValueId a = graph.input("a", trans_a ? Shape{k, m} : Shape{m, k});
            const ValueId b = graph.parameter("b", trans_b ? Shape{n, k} : Shape{k, n});
            return ops::gemm(graph, "layer", a, b, bias ? graph.parameter("bias", {n}) : ValueId{}, trans_a, trans_b);
          }};
}

Case batch_norm_case(Shape x, bool train, bool residual = false, bool relu = false, double ceiling = 0) {
  const std::string name = fmt::format("batch_norm_{} {}{}{}{}", train ? "train" : "eval", to_string(x),
                                       residual ? " add" : "", relu ? " relu" : "", ceiling > 0 ? " ceiling" : "");
  const auto build = [=](Graph& graph) {
    const Shape channels = {x[-1]};
    const ValueId input = graph.input("x", x), weight = graph.parameter("scale", channels),
                  bias = graph.parameter("bias", channels), mean = graph.state("running_mean", channels),
                  var = graph.state("running_var", channels), added = residual ? graph.input("r", x) : ValueId{};
    return train ? ops::batch_norm(graph, "layer", input, weight, bias, mean, var, 1e-5, 0.1, added, relu, ceiling)
                 : ops::batch_norm_eval(graph, "layer", input, weight, bias, mean, var, 1e-5, added, relu, ceiling);
  };
  return {name, build, residual || relu};
}

using Extents = std::vector<std::int64_t>;

/// A convolution that tells the batch norm behind it the statistics: what a pass makes of the two.
Case statistics_case() {
  return {"conv2d_statistics and batch_norm_train_gathered", [](Graph& graph) {
            const Shape channels = {12};
            const ValueId y = graph.apply("conv", ops::definition("conv2d_statistics"),
                                          {graph.input("x", {2, 6, 5, 8}), graph.parameter("filter", {12, 3, 3, 8})},
                                          {{"stride", Extents{1, 1}},
                                           {"padding", Extents{1, 1}},
                                           {"dilation", Extents{1, 1}},
                                           {"groups", std::int64_t{1}}});
            const std::vector<ValueId> made = graph.node(graph.producer(y)).outputs;
            return graph.apply(
                "layer", ops::definition("batch_norm_train_gathered"),
                {y, graph.parameter("scale", channels), graph.parameter("bias", channels), ValueId{},
                 graph.state("running_mean", channels), graph.state("running_var", channels), made[1], made[2]},
                {{"eps", 1e-5}, {"momentum", 0.1}});
          }};
}

/// A convolution's dx, added to what comes by another branch, as a pass makes it.
Case sum_of_gradients_case(std::int64_t R, std::int64_t stride) {
  const auto build = [=](Graph& graph) {
    const std::int64_t p = (9 + 2 * (R / 2) - R) / stride + 1;
    return graph.apply("layer", ops::definition("conv2d_backward_data"),
                       {graph.input("dy", {2, p, p, 12}), graph.parameter("weight", {12, R, R, 8}),
                        graph.input("other_dx", {2, 9, 9, 8})},
                       {{"stride", Extents{stride, stride}},
                        {"padding", Extents{R / 2, R / 2}},
                        {"dilation", Extents{1, 1}},
                        {"groups", std::int64_t{1}},
                        {"picture", Extents{9, 9}}});
  };
  return {fmt::format("conv2d_backward_data and a sum, {0}x{0} stride {1}", R, stride), build, true};
}

/// Two results of one node, which differentiating does not make.
Case relu_bias_backward_case(double ceiling) {
  return {"relu_bias_backward", [=](Graph& graph) {
            const Shape shape = {3, 5, 4, 7};
            const NodeId id = graph.add("layer", ops::definition("relu_bias_backward"),
                                        {graph.input("dy", shape), graph.input("made", shape)}, {{"ceiling", ceiling}});
            graph.mark_output(graph.node(id).outputs[1], "dbias");
            return graph.node(id).outputs[0];
          }};
}
Case loss_case() {
  return {"cross_entropy_forward_backward", [](Graph& graph) {
            const NodeId id = graph.add(
                "layer", ops::definition("cross_entropy_forward_backward"),
                {graph.input("dloss", {1}), graph.input("logits", {7, 10}), graph.input("labels", {7}, DType::i32)});
            graph.mark_output(graph.node(id).outputs[1], "dlogits");
            return graph.node(id).outputs[0];
          }};
}

Case unary_case(const std::string& name, Shape x, std::function<ValueId(Graph&, ValueId)> op) {
  return {name + " " + to_string(x), [=](Graph& graph) { return op(graph, graph.input("x", x)); }};
}

Case concat_case(std::vector<std::int64_t> channels) {
  return {fmt::format("concat of {}", channels.size()), [=](Graph& graph) {
            std::vector<ValueId> xs;
            for (const std::int64_t c : channels)
              xs.push_back(graph.input(fmt::format("x{}", xs.size()), {2, 3, 5, c}));
            return ops::concat(graph, "layer", xs);
          }};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool trans_a : {false, true})
    for (const bool trans_b : {false, true}) {
      all.push_back(gemm_case(5, 7, 3, trans_a, trans_a, trans_b));
      all.push_back(gemm_case(33, 17, 65, trans_b, trans_a, trans_b));
    }
  all.push_back(conv_case({2, 7, 5, 3}, {4, 3, 3, 3}, true, {.padding = {1, 1}}));
  all.push_back(conv_case({2, 8, 8, 16}, {16, 3, 3, 16}, false, {.padding = {1, 1}}));
  all.push_back(conv_case({1, 9, 8, 16}, {32, 3, 3, 16}, false, {.stride = {2, 2}, .padding = {1, 1}}));
  all.push_back(conv_case({3, 6, 6, 8}, {24, 1, 1, 8}, true, {}));
  all.push_back(conv_case({2, 8, 8, 8}, {16, 1, 1, 8}, false, {.stride = {2, 2}}));
  all.push_back(conv_case({2, 19, 17, 3}, {16, 7, 7, 3}, false, {.stride = {2, 2}, .padding = {3, 3}}));
  all.push_back(conv_case({1, 9, 9, 5}, {7, 3, 3, 5}, true, {.padding = {2, 2}, .dilation = {2, 2}}));
  all.push_back(conv_case({1, 6, 7, 4}, {3, 2, 5, 4}, false, {.stride = {1, 2}, .padding = {0, 2}}));
  all.push_back(conv_case({2, 7, 7, 6}, {4, 3, 3, 3}, true, {.padding = {1, 1}, .groups = 2}));
  all.push_back(conv_case({2, 8, 6, 17}, {17, 3, 3, 1}, false, {.stride = {2, 2}, .padding = {1, 1}, .groups = 17}));
  all.push_back(conv_case({1, 5, 7, 16}, {32, 3, 3, 1}, true, {.padding = {1, 1}, .groups = 16}));
  all.push_back(conv_case({1, 6, 6, 32}, {32, 1, 1, 16}, false, {.groups = 2}));
  for (const bool max : {true, false}) {
    all.push_back(pool_case(max, {2, 8, 8, 16}, {}));
    all.push_back(pool_case(max, {2, 9, 11, 5}, {.window = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}));
    all.push_back(pool_case(max, {1, 8, 10, 3}, {.window = {3, 3}, .stride = {2, 2}, .ceil_mode = true}));
  }
  const auto unary = [&all](const std::string& name, Shape x, std::function<ValueId(Graph&, ValueId)> op) {
    all.push_back(unary_case(name, std::move(x), std::move(op)));
  };
  unary("global_avg_pool", {3, 5, 7, 16}, [](Graph& g, ValueId x) { return ops::global_avg_pool(g, "layer", x); });
  unary("relu", {2, 3, 5, 7}, [](Graph& g, ValueId x) { return ops::relu(g, "layer", x); });
  unary("relu with a ceiling", {2, 3, 5, 7}, [](Graph& g, ValueId x) { return ops::relu(g, "layer", x, 0.75); });
  unary("softmax", {9, 11}, [](Graph& g, ValueId x) { return ops::softmax(g, "layer", x); });
  unary("log_softmax", {5, 1000}, [](Graph& g, ValueId x) { return ops::log_softmax(g, "layer", x); });
  unary("dropout", {7, 33}, [](Graph& g, ValueId x) { return ops::dropout(g, "layer", x, 0.3, 5); });
  unary("scale", {3, 5, 2}, [](Graph& g, ValueId x) { return ops::scale(g, "layer", x, -1.5); });
  unary("sum", {6, 5, 3, 2}, [](Graph& g, ValueId x) { return ops::sum(g, "layer", x); });
  unary("reshape", {6, 2, 2, 3}, [](Graph& g, ValueId x) { return ops::reshape(g, "layer", x, {6, 12}); });
  // Rounding to bfloat16 is part of the truth: the reference rounds as well.
  unary("cast", {5, 7},
        [](Graph& g, ValueId x) { return ops::cast(g, "layer", ops::cast(g, "round", x, DType::bf16), DType::f32); });
  for (const Shape& x : {Shape{4, 6, 5, 16}, Shape{3, 3, 3, 5}, Shape{10, 7}}) {
    all.push_back(batch_norm_case(x, true));
    all.push_back(batch_norm_case(x, false));
    for (const bool train : {true, false}) {
      all.push_back(batch_norm_case(x, train, true, false));
      all.push_back(batch_norm_case(x, train, false, true));
      all.push_back(batch_norm_case(x, train, true, true));
      all.push_back(batch_norm_case(x, train, true, true, 0.75));
    }
    all.push_back({"bias_add " + to_string(x), [x](Graph& graph) {
                     return ops::bias_add(graph, "layer", graph.input("x", x), graph.parameter("bias", {x[-1]}));
                   }});
    all.push_back({"add " + to_string(x),
                   [x](Graph& graph) { return ops::add(graph, "layer", graph.input("a", x), graph.input("b", x)); }});
  }
  all.push_back({"batch_norm_fold", [](Graph& graph) {
                   std::vector<ValueId> inputs;
                   for (const char* name : {"weight", "bias", "conv_bias", "running_mean", "running_var"})
                     inputs.push_back(graph.parameter(name, {37}));
                   return graph.apply("layer", ops::definition("batch_norm_fold"), inputs, {{"eps", 1e-5}});
                 }});
  all.push_back({"cross_entropy", [](Graph& graph) {
                   return ops::cross_entropy(graph, "layer", graph.input("logits", {7, 10}),
                                             graph.input("labels", {7}, DType::i32));
                 }});
  for (const bool binary : {false, true})
    all.push_back({binary ? "binary_cross_entropy" : "cross_entropy_soft", [binary](Graph& graph) {
                     const ValueId logits = graph.input("logits", {7, 10}), targets = graph.input("targets", {7, 10});
                     return binary ? ops::binary_cross_entropy(graph, "layer", logits, targets)
                                   : ops::cross_entropy_soft(graph, "layer", logits, targets);
                   }});
  all.push_back({"fill", [](Graph& graph) { return ops::fill(graph, "layer", {3, 5}, 2.5); }});
  all.push_back(statistics_case());
  for (const std::int64_t stride : {1, 2})
    for (const std::int64_t R : {1, 3}) all.push_back(sum_of_gradients_case(R, stride));
  for (const double ceiling : {0.0, 0.75}) all.push_back(relu_bias_backward_case(ceiling));
  all.push_back(loss_case());
  all.push_back(concat_case({3, 5}));
  all.push_back(concat_case({16, 8, 8, 24}));
  all.push_back(concat_case({1, 2, 3, 4, 5, 6, 7, 8}));
  return all;
}

/// The case's graph, with the gradients of all its leaves where its op has one.
Graph graph_of(const Case& one) {
  Graph graph;
  const ValueId y = one.build(graph);
  graph.mark_output(y, "y");
  const NodeId id = graph.producer(y);
  const Node node = graph.node(id);
  if (!node.definition->differentiate) return graph;
  graph.set_pass(Pass::backward);
  std::vector<ValueId> dys(node.outputs.size());
  dys[0] = graph.input("dy", graph.value(y).shape);
  const auto wanted = std::make_unique<bool[]>(node.inputs.size());
  for (std::size_t i = 0; i < node.inputs.size(); ++i)
    wanted[i] = node.inputs[i] && graph.value(node.inputs[i]).dtype == DType::f32 &&
                graph.value(node.inputs[i]).kind != ValueKind::state;
  const std::vector<ValueId> gradients =
      node.definition->differentiate(graph, id, dys, {wanted.get(), node.inputs.size()});
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (wanted[i] && gradients[i]) graph.mark_output(gradients[i], "grad." + graph.value(node.inputs[i]).name);
  return graph;
}

void check_case(const Case& one, const std::shared_ptr<Device>& device, const ParityOptions& options,
                ParityReport& report) {
  const Graph graph = graph_of(one);
  for (const Node& node : graph.nodes())
    if (options.skip.contains(node.definition->name)) return;
  const StateDict leaves = random_leaves(graph, 3, 7);
  constexpr std::uint64_t kStep = 11;
  try {
    Executor executor(device, graph, {.compile = options.compile, .poison = true});
    feed(executor, leaves);
    executor.run(kStep);
    const std::vector<Doubles> exact = reference_run(graph, to_doubles(leaves), kStep);
    for (const auto& [name, id] : graph.outputs()) {
      const Value& leaf = graph.value(id);
      const bool stored = name.starts_with("grad.") && executor.store()->contains(name.substr(5));
      const Tensor got = stored ? executor.store()->gradient(name.substr(5)) : executor.output(name);
      if (got.shape() != leaf.shape) report.wrong.push_back(one.name + ": " + name + " has another shape");
      const std::string wrong = difference(name, got, exact[static_cast<std::size_t>(id.index)], options.tolerance);
      if (!wrong.empty()) report.wrong.push_back(one.name + ": " + wrong);
      ++report.tensors;
    }
    for (int i = 0; i < graph.value_count(); ++i) {
      const Value& value = graph.value(ValueId{i});
      if (value.kind != ValueKind::state) continue;
      const std::string wrong = difference(value.name, executor.store()->get(value.name),
                                           exact[static_cast<std::size_t>(i)], options.tolerance);
      if (!wrong.empty()) report.wrong.push_back(one.name + ": " + wrong);
      ++report.tensors;
    }
    ++report.graphs;
    for (const Node& node : graph.nodes()) report.ops.insert(node.definition->name);
  } catch (const Error& error) {
    report.wrong.push_back(one.name + ": " + error.what());
  }
}

}  // namespace

ParityReport check_op_parity(const std::shared_ptr<Device>& device, const ParityOptions& options) {
  ParityReport report;
  for (const Case& one : cases())
    if (options.fused || !one.fused) check_case(one, device, options, report);
  for (const std::string& name : ops::names())
    if (!report.ops.contains(name) && !options.skip.contains(name)) report.wrong.push_back(name + ": no case ran it");
  return report;
}

}  // namespace weft::test
