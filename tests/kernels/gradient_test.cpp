// Every backward op's reference against central differences of its forward op's reference, both in double precision.
// With dy random, L = sum dy * y is a scalar function of the forward inputs; the backward op's output "dx" is dL/dx. An
// input "other_dx" stands for what else depends on x: L has sum other_dx * x more.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "kernels/ops.h"
#include "kernels/philox.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

constexpr double kStep = 1e-5;
constexpr double kKink = 1e-3;             // a hundred steps
constexpr double kTolerance = 1e-6;        // relative to the operand's largest gradient, and at least absolute
constexpr double kMostForwardFlops = 2e6;  // larger shapes are left out: each element costs two forward passes
constexpr std::size_t kMostElements = 40;  // of each operand; drawn at random where there are more

struct GradientReport {
  int compared = 0;                  ///< elements
  int left_out = 0;                  ///< operands of problems, for a difference has not the digits
  std::vector<std::string> wrong;    ///< op, operand, element and both values
  std::vector<std::string> nonzero;  ///< operands with a gradient other than 0
};

/// sum dy * y over the forward outputs that have a gradient among the backward op's inputs, and sum other_dx * x over
/// the forward inputs of which a part of the gradient is among them.
double loss(const Op& forward, const Problem& problem, const std::vector<Values>& forward_operands,
            const Signature& backward, const std::vector<Values>& backward_operands) {
  const Signature signature = forward.signature(problem);
  const Truth truth = evaluate(forward, problem, forward_operands);
  double sum = 0;
  for (int i = 0; i < signature.count; ++i) {
    const bool is_input = signature.operands[i].role == Role::input;
    const int gradient = find_operand(backward, (is_input ? "other_d" : "d") + std::string(signature.operands[i].name));
    if (gradient < 0 || backward.operands[gradient].role != Role::input || !backward.operands[gradient].present)
      continue;
    const Values& of = is_input ? forward_operands[i] : truth.operands[i];
    for (std::size_t j = 0; j < of.size(); ++j) sum += of[j] * backward_operands[gradient][j];
  }
  return sum;
}

/// Where a call ends in a ReLU (the extent "relu"), a step of one input may carry an output over the kink at 0, or at
/// the ceiling (the scalar of that name) where there is one, and the central difference means nothing there: dy is put
/// to 0 where the output without the ReLU is nearer to one of the two than kKink.
void keep_from_kink(const Op& forward, const Problem& problem, const std::vector<Values>& inputs,
                    const Signature& backward, std::vector<Values>& backward_operands) {
  for (std::size_t e = 0; e < forward.extent_names.size(); ++e) {
    if (std::string(forward.extent_names[e]) != "relu" || problem.extents[e] == 0) continue;
    Problem linear = problem;
    linear.extents[e] = 0;
    double ceiling = 0;
    for (std::size_t s = 0; s < forward.scalar_names.size(); ++s)
      if (std::string(forward.scalar_names[s]) == "ceiling") ceiling = std::exchange(linear.scalars[s], 0);
    const Truth truth = evaluate(forward, linear, inputs);
    const Signature signature = forward.signature(linear);
    for (int i = 0; i < signature.count; ++i) {
      const int gradient = find_operand(backward, std::string("d") + signature.operands[i].name);
      if (signature.operands[i].role != Role::output || gradient < 0) continue;
      for (std::size_t j = 0; j < truth.operands[i].size(); ++j)
        if (std::fabs(truth.operands[i][j]) < kKink || std::fabs(truth.operands[i][j] - ceiling) < kKink)
          backward_operands[gradient][j] = 0;
    }
  }
}

/// What rounding alone makes of a central difference of `loss`, the root of its mean square. Adding up n terms of one
/// sign rounds partial sums that grow evenly, each by a unit roundoff at most: u loss sqrt(n) / 3; and there are two.
double noise_of_difference(const Op& forward, const Problem& problem, double loss) {
  constexpr double kRoundoff = 0x1p-53;
  const double terms = forward.bound.terms ? static_cast<double>(forward.bound.terms(problem)) : 1;
  return kRoundoff * std::fabs(loss) * std::sqrt(terms) / 3 * std::sqrt(2.0) / (2 * kStep);
}

