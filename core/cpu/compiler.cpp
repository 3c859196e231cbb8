#include "core/cpu/compiler.h"

#include <algorithm>
#include <map>

#include "core/dtype.h"
#include "kernels/error.h"

// oneDNN's OpenMP runtime is libgomp. Declared here rather than through <omp.h>, whose library another compiler would
// choose for itself.
extern "C" void omp_set_num_threads(int);

namespace weft::cpu {

void Runtime::use_threads() const {
  omp_set_num_threads(threads);
}

Compiler::Compiler(Runtime& runtime, const Graph& graph, const CompileOptions& options)
    : runtime_(runtime),
      graph_(graph),
      options_(options),
      fusion_(fuse(graph, options.fuse)),
      plan_(options, runtime.threads) {
  const auto values = static_cast<std::size_t>(graph.value_count());
  program_.storage.resize(values);
  decided_.assign(values, false);
  sharers_.resize(values);
  last_use_.assign(values, -1);
  for (const Group& group : fusion_.groups)
    for (NodeId n : group.nodes())
      for (ValueId v : graph.node(n).inputs)
        if (v) last_use_[index(v)] = std::max(last_use_[index(v)], group.position);
  constexpr std::string_view kGradient = "grad.";
  for (const auto& [name, id] : graph.outputs()) {
    marked_.insert(id);
    if (!name.starts_with(kGradient) || !graph.contains(name.substr(kGradient.size()))) continue;
    const ValueId of = graph.find(name.substr(kGradient.size()));
    if (graph.value(of).kind == ValueKind::parameter) gradients_.emplace(id.index, of);
  }
}

onednn::desc Compiler::stored(ValueId id, const onednn::desc& otherwise) const {
  const auto* own = dynamic_cast<const OnednnLayout*>(layout(id).get());
  if (own) return own->desc;
  if (has_layout(id) && !layout(id)) return dense_desc(value(id).shape, value(id).dtype);
  return otherwise;
}

void Compiler::decide(ValueId id, LayoutPtr layout, std::size_t bytes) {
  decided_[index(id)] = true;
  program_.storage[index(id)].layout = std::move(layout);
  program_.storage[index(id)].bytes = bytes;
}

ValueId Compiler::root_of(ValueId id) const {
  const ValueId of = program_.storage[index(id)].alias;
  return of ? of : id;
}

void Compiler::alias(ValueId id, ValueId of) {
  const ValueId root = root_of(of);
  program_.storage[index(id)].alias = root;
  sharers_[index(root)].push_back(id);
}

bool Compiler::may_overwrite(ValueId id, ValueId result, int position) const {
  if (parameter_of_gradient(result)) return false;
  const ValueId root = root_of(id);
  const auto free = [&](ValueId v) {
    return value(v).kind == ValueKind::activation && !is_marked(v) &&
           (v == id ? last_use_[index(v)] == position : last_use_[index(v)] < position);
  };
  return free(root) && std::ranges::all_of(sharers_[index(root)], free);
}

ValueId Compiler::parameter_of_gradient(ValueId id) const {
  const auto found = gradients_.find(id.index);
  return found == gradients_.end() ? ValueId{} : found->second;
}

void Compiler::check_types() const {
  for (const Node& n : graph_.nodes()) {
    if (n.definition->name == "cast" || n.definition->run_on_host) continue;
    for (ValueId v : n.outputs)
      if (value(v).dtype != DType::f32 && value(v).dtype != DType::i32)
        fail(n.name + ": the cpu device computes in f32, not in " + std::string(weft::name_of(value(v).dtype)));
  }
}

Program Compiler::compile() {
  check_types();
  runtime_.use_threads();
  for (const Group& group : fusion_.groups) {
    const Node& main = node(group.main);
    if (main.definition->run_on_host)
      lower_user_op(*this, group);
    else if (const Lowering lower = lowering_of(main.definition->name))
      lower(*this, group);
    else
      fail(main.name + ": the cpu device has no op \"" + main.definition->name + "\"");
  }
  // What no step touched: an input or a parameter that nobody reads is dense, an activation fused away has no memory.
  for (int i = 0; i < graph_.value_count(); ++i) {
    const Value& v = graph_.value({i});
    if (!has_layout({i}) && v.kind != ValueKind::activation)
      decide({i}, nullptr, static_cast<std::size_t>(v.shape.elements()) * size_of(v.dtype));
  }
  program_.plan = plan_.text();
  return std::move(program_);
}

Lowering lowering_of(std::string_view op) {
  static const std::map<std::string_view, Lowering> kLowerings = {
      {"conv2d", lower_conv2d},
      {"conv2d_backward_data", lower_conv2d_backward_data},
      {"conv2d_backward_filter", lower_conv2d_backward_filter},
      {"batch_norm_train", lower_batch_norm},
      {"batch_norm_eval", lower_batch_norm},
      {"batch_norm_train_backward", lower_batch_norm_backward},
      {"batch_norm_eval_backward", lower_batch_norm_backward},
      {"max_pool", lower_max_pool},
      {"max_pool_backward", lower_max_pool_backward},
      {"avg_pool", lower_avg_pool},
      {"avg_pool_backward", lower_avg_pool_backward},
      {"global_avg_pool", lower_global_avg_pool},
      {"global_avg_pool_backward", lower_global_avg_pool_backward},
      {"relu", lower_relu},
      {"relu_backward", lower_relu_backward},
      {"add", lower_add},
      {"bias_add", lower_bias_add},
      {"bias_backward", lower_bias_backward},
      {"scale", lower_scale},
      {"sum", lower_sum},
      {"gemm", lower_gemm},
      {"softmax", lower_softmax},
      {"log_softmax", lower_softmax},
      {"softmax_backward", lower_softmax_backward},
      {"log_softmax_backward", lower_softmax_backward},
      {"concat", lower_concat},
      {"concat_backward", lower_concat_backward},
      {"reshape", lower_reshape},
      {"fill", lower_fill},
      {"cast", lower_cast},
      {"cross_entropy", lower_cross_entropy},
      {"cross_entropy_backward", lower_cross_entropy_backward},
      {"cross_entropy_soft", lower_cross_entropy_soft},
      {"cross_entropy_soft_backward", lower_cross_entropy_soft_backward},
      {"binary_cross_entropy", lower_binary_cross_entropy},
      {"binary_cross_entropy_backward", lower_binary_cross_entropy_backward},
      {"dropout", lower_dropout},
      {"dropout_backward", lower_dropout},
  };
  const auto found = kLowerings.find(op);
  return found == kLowerings.end() ? nullptr : found->second;
}

}  // namespace weft::cpu
