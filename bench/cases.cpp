#include "bench/cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>

#include "core/fusion.h"
#include "core/gathering.h"
#include "core/ops.h"
#include "core/problem.h"
#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/rung_table.h"
#include "nn/model.h"

namespace weft::bench {
namespace {

/// The type of a call's numbers and, in float32, whether its products are rounded to TF32.
struct Arithmetic {
  DType dtype = DType::f32;
  bool tf32 = false;
};

/// The call in that arithmetic; an op whose products know no TF32 stays as it is.
Problem in(const Arithmetic& arithmetic, const Op& op, Problem problem) {
  problem.dtype = arithmetic.dtype;
  const int tf32 = find_extent(op, "tf32");
  if (arithmetic.tf32 && tf32 >= 0) problem.extents[tf32] = 1;
  return problem;
}

/// Collects cases, each call once.
class Collector {
 public:
  Collector(const Place& place, const CaseOptions& options)
      : place_(place),
        catalogue_(place.target->catalogue()),
        options_(options),
        op_(options.op),
        shape_(options.shape) {
    for (const DType dtype : options.dtypes) arithmetics_.push_back({dtype});
    if (std::ranges::count(options.dtypes, DType::f32) != 0) arithmetics_.push_back({DType::f32, true});
  }

  /// The call in each of the wanted types; in float32 also with TF32, where the op knows that.
  void add(const Op& op, const Problem& problem, const std::string& set, const std::string& note,
           const std::shared_ptr<const LoneNode>& node) {
    if (op.check != nullptr) op.check(problem);
    for (const Arithmetic& arithmetic : arithmetics_)
      if (!arithmetic.tf32 || rounds_to_tf32(op, problem)) add_one(op, in(arithmetic, op, problem), set, note, node);
  }

  /// Every node of a graph that the catalogue has an entry for. Without its node a call has no peer that runs graphs:
  /// the cpu device fuses in its own way, and takes no node that comes fused.
  void add(const Graph& graph, const std::string& set, bool with_node = true) {
    for_calls(graph, [&](const Node& node, const Op& op, const Problem& problem) {
      std::shared_ptr<LoneNode> lone;
      if (with_node) {
        lone = std::make_shared<LoneNode>(LoneNode{node, {}});
        for (const ValueId input : node.inputs) lone->inputs.push_back(input ? graph.value(input) : Value{});
      }
      add(op, problem, set, node.name, lone);
    });
  }
  /// The same in one arithmetic alone, without the nodes.
  void add(const Graph& graph, const std::string& set, const Arithmetic& arithmetic) {
    for_calls(graph, [&](const Node& node, const Op& op, const Problem& problem) {
      if (!arithmetic.tf32 || rounds_to_tf32(op, problem))
        add_one(op, in(arithmetic, op, problem), set, node.name, nullptr);
    });
  }

  /// What a pass asks a device, answered by the ops' own choices for a GPU of that capability: a table of what was
  /// measured has no say, or what it takes out of a graph would never be measured again.
  RungOf rungs_of(const Arithmetic& arithmetic, int capability) const {
    return [this, arithmetic, capability](const Node& node, std::span<const Value> inputs,
                                          std::span<const Value> outputs) -> std::string_view {
      const Op* op = find(node.definition->name.c_str());
      if (op == nullptr) return {};
      const Problem problem = in(arithmetic, *op, problem_of(node, inputs, outputs));
      const int rung = pick_rung(*op, problem, capability, {}, {});
      return rung < 0 ? std::string_view() : op->rungs[static_cast<std::size_t>(rung)].name;
    };
  }

  const Place& place() const { return place_; }
  std::span<const Arithmetic> arithmetics() const { return arithmetics_; }
  const Op* find(const char* name) const { return find_op(catalogue_, name); }
  std::span<const Op* const> catalogue() const { return catalogue_; }
  /// Set by set, as they came; in a set by type, as the options name them, TF32 last: where time is short, what was
  /// asked for first is there whole.
  std::vector<Case> take() {
    std::map<std::string, std::size_t> sets;
    for (const Case& item : cases_) sets.try_emplace(item.set, sets.size());
    std::ranges::stable_sort(cases_, {}, [&](const Case& item) {
      const auto type =
          item.arithmetic() == "tf32" ? options_.dtypes.end() : std::ranges::find(options_.dtypes, item.problem.dtype);
      return std::pair(sets.at(item.set), type - options_.dtypes.begin());
    });
    return std::move(cases_);
  }