void check_problem(Catalogue catalogue, const Op& forward, const Op& backward, const Problem& problem,
                   GradientReport& report) {
  const Signature theirs = forward.signature(problem), mine = backward.signature(problem);
  std::vector<Values> inputs = draw_operands(catalogue, forward, problem, Draw::random, false);
  std::vector<Values> operands = draw_operands(catalogue, backward, problem, Draw::random, false);
  // What both have under one name is one thing: forward inputs as drawn, forward outputs as computed.
  const Truth forward_truth = evaluate(forward, problem, inputs);
  for (int i = 0; i < mine.count; ++i) {
    const int same = find_operand(theirs, mine.operands[i].name);
    if (mine.operands[i].role == Role::input && same >= 0)
      operands[i] = theirs.operands[same].role == Role::input ? inputs[same] : forward_truth.operands[same];
  }
  keep_from_kink(forward, problem, inputs, mine, operands);
  const Truth truth = evaluate(backward, problem, operands);
  const double noise = noise_of_difference(forward, problem, loss(forward, problem, inputs, mine, operands));

  for (int i = 0; i < mine.count; ++i) {
    const Operand& operand = mine.operands[i];
    if (operand.role == Role::input || !operand.present) continue;
    const int source = find_operand(theirs, std::string(operand.name).substr(1));
    if (source < 0 || !theirs.operands[source].present) continue;
    const Values& gradient = truth.operands[i];
    double largest = 0;
    for (double value : gradient) largest = std::max(largest, std::fabs(value));
    if (largest > 0) report.nonzero.push_back(operand.name);
    const double tolerance = kTolerance * std::max(1.0, largest);
    if (2 * noise > tolerance) {  // a loss over a long row has lost the digits that are compared
      report.left_out += 1;
      continue;
    }
    Philox random(7, subsequence_of(operand.name));
    for (std::size_t k = 0; k < std::min(kMostElements, gradient.size()); ++k) {
      const std::size_t j =
          gradient.size() <= kMostElements ? k : random.below(static_cast<std::uint32_t>(gradient.size()));
      double& element = inputs[source][j];
      const double kept = element;
      element = kept + kStep;
      const double above = loss(forward, problem, inputs, mine, operands);
      element = kept - kStep;
      const double below = loss(forward, problem, inputs, mine, operands);
      element = kept;
      const double difference = (above - below) / (2 * kStep);
      report.compared += 1;
      if (std::fabs(difference - gradient[j]) <= tolerance) continue;
      char text[256];
      report.wrong.push_back(fmt::format("{}: {}[{}] = {:.9g}, central difference {:.9g}",
                                         describe(backward, problem, text, sizeof text), operand.name, j, gradient[j],
                                         difference));
    }
  }
}

GradientReport check_gradients(Catalogue catalogue, const Op& forward, const Op& backward) {
  GradientReport report;
  for (const Problem& problem : backward.problems)
    if (forward.flops(problem) <= kMostForwardFlops) check_problem(catalogue, forward, backward, problem, report);
  return report;
}

