// What oneDNN has no primitive for: constants, casts to 16 bits, the loss (a row of logits a picture), dropout's random
// bits, and users' own ops. Plain loops over small things.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "core/cpu/step_builder.h"
#include "core/dtype.h"
#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/philox.h"

namespace weft::cpu {

namespace {

using onednn::desc;
using onednn::dims;

template <class T>
T* data(const dnnl::memory& m) {
  return static_cast<T*>(m.get_data_handle());
}

desc dense(const Compiler& c, ValueId v) {
  return dense_desc(c.value(v).shape, c.value(v).dtype);
}

// body(first, last) over [0, n) in as many ranges as there are threads.
template <class Body>
void in_ranges(int threads, std::int64_t n, const Body& body) {
  constexpr std::int64_t kWorthAThread = 1 << 15;
  const auto count = std::clamp<std::int64_t>(n / kWorthAThread, 1, threads);
  std::vector<std::jthread> others;
  for (std::int64_t i = 1; i < count; ++i)
    others.emplace_back([&body, first = n * i / count, last = n * (i + 1) / count] { body(first, last); });
  body(0, n / count);
}

}  // namespace

void lower_fill(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const auto value = static_cast<float>(problem_of(c.graph(), node).scalars[extents::Elements::value]);
  StepBuilder s(c, group);
  const dnnl::memory y = s.output(node.outputs[0], dense(c, node.outputs[0]));
  s.host([=, n = c.value(node.outputs[0]).shape.elements()](const StepContext&) {
    std::fill_n(data<float>(y), n, value);
  });
  s.finish("host");
}

// oneDNN rounds to bfloat16; Tensor::to() does that and float16 alike.
void lower_cast(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const ValueId from_value = input_of(node, 0), to_value = node.outputs[0];
  const DType from_type = c.value(from_value).dtype, to_type = c.value(to_value).dtype;
  StepBuilder s(c, group);
  const dnnl::memory x = s.input(from_value, dense(c, from_value)), y = s.output(to_value, dense(c, to_value));
  s.host([=, shape = c.value(from_value).shape](const StepContext&) {
    Tensor tensor(shape, from_type);
    std::memcpy(tensor.data(), data<void>(x), tensor.bytes());
    const Tensor cast = tensor.to(to_type);
    std::memcpy(data<void>(y), cast.data(), cast.bytes());
  });
  s.finish("host");
}

void lower_cross_entropy(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const std::int64_t N = problem.extents[extents::Rows::rows], C = problem.extents[extents::Rows::C];
  StepBuilder s(c, group);
  const dnnl::memory logits = s.input(input_of(node, 0), dense(c, input_of(node, 0))),
                     labels = s.input(input_of(node, 1), dense(c, input_of(node, 1))),
                     loss = s.output(node.outputs[0], dense(c, node.outputs[0])),
                     lse = s.output(node.outputs[1], dense(c, node.outputs[1]));
  s.host([=](const StepContext&) {
    double total = 0;
    for (std::int64_t n = 0; n < N; ++n) {
      const float* row = data<float>(logits) + n * C;
      const double maximum = *std::max_element(row, row + C);
      double sum = 0;
      for (std::int64_t i = 0; i < C; ++i) sum += std::exp(row[i] - maximum);
      const double log_sum = maximum + std::log(sum);
      data<float>(lse)[n] = static_cast<float>(log_sum);
      const std::int32_t label = data<std::int32_t>(labels)[n];
      total += label >= 0 && label < C ? log_sum - row[label] : std::numeric_limits<double>::quiet_NaN();
    }
    data<float>(loss)[0] = static_cast<float>(total / static_cast<double>(N));
  });
  s.finish("host");
}

void lower_cross_entropy_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const std::int64_t N = problem.extents[extents::Rows::rows], C = problem.extents[extents::Rows::C];
  StepBuilder s(c, group);
  const dnnl::memory dloss = s.input(input_of(node, 0), dense(c, input_of(node, 0))),
                     logits = s.input(input_of(node, 1), dense(c, input_of(node, 1))),
                     labels = s.input(input_of(node, 2), dense(c, input_of(node, 2))),
                     lse = s.input(input_of(node, 3), dense(c, input_of(node, 3))),
                     dlogits = s.output(node.outputs[0], dense(c, node.outputs[0]));
  s.host([=](const StepContext&) {
    const double scale = data<float>(dloss)[0] / static_cast<double>(N);
    for (std::int64_t n = 0; n < N; ++n) {
      const std::int32_t label = data<std::int32_t>(labels)[n];
      const bool known = label >= 0 && label < C;
      for (std::int64_t i = n * C; i < (n + 1) * C; ++i) {
        const double probability = std::exp(static_cast<double>(data<float>(logits)[i]) - data<float>(lse)[n]);
        const double gradient = scale * (probability - (i - n * C == label ? 1 : 0));
        data<float>(dlogits)[i] = known ? static_cast<float>(gradient) : std::numeric_limits<float>::quiet_NaN();
      }
    }
  });
  s.finish("host");
}

