#include "core/cpu/sgd.h"

#include "kernels/error.h"

namespace weft::cpu {

namespace {

using onednn::algorithm;
using onednn::desc;

desc flat(std::int64_t n) {
  return dense_desc(onednn::dims{n});
}

dnnl::primitive multiply_then(const dnnl::engine& engine, std::int64_t n, const dnnl::post_ops& ops) {
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  const auto pd = onednn::binary(engine, algorithm::binary_mul, flat(n), flat(1), flat(n), attr);
  WEFT_CHECK(static_cast<bool>(pd), "no product with a number");
  return dnnl::binary(pd);
}

}  // namespace

const Sgd::Passes& Sgd::passes(const Runtime& runtime, std::int64_t n) {
  if (const auto found = passes_.find(n); found != passes_.end()) return found->second;
  dnnl::post_ops add, accumulate;
  add.append_binary(algorithm::binary_add, flat(n));
  accumulate.append_sum(1.0f);
  return passes_.emplace(n, Passes{multiply_then(runtime.engine, n, add), multiply_then(runtime.engine, n, accumulate)})
      .first->second;
}

void Sgd::step(const Runtime& runtime, const SgdArguments& a) {
  if (a.momentum != 0 && a.velocity == nullptr) fail("an SGD step with momentum needs velocities");
  runtime.use_threads();
  std::int64_t begin = 0;
  for (const SgdArguments::Group& group : a.groups) {
    if (group.end > begin) step_group(runtime, a, group, begin);
    begin = group.end;
  }
}

void Sgd::step_group(const Runtime& runtime, const SgdArguments& a, const SgdArguments::Group& group,
                     std::int64_t begin) {
  const std::int64_t n = group.end - begin;
  float* const weight = a.weight + begin;
  float* const velocity = a.velocity != nullptr ? a.velocity + begin : nullptr;
  const float* const gradient = a.gradient + begin;
  const Passes& p = passes(runtime, n);
  dnnl::stream stream = runtime.stream;
  const auto tensor = [&](const float* data) {
    return dnnl::memory(flat(n), runtime.engine, const_cast<float*>(data));
  };
  // A number each that the primitives read while they run.
  const auto accumulate = [&](float* y, const float* x, double by) {
    auto factor = static_cast<float>(by);
    p.multiply_accumulate.execute(stream, {{DNNL_ARG_SRC_0, tensor(x)},
                                           {DNNL_ARG_SRC_1, dnnl::memory(flat(1), runtime.engine, &factor)},
                                           {DNNL_ARG_DST, tensor(y)}});
    stream.wait();
  };
  // y = y * by + z
  const auto decay = [&](float* y, double by, const float* z) {
    auto factor = static_cast<float>(by);
    p.multiply_add.execute(stream, {{DNNL_ARG_SRC_0, tensor(y)},
                                    {DNNL_ARG_SRC_1, dnnl::memory(flat(1), runtime.engine, &factor)},
                                    {DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, tensor(z)},
                                    {DNNL_ARG_DST, tensor(y)}});
    stream.wait();
  };

  // g = dweight + weight_decay * weight; v = momentum * v + g; weight -= lr * (nesterov ? g + momentum * v : v).
  // g is never stored: its two terms are added where g is wanted.
  if (velocity) {
    decay(velocity, a.momentum, gradient);
    if (group.weight_decay != 0) accumulate(velocity, weight, group.weight_decay);
  }
  if (velocity && !a.nesterov) {
    accumulate(weight, velocity, -group.lr);
    return;
  }
  // The weight's own decay first, while it is still the old weight.
  if (group.weight_decay != 0) accumulate(weight, weight, -group.lr * group.weight_decay);
  accumulate(weight, gradient, -group.lr);
  if (velocity) accumulate(weight, velocity, -group.lr * a.momentum);
}

}  // namespace weft::cpu