TEST_CASE("gradients: every backward reference agrees with central differences") {
  const Catalogue catalogue = simt::target().catalogue();
  for (const Op* backward : catalogue) {
    if (backward->gradient_of == nullptr) continue;
    const Op* forward = find_op(catalogue, backward->gradient_of);
    REQUIRE_MESSAGE(forward != nullptr, std::string(backward->name), ": no op ", std::string(backward->gradient_of));
    const GradientReport report = check_gradients(catalogue, *forward, *backward);
    for (std::size_t i = 0; i < std::min<std::size_t>(report.wrong.size(), 5); ++i) FAIL_CHECK(report.wrong[i]);
    CHECK_MESSAGE(report.compared > 0, std::string(backward->name), ": nothing was compared");
    CHECK_MESSAGE(report.left_out <= 3, std::string(backward->name), ": left out are ", report.left_out);
    std::set<std::string> outputs;  // optional ones too, where some problem has them
    for (const Problem& problem : backward->problems) {
      const Signature signature = backward->signature(problem);
      for (int i = 0; i < signature.count; ++i) {
        const Operand& operand = signature.operands[i];
        if (operand.role == Role::input || !operand.present) continue;
        if (find_operand(forward->signature(problem), operand.name) < 0)
          outputs.insert(operand.name);  // not its result
      }
    }
    for (const std::string& output : outputs)
      CHECK_MESSAGE(std::count(report.nonzero.begin(), report.nonzero.end(), output) > 0, std::string(backward->name),
                    ": ", output, " was 0 everywhere");
    fmt::print("{:<28}{:>6} elements compared, {} gradients left out\n", backward->name, report.compared,
               report.left_out);
  }
}

// gemm is its own gradient: for y = alpha op(a) op(b) + beta y, both gradients are products again.
TEST_CASE("gradients: gemm's are gemms, in all four transpositions") {
  using extents::Gemm;
  const Catalogue catalogue = simt::target().catalogue();
  const Op* gemm = find_op(catalogue, "gemm");
  REQUIRE(gemm != nullptr);
  constexpr std::int64_t m = 3, n = 4, k = 5;
  for (int trans_a : {0, 1}) {
    for (int trans_b : {0, 1}) {
      const Problem forward{{m, n, k, trans_a, trans_b, 0}, {1.5, 0}};
      std::vector<Values> operands = draw_operands(catalogue, *gemm, forward, Draw::random, false);
      Philox random(3, 0);
      Values dy(m * n);
      for (double& value : dy) value = random.normal();
      const auto product = [&](Problem problem, const Values& a, const Values& b) {
        std::vector<Values> call = draw_operands(catalogue, *gemm, problem, Draw::random, false);
        call[0] = a;
        call[1] = b;
        return evaluate(*gemm, problem, call).operands.back();
      };
      // d op(a) = dy op(b)^T and d op(b) = op(a)^T dy; a transposed operand's gradient is the transposed product.
      const Values da = trans_a ? product({{k, m, n, trans_b, 1, 0}, {1.5, 0}}, operands[1], dy)
                                : product({{m, k, n, 0, !trans_b, 0}, {1.5, 0}}, dy, operands[1]);
      const Values db = trans_b ? product({{n, k, m, 1, trans_a, 0}, {1.5, 0}}, dy, operands[0])
                                : product({{k, n, m, !trans_a, 0, 0}, {1.5, 0}}, operands[0], dy);
      for (int which : {0, 1}) {
        const Values& gradient = which == 0 ? da : db;
        for (std::size_t j = 0; j < gradient.size(); ++j) {
          double sides[2];
          const double kept = operands[which][j];
          for (int side : {0, 1}) {
            operands[which][j] = kept + (side ? kStep : -kStep);
            const Values y = evaluate(*gemm, forward, operands).operands.back();
            sides[side] = 0;
            for (std::size_t i = 0; i < y.size(); ++i) sides[side] += y[i] * dy[i];
          }
          operands[which][j] = kept;
          const double difference = (sides[1] - sides[0]) / (2 * kStep);
          CAPTURE(which);
          CAPTURE(j);
          CHECK(std::fabs(difference - gradient[j]) <= kTolerance * 10);
          CHECK(gradient[j] != 0);
        }
      }
    }
  }
}