 private:
  /// True where TF32 makes another call of it. Not so of a depthwise convolution, whose products no tensor core takes.
  static bool rounds_to_tf32(const Op& op, const Problem& problem) {
    const int tf32 = find_extent(op, "tf32"), groups = find_extent(op, "groups"), channels = find_extent(op, "C");
    const bool depthwise =
        groups >= 0 && problem.extents[groups] > 1 && problem.extents[groups] == problem.extents[channels];
    return tf32 >= 0 && problem.extents[tf32] == 0 && !depthwise;
  }

  void add_one(const Op& op, Problem problem, const std::string& set, const std::string& note,
               const std::shared_ptr<const LoneNode>& node) {
    if (!options_.op.empty() && !std::regex_search(op.name, op_)) return;
    if (!options_.shape.empty() && !std::regex_search(shape_text(op, problem), shape_)) return;
    problem.note = nullptr;
    if (std::ranges::none_of(op.rungs, [&](const Rung& rung) { return can_run(rung, problem, 0); })) return;
    // By its operands' types too: a cast names them itself, and is the same call whatever the problem's type is.
    std::string key = fmt::format("{} {}", op.name, shape_text(op, problem));
    const Signature signature = op.signature(problem);
    for (int i = 0; i < signature.count; ++i) {
      if (signature.operands[i].row_pitch != 0) return;
      key += ' ';
      key += dtype_text(signature.operands[i].dtype);
    }
    const auto [known, fresh] = index_.try_emplace(key, cases_.size());
    if (fresh)
      cases_.push_back({&op, problem, set, note, 1, node});
    else if (Case& same = cases_[known->second]; same.set == set)
      same.count += 1;
  }

  template <class Look>
  void for_calls(const Graph& graph, const Look& look) const {
    for (const Node& node : graph.nodes()) {
      const std::string& name = node.definition->name;
      const Op* op = find_op(catalogue_, name);
      if (op != nullptr && has_problem(name)) look(node, *op, problem_of(graph, node));
    }
  }