// Element i of dense NHWC is kept by word i % 4 of Philox's block i / 4 (kernels/ops.h), whatever the device: so x is
// brought to dense first.
void lower_dropout(Compiler& c, const Group& group) {
  using E = extents::Dropout;
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  StepBuilder s(c, group);
  const dnnl::memory x = s.input(input_of(node, 0), dense(c, input_of(node, 0))),
                     y = s.output(node.outputs[0], dense(c, node.outputs[0]));
  s.host([=, n = problem.extents[E::n], threads = c.runtime().threads](const StepContext& context) {
    const auto seed = static_cast<std::uint64_t>(problem.extents[E::seed]);
    const std::uint64_t subsequence =
        (static_cast<std::uint64_t>(problem.extents[E::op]) << 32) + (context.step() & 0xffffffffu);
    const double p = problem.scalars[E::p], threshold = std::round(p * 4294967296.0);
    const auto scale = static_cast<float>(1 / (1 - p));
    const float* from = data<float>(x);
    float* to = data<float>(y);
    in_ranges(threads, (n + 3) / 4, [=](std::int64_t first, std::int64_t last) {
      for (std::int64_t block = first; block < last; ++block) {
        const auto numbers = philox4x32_10(seed, subsequence, static_cast<std::uint64_t>(block));
        for (std::int64_t i = 4 * block; i < std::min(4 * block + 4, n); ++i)
          to[i] = numbers[static_cast<std::size_t>(i % 4)] >= threshold ? from[i] * scale : 0.0f;
      }
    });
  });
  s.finish("host");
}

void lower_user_op(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  StepBuilder s(c, group);
  std::vector<dnnl::memory> inputs, outputs;
  std::vector<HostOperand> input_operands, output_operands;
  for (ValueId v : node.inputs) {
    inputs.push_back(v ? s.input(v, dense(c, v)) : dnnl::memory());
    input_operands.push_back(v ? HostOperand{nullptr, c.value(v).shape, c.value(v).dtype} : HostOperand{});
  }
  for (int position : node.definition->updates)
    if (const ValueId v = input_of(node, position)) inputs[static_cast<std::size_t>(position)] = s.updated(v);
  for (ValueId v : node.outputs) {
    outputs.push_back(s.output(v, dense(c, v)));
    output_operands.push_back({nullptr, c.value(v).shape, c.value(v).dtype});
  }
  // A copy of the node: the graph need not outlive the program.
  s.host([=, node = Node(node)](const StepContext&) mutable {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i]) input_operands[i].data = data<void>(inputs[i]);
    for (std::size_t i = 0; i < outputs.size(); ++i) output_operands[i].data = data<void>(outputs[i]);
    node.definition->run_on_host(node, input_operands, output_operands);
  });
  s.finish("user's");
}

}  // namespace weft::cpu
