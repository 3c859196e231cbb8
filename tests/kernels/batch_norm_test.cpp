// Batch norm's statistics against torch's.
//
// The literals come from torch 1.13, float32:
//   x = torch.tensor([[1.,-2,100],[2,0.5,101],[4,-1,99],[-3,2,100.5]])
//   bn = torch.nn.BatchNorm1d(3, eps=1e-5, momentum=0.1)
//   with torch.no_grad(): bn.weight.copy_(torch.tensor([1.,2,-0.5])); bn.bias.copy_(torch.tensor([0.,-1,3]))
//   y = bn(x); bn.running_mean; bn.running_var
//   bn(x * 0.5 + 1); bn.running_mean; bn.running_var; bn.eval(); bn(x)

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/philox.h"
#include "tests/kernels/call.h"

namespace weft::test {
namespace {

const Values kX = {1, -2, 100, 2, 0.5, 101, 4, -1, 99, -3, 2, 100.5};
const Values kWeight = {1, 2, -0.5}, kBias = {0, -1, 3};

void check_close(const Values& got, const Values& expected, double tolerance) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK_MESSAGE(std::abs(got[i] - expected[i]) <= tolerance * std::max(1.0, std::abs(expected[i])), got[i],
                  " is not ", expected[i]);
  }
}

TEST_CASE("batch norm: output and running statistics are torch's over two steps and in evaluation") {
  const Problem problem{{4, 3}, {1e-5, 0.1}};
  const auto train = [&](const Values& x, const Values& running_mean, const Values& running_var) {
    return std::vector<Values>{x, kWeight, kBias, {}, running_mean, running_var, Values(12), Values(3), Values(3)};
  };
  const Values first_mean = {0.100000001, -0.0125000002, 10.0124998};
  const Values first_var = {1.76666665, 1.20624995, 0.972916663};
  call_every_rung("batch_norm_train", problem, train(kX, {0, 0, 0}, {1, 1, 1}),
                  [&](const std::vector<Values>& results) {
                    check_close(results[4], first_mean, 1e-6);
                    check_close(results[5], first_var, 1e-6);
                    check_close(results[6],
                                {0, -3.47435308, 3.08451152, 0.392231971, -0.175215662, 2.40839434, 1.17669594,
                                 -2.15469813, 3.7606287, -1.56892788, 1.80426669, 2.74645281},
                                3e-5);  // torch's own third channel has 100 beside a deviation of 0.7
                  });
  Values second = kX;
  for (double& value : second) value = value * 0.5 + 1;
  const Values second_mean = {0.24000001, 0.0825000033, 14.1175003};
  const Values second_var = {1.80666661, 1.16218746, 0.893854141};
  call_every_rung("batch_norm_train", problem, train(second, first_mean, first_var),
                  [&](const std::vector<Values>& results) {
                    check_close(results[4], second_mean, 1e-6);
                    check_close(results[5], second_var, 1e-6);
                  });
  call_every_rung("batch_norm_eval", problem, {kX, kWeight, kBias, {}, second_mean, second_var, Values(12)},
                  [&](const std::vector<Values>& results) {
                    check_close(results[6],
                                {0.565422893, -4.86344767, -42.4191399, 1.30940032, -0.225455284, -42.9479942,
                                 2.79735541, -3.00825071, -41.8902893, -2.41048717, 2.55734015, -42.683567},
                                1e-6);
                  });
}