  const Place& place_;
  std::span<const Op* const> catalogue_;
  const CaseOptions& options_;
  std::vector<Arithmetic> arithmetics_;
  std::regex op_, shape_;
  std::vector<Case> cases_;
  std::map<std::string, std::size_t> index_;
};

/// Adds the gradient of the node that made `y`, asked of its op with a random dy.
void differentiate(Graph& graph, ValueId y) {
  const NodeId id = graph.producer(y);
  const Node node = graph.node(id);
  if (!node.definition->differentiate) return;
  graph.set_pass(Pass::backward);
  std::vector<ValueId> dys(node.outputs.size());
  dys[0] = graph.input("dy." + node.name, graph.value(y).shape);
  const auto wanted = std::make_unique<bool[]>(node.inputs.size());
  for (std::size_t i = 0; i < node.inputs.size(); ++i)
    wanted[i] = node.inputs[i] && graph.value(node.inputs[i]).dtype == DType::f32 &&
                graph.value(node.inputs[i]).kind != ValueKind::state;
  node.definition->differentiate(graph, id, dys, {wanted.get(), node.inputs.size()});
  graph.set_pass(Pass::forward);
}

void add_products(Collector& collector) {
  constexpr std::int64_t kShapes[][3] = {
      {4096, 4096, 4096}, {8192, 8192, 8192}, {2048, 2048, 2048}, {1024, 1024, 1024},
      {512, 512, 512},    {256, 256, 256},    {4097, 4095, 4099},  // ragged: one over, one under, prime
      {8192, 8192, 1000}, {1000, 8191, 2049}, {128, 4096, 4096},  {16, 4096, 4096},
      {1, 4096, 4096},    {64, 64, 100352},  // a long sum of few results: the filter gradient of a first layer
  };
  for (const auto& [m, n, k] : kShapes)
    for (const bool trans_a : {false, true})
      for (const bool trans_b : {false, true}) {
        if ((trans_a || trans_b) && m != 4096) continue;
        Graph graph;
        ops::gemm(graph, "product", graph.input("a", trans_a ? Shape{k, m} : Shape{m, k}),
                  graph.input("b", trans_b ? Shape{n, k} : Shape{k, n}), {}, trans_a, trans_b);
        collector.add(graph, "gemm");
      }
}

/// The ops that no model's graph holds, or that deserve a shape of their own: large enough to fill a GPU.
void add_ops(Collector& collector) {
  Graph graph;
  const auto x = [&](const char* name, Shape shape) { return graph.input(name, std::move(shape)); };
  std::vector<ValueId> results = {
      ops::relu(graph, "relu", x("r", {64, 56, 56, 256})),
      ops::add(graph, "add", x("a", {64, 56, 56, 256}), x("b", {64, 56, 56, 256})),
      ops::bias_add(graph, "bias", x("c", {64, 56, 56, 256}), graph.parameter("shift", {256})),
      ops::softmax(graph, "softmax 1000", x("s", {32768, 1000})),
      ops::softmax(graph, "softmax 50257", x("s2", {1024, 50257})),
      ops::log_softmax(graph, "log_softmax 1000", x("l", {32768, 1000})),
      ops::cross_entropy(graph, "cross_entropy 1000", x("e", {8192, 1000}), graph.input("labels", {8192}, DType::i32)),
      ops::cross_entropy_soft(graph, "cross_entropy_soft 1000", x("e2", {8192, 1000}), x("e3", {8192, 1000})),
      ops::binary_cross_entropy(graph, "binary_cross_entropy 1000", x("e4", {8192, 1000}), x("e5", {8192, 1000})),
      ops::max_pool(graph, "max_pool", x("m", {64, 112, 112, 64}),
                    {.window = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}),
      ops::avg_pool(graph, "avg_pool", x("v", {64, 56, 56, 256}), {.window = {2, 2}, .stride = {2, 2}}),
      ops::global_avg_pool(graph, "global_avg_pool", x("g", {256, 7, 7, 2048})),
      ops::dropout(graph, "dropout", x("d", {64, 56, 56, 256}), 0.5, 1),
      ops::concat(graph, "concat", {x("c0", {64, 28, 28, 256}), x("c1", {64, 28, 28, 256})}),
      ops::scale(graph, "scale", x("f", {64, 56, 56, 256}), 0.5),
      ops::sum(graph, "sum", x("t", {64, 56, 56, 256})),
  };
  const auto channels = [&](const char* name, bool state) {
    return state ? graph.state(name, {256}) : graph.parameter(name, {256});
  };
  for (const bool train : {true, false}) {
    const ValueId input = x(train ? "n" : "n2", {64, 56, 56, 256});
    const ValueId scale = channels("scale", false), shift = channels("bias", false), mean = channels("mean", true),
                  var = channels("var", true);
    results.push_back(train ? ops::batch_norm(graph, "batch_norm", input, scale, shift, mean, var)
                            : ops::batch_norm_eval(graph, "batch_norm_eval", input, scale, shift, mean, var));
  }
  for (const ValueId y : results) differentiate(graph, y);
  ops::fill(graph, "fill", {64, 56, 56, 256}, 2.5);
  ops::cast(graph, "cast", x("w", {64, 56, 56, 256}), DType::bf16);
  collector.add(graph, "ops");
  // Not nodes of any graph that a model makes: the step, what a picture becomes, a loss with its gradient, a
  // convolution's columns, pools without an index beside those with one, and what is fused.
  const struct {
    const char* op;
    Problem problem;
    const char* note;
  } kCalls[] = {
      {"sgd_step", {{25557032}, {0.9, 0.01, 1e-4}}, "resnet50's parameters"},
      {"sgd_step",
       {{25557032, 0, 2, 8543296, 23508032}, {0.9, 1e-4, 1e-4, 1e-3, 1e-4, 1e-2, 1e-4}},
       "resnet50 in three groups"},
      {"normalize_pixels", {{64 * 224 * 224, 3}}, "64 pictures of 224 x 224"},
      {"cross_entropy_forward_backward", {{8192, 1000}}, "cross_entropy 1000"},
      {"im2col", {{32, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1}}, "layer1"},
      {"col2im", {{32, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1}}, "layer1"},
      {"max_pool_unindexed", {{64, 112, 112, 64, 3, 3, 2, 2, 1, 1, 56, 56}}, "max_pool, its index recomputed"},
      {"max_pool_unindexed_backward", {{64, 112, 112, 64, 3, 3, 2, 2, 1, 1, 56, 56}}, "max_pool, its index recomputed"},
      {"max_pool", {{64, 56, 56, 192, 3, 3, 1, 1, 1, 1, 56, 56}}, "stride 1"},
      {"max_pool_backward", {{64, 56, 56, 192, 3, 3, 1, 1, 1, 1, 56, 56}}, "stride 1"},
      {"max_pool_unindexed", {{64, 56, 56, 192, 3, 3, 1, 1, 1, 1, 56, 56}}, "stride 1, index recomputed"},
      {"max_pool_unindexed_backward", {{64, 56, 56, 192, 3, 3, 1, 1, 1, 1, 56, 56}}, "stride 1, index recomputed"},
      {"conv2d", {{32, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, "layer1 + scale + bias + add + relu"},
      {"conv2d_statistics", {{32, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1}}, "layer1"},
      {"batch_norm_train_gathered", {{64 * 56 * 56, 256}, {1e-5, 0.1}}, "behind conv2d_statistics"},
      {"batch_norm_train", {{64 * 56 * 56, 256, 1, 1}, {1e-5, 0.1}}, "+ add + relu"},
      {"batch_norm_train_backward", {{64 * 56 * 56, 256, 1, 1}, {1e-5, 0.1}}, "+ add + relu"},
      {"batch_norm_fold", {{2048}, {1e-5}}, "resnet50 layer4"},
      {"relu_bias_backward", {{64 * 56 * 56, 256}}, "behind a convolution's bias and ReLU"},
  };
  for (const auto& call : kCalls)
    if (const Op* op = collector.find(call.op)) collector.add(*op, call.problem, "ops", call.note, nullptr);
}

/// The compute capability that every rung can run on.
constexpr int kNewest = 90;

void add_model(Collector& collector, const std::string& arch, std::int64_t batch, std::int64_t size) {
  Classes classes;
  for (int i = 0; i < 1000; ++i) classes.push_back(fmt::format("class{}", i));
  const Model model = make_model(arch, classes);
  const std::string set = fmt::format("{} N={}", arch, batch);
  const Graph step = model.graph({.batch = batch, .height = size, .width = size, .training = true});
  collector.add(step, set);
  // The same as a device of kernels fuses it (core/fusion.h), wherever a rung of a GPU can: the step's batch norms with
  // add and ReLU, and for prediction the convolutions with scale, bias, add and ReLU. There is a rung for what is fused
  // in every arithmetic or in none.
  const RungOf any_rung = collector.rungs_of({}, kNewest);
  const std::string fused_set = set + " fused";
  collector.add(fused(step, any_rung), fused_set, false);
  collector.add(fused(model.graph({.batch = batch, .height = size, .width = size}), any_rung), fused_set, false);
  // What training runs in the end: the fused step with its statistics gathered (core/gathering.h), which depends on the
  // arithmetic and on the GPU. Calls that it shares with the sets before stay theirs.
  const int capability = collector.place().on_gpu() ? collector.place().capability : kNewest;
  for (const Arithmetic& arithmetic : collector.arithmetics()) {
    const RungOf rung_of = collector.rungs_of(arithmetic, capability);
    collector.add(gathered(fused(step, rung_of), rung_of), set + " gathered", arithmetic);
  }
}

}  // namespace

std::string shape_text(const Op& op, const Problem& problem) {
  std::string text;
  const auto append = [&](const char* name, auto value) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, value);
  };
  for (std::size_t i = 0; i < op.extent_names.size(); ++i)
    if (problem.extents[i] != 0) append(op.extent_names[i], problem.extents[i]);
  for (std::size_t i = 0; i < op.scalar_names.size(); ++i)
    if (problem.scalars[i] != 0) append(op.scalar_names[i], problem.scalars[i]);
  return text;
}

int find_extent(const Op& op, const char* name) {
  for (std::size_t i = 0; i < op.extent_names.size(); ++i)
    if (std::string_view(op.extent_names[i]) == name) return static_cast<int>(i);
  return -1;
}

std::string Case::arithmetic() const {
  const int tf32 = find_extent(*op, "tf32");
  return problem.dtype == DType::f32 && tf32 >= 0 && problem.extents[tf32] != 0 ? "tf32" : dtype_text(problem.dtype);
}

std::string dtype_text(DType dtype) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "i32", "i64", "u8"};
  return kNames[static_cast<int>(dtype)];
}

std::vector<Case> make_cases(const Place& place, const CaseOptions& options) {
  Collector collector(place, options);
  for (const std::string& set : options.sets) {
    if (set == "gemm") {
      add_products(collector);
    } else if (set == "ops") {
      add_ops(collector);
    } else if (set == "catalogue") {
      for (const Op* op : collector.catalogue())
        for (const Problem& problem : op->problems)
          collector.add(*op, problem, set, problem.note == nullptr ? "" : problem.note, nullptr);
    } else {
      const std::vector<std::string> known = model_names();
      if (std::ranges::find(known, set) == known.end())
        throw UsageError(fmt::format("there is no set of shapes \"{}\": take gemm, ops, catalogue or a model ({})", set,
                                     fmt::join(known, ", ")));
      for (const std::int64_t batch : options.batches) add_model(collector, set, batch, options.size);
    }
  }
  return collector.take();
}

}  // namespace weft::bench
