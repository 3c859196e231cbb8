// The losses over a share of every class (kernels/cross_entropy_soft.cu, kernels/binary_cross_entropy.cu): like
// cross-entropy, plain loops over a row of logits a picture, which oneDNN has no primitive for.

#include <algorithm>
#include <cmath>

#include "core/cpu/step_builder.h"
#include "kernels/ops.h"

namespace weft::cpu {
namespace {

/// A dense operand and its numbers.
dnnl::memory input(StepBuilder& s, Compiler& c, const Node& node, int position) {
  const ValueId v = input_of(node, position);
  return s.input(v, dense_desc(c.value(v).shape, c.value(v).dtype));
}

dnnl::memory output(StepBuilder& s, Compiler& c, const Node& node, std::size_t position) {
  const ValueId v = node.outputs[position];
  return s.output(v, dense_desc(c.value(v).shape, c.value(v).dtype));
}

float* numbers(const dnnl::memory& m) {
  return static_cast<float*>(m.get_data_handle());
}

double sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

}  // namespace

void lower_cross_entropy_soft(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const std::int64_t N = problem.extents[extents::Rows::rows], C = problem.extents[extents::Rows::C];
  StepBuilder s(c, group);
  const dnnl::memory logits = input(s, c, node, 0), targets = input(s, c, node, 1), loss = output(s, c, node, 0),
                     lse = output(s, c, node, 1);
  s.host([=](const StepContext&) {
    double total = 0;
    for (std::int64_t n = 0; n < N; ++n) {
      const float* row = numbers(logits) + n * C;
      const double maximum = *std::max_element(row, row + C);
      double sum = 0;
      for (std::int64_t i = 0; i < C; ++i) sum += std::exp(row[i] - maximum);
      const double log_sum = maximum + std::log(sum);
      numbers(lse)[n] = static_cast<float>(log_sum);
      for (std::int64_t i = 0; i < C; ++i) total += numbers(targets)[n * C + i] * (log_sum - row[i]);
    }
    numbers(loss)[0] = static_cast<float>(total / static_cast<double>(N));
  });
  s.finish("host");
}

void lower_cross_entropy_soft_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const Problem problem = problem_of(c.graph(), node);
  const std::int64_t N = problem.extents[extents::Rows::rows], C = problem.extents[extents::Rows::C];
  StepBuilder s(c, group);
  const dnnl::memory dloss = input(s, c, node, 0), logits = input(s, c, node, 1), targets = input(s, c, node, 2),
                     lse = input(s, c, node, 3), dlogits = output(s, c, node, 0);
  s.host([=](const StepContext&) {
    const double scale = numbers(dloss)[0] / static_cast<double>(N);
    for (std::int64_t n = 0; n < N; ++n) {
      double total = 0;
      for (std::int64_t i = n * C; i < (n + 1) * C; ++i) total += numbers(targets)[i];
      for (std::int64_t i = n * C; i < (n + 1) * C; ++i) {
        const double probability = std::exp(static_cast<double>(numbers(logits)[i]) - numbers(lse)[n]);
        numbers(dlogits)[i] = static_cast<float>(scale * (total * probability - numbers(targets)[i]));
      }
    }
  });
  s.finish("host");
}

void lower_binary_cross_entropy(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const std::int64_t n = problem_of(c.graph(), node).extents[extents::Elements::n];
  StepBuilder s(c, group);
  const dnnl::memory logits = input(s, c, node, 0), targets = input(s, c, node, 1), loss = output(s, c, node, 0);
  s.host([=](const StepContext&) {
    double total = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double x = numbers(logits)[i];
      total += std::max(x, 0.0) - x * numbers(targets)[i] + std::log1p(std::exp(-std::abs(x)));
    }
    numbers(loss)[0] = static_cast<float>(total / static_cast<double>(n));
  });
  s.finish("host");
}

void lower_binary_cross_entropy_backward(Compiler& c, const Group& group) {
  const Node& node = c.node(group.main);
  const std::int64_t n = problem_of(c.graph(), node).extents[extents::Elements::n];
  StepBuilder s(c, group);
  const dnnl::memory dloss = input(s, c, node, 0), logits = input(s, c, node, 1), targets = input(s, c, node, 2),
                     dlogits = output(s, c, node, 0);
  s.host([=](const StepContext&) {
    const double scale = numbers(dloss)[0] / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i)
      numbers(dlogits)[i] = static_cast<float>(scale * (sigmoid(numbers(logits)[i]) - numbers(targets)[i]));
  });
  s.finish("host");
}

}  // namespace weft::cpu