// The sum of squares less the square of the sum would give a variance of rounding errors here, or a negative one.
TEST_CASE("batch norm: a mean of 3000 deviations leaves the variance its digits") {
  constexpr int kRows = 5000, kChannels = 3;
  Philox random(11, 0);
  std::vector<Values> operands = {
      Values(kRows * kChannels), Values(3, 1.0), Values(3, 0.0), {}, Values(3, 0.0), Values(3, 1.0),
      Values(kRows * kChannels), Values(3),      Values(3)};
  // In one channel the first row is an outlier, which a shift by the first value would not survive.
  for (int i = 0; i < kRows * kChannels; ++i) operands[0][i] = static_cast<float>(3000 + random.normal());
  operands[0][1] = -3000;
  Values deviation(kChannels);
  for (int c = 0; c < kChannels; ++c) {
    double mean = 0, squares = 0;
    for (int n = 0; n < kRows; ++n) mean += operands[0][n * kChannels + c] / kRows;
    for (int n = 0; n < kRows; ++n) squares += std::pow(operands[0][n * kChannels + c] - mean, 2);
    deviation[c] = std::sqrt(squares / kRows);
  }
  call_every_rung("batch_norm_train", {{kRows, kChannels}, {1e-5, 0.1}}, operands,
                  [&](const std::vector<Values>& results) {
                    for (int c = 0; c < kChannels; ++c) {
                      CAPTURE(c);
                      CHECK(std::abs(results[8][c] * deviation[c] - 1) <= 1e-3);
                    }
                  });
}

TEST_CASE("batch norm: the gradient stops where the ReLU did, and the residual's is what is left of it") {
  // eps is 0 and the running statistics are 0 and 1, so that x is normalised already.
  const Problem problem{{4, 1, 1, 1}, {0, 0.1}};
  const Values x = {1, -2, 3, -4}, residual = {-2, 3, 0.5, 1}, y = {0, 1, 3.5, 0}, dy = {10, 20, -30, 40};
  call_every_rung("batch_norm_eval", problem, {x, {1}, {0}, residual, {0}, {1}, Values(4)},
                  [&](const std::vector<Values>& results) { CHECK(results[6] == y); });
  call_every_rung("batch_norm_eval_backward", problem,
                  {dy, x, y, {2}, {0}, {1}, Values(4), Values(1), Values(1), Values(4)},
                  [&](const std::vector<Values>& results) {
                    CHECK(results[9] == Values{0, 20, -30, 0});
                    CHECK(results[6] == Values{0, 40, -60, 0});
                    CHECK(results[7] == Values{-130});
                    CHECK(results[8] == Values{-10});
                  });
}

TEST_CASE("batch norm: rows are kept on the chip where they fit and the GPU is busy with them, else read twice") {
  const auto picked = [](const char* name, const Problem& problem, int capability) {
    const Op& op = op_of(devices().front(), name);
    return std::string(op.rungs[static_cast<std::size_t>(pick_rung(op, problem, capability))].name);
  };
  const Problem layer4{{128 * 7 * 7, 512}, {1e-5, 0.1}, DType::bf16},
      layer1{{128 * 56 * 56, 64}, {1e-5, 0.1}, DType::bf16};
  CHECK(picked("batch_norm_train", layer4, 90) == "kept-by-cluster");
  CHECK(picked("batch_norm_train_backward", layer4, 90) == "kept-by-cluster");
  CHECK(picked("batch_norm_train", layer4, 80) == "vectorised");
  CHECK(picked("batch_norm_train", layer1, 90) == "vectorised");
  CHECK(picked("batch_norm_train", layer1, 0) == "vectorised");
  const Problem small{{256, 2048}, {1e-5, 0.1}};
  CHECK(picked("batch_norm_train", small, 80) == "kept-by-block");
  CHECK(picked("batch_norm_train", small, 75) == "vectorised");
}

TEST_CASE("batch norm: one value per channel is refused in training") {
  const Op& op = op_of(devices().front(), "batch_norm_train");
  CHECK_THROWS_WITH_AS(op.check({{1, 64}, {1e-5, 0.1}}),
                       "batch_norm_train: expected more than 1 value per channel when training, got rows = 1 (C = 64); "
                       "one value has no variance: use a larger batch, or eval mode",
                       Error);
  CHECK_THROWS_WITH_AS(op.check({{4, 64, 0, 2}, {1e-5, 0.1}}), "batch_norm_train: relu is 2, and must be 0 or 1",
                       Error);
}

}  // namespace
}  // namespace weft::test