// It is two gradients, each checked above, one after the other: there is no forward op of its own.
TEST_CASE("gradients: relu_bias_backward is relu_backward, and bias_backward of what that gives") {
  const Catalogue catalogue = simt::target().catalogue();
  const Op *both = find_op(catalogue, "relu_bias_backward"), *relu = find_op(catalogue, "relu_backward"),
           *bias = find_op(catalogue, "bias_backward");
  REQUIRE((both != nullptr && relu != nullptr && bias != nullptr));
  constexpr std::int64_t rows = 29, channels = 5;
  for (const double ceiling : {0.0, 0.5}) {
    const Problem problem{{rows, channels}, {ceiling}}, elements{{rows * channels}, {ceiling}};
    const std::vector<Values> operands = draw_operands(catalogue, *both, problem, Draw::random, false);
    const Truth truth = evaluate(*both, problem, operands);
    const Values dx = evaluate(*relu, elements, {operands[0], operands[1], operands[2]}).operands[2];
    const Values dbias = evaluate(*bias, {{rows, channels}}, {dx, operands[3]}).operands[1];
    CHECK(truth.operands[2] == dx);
    CHECK(truth.operands[3] == dbias);
    CHECK(std::count(dx.begin(), dx.end(), 0.0) > 29);
    CHECK(std::count(dbias.begin(), dbias.end(), 0.0) == 0);
  }
}

// The check must be able to fail. Three backward passes, each short of one term.

reference::Reference* true_reference(const char* name) {
  return find_op(simt::target().catalogue(), name)->reference;
}

/// The true reference, whose tap (0, 0) is then dropped.
void filter_gradient_without_a_tap(const Problem& problem, double* const* operands, double* const* magnitudes) {
  using extents::Conv2d;
  true_reference("conv2d_backward_filter")(problem, operands, magnitudes);
  const auto* e = problem.extents;
  const std::int64_t channels = e[Conv2d::C] / e[Conv2d::groups];
  for (std::int64_t k = 0; k < e[Conv2d::K]; ++k)
    for (std::int64_t c = 0; c < channels; ++c) operands[2][k * e[Conv2d::R] * e[Conv2d::S] * channels + c] = 0;
}

/// dx = y * dy instead of y * (dy - sum dy * y).
void softmax_gradient_without_the_sum(const Problem& problem, double* const* operands, double* const*) {
  using extents::Rows;
  for (std::int64_t i = 0; i < problem.extents[Rows::rows] * problem.extents[Rows::C]; ++i)
    operands[2][i] = operands[0][i] * operands[1][i];
}

/// The true reference, to which the term that it subtracts, weight * invstd * mean(dy), is added again.
void batch_norm_gradient_without_the_mean(const Problem& problem, double* const* operands, double* const* magnitudes) {
  using extents::BatchNorm;
  true_reference("batch_norm_train_backward")(problem, operands, magnitudes);
  const std::int64_t rows = problem.extents[BatchNorm::rows], channels = problem.extents[BatchNorm::C];
  const double *dy = operands[0], *weight = operands[3], *invstd = operands[5];
  for (std::int64_t c = 0; c < channels; ++c) {
    double mean = 0;
    for (std::int64_t row = 0; row < rows; ++row) mean += dy[row * channels + c] / static_cast<double>(rows);
    for (std::int64_t row = 0; row < rows; ++row) operands[6][row * channels + c] += weight[c] * invstd[c] * mean;
  }
}

TEST_CASE("gradients: a backward pass short of one term is found out") {
  struct Mutation {
    const char* op;
    reference::Reference* reference;
  };
  constexpr Mutation kMutations[] = {{"conv2d_backward_filter", filter_gradient_without_a_tap},
                                     {"softmax_backward", softmax_gradient_without_the_sum},
                                     {"batch_norm_train_backward", batch_norm_gradient_without_the_mean}};
  const Catalogue catalogue = simt::target().catalogue();
  for (const Mutation& mutation : kMutations) {
    const Op* backward = find_op(catalogue, mutation.op);
    REQUIRE_MESSAGE(backward != nullptr, "no op ", std::string(mutation.op));
    Op broken = *backward;
    broken.reference = mutation.reference;
    const GradientReport report = check_gradients(catalogue, *find_op(catalogue, backward->gradient_of), broken);
    CHECK_MESSAGE(!report.wrong.empty(), std::string(mutation.op), ": the missing term went unseen");
    if (!report.wrong.empty()) fmt::print("found out, as it should be: {}\n", report.wrong.front());
  }
}

}  // namespace
}  // namespace weft::test
