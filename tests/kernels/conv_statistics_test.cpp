// conv2d_statistics: mean and variance are those of y as it was written, to float32's accuracy, however far the mean is
// from 0. (The catalogue's bound, which is that of y, would not tell a variance found by E[y^2] - E[y]^2.)

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/ops.h"
#include "tests/kernels/harness.h"

namespace weft::test {
namespace {

using extents::Conv2d;

TEST_CASE("conv statistics: each rung's are those of its own y, with a mean a hundred deviations from 0") {
  const Catalogue catalogue = simt::target().catalogue();
  const Op& op = *find_op(catalogue, "conv2d_statistics");
  for (const DType type : {DType::f32, DType::bf16}) {
    // 3 x 11 x 13 pixels: six whole chunks and one of 45.
    Problem problem{{3, 11, 13, 16, 72, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {}, type};
    problem.extents[Conv2d::tf32] = type == DType::f32;
    std::vector<Values> operands = draw_operands(catalogue, op, problem, Draw::random, true);
    for (double& x : operands[0]) x = round_to(DType::bf16, 20 + 0.5 * x);
    for (double& weight : operands[1]) weight = round_to(DType::bf16, 1 + 0.25 * std::fabs(weight));
    int rungs = 0;
    for (const Rung& rung : op.rungs) {
      if (!can_run(rung, problem, 0)) continue;
      CAPTURE(std::string(rung.name));
      CAPTURE(std::string(name_of(type)));
      ++rungs;
      const Outcome outcome = run_rung({simt::target()}, rung, problem, op.signature(problem), operands);
      CHECK(outcome.complaints.empty());
      const Values y = decode(type, outcome.operands[2]);
      const Values mean = decode(DType::f32, outcome.operands[3]), var = decode(DType::f32, outcome.operands[4]);
      const std::size_t K = mean.size(), pixels = y.size() / K;
      REQUIRE(K == 72);
      REQUIRE(pixels == 429);
      for (std::size_t k = 0; k < K; ++k) {
        double exact_mean = 0, exact_var = 0;
        for (std::size_t i = 0; i < pixels; ++i) exact_mean += y[i * K + k] / static_cast<double>(pixels);
        for (std::size_t i = 0; i < pixels; ++i)
          exact_var += (y[i * K + k] - exact_mean) * (y[i * K + k] - exact_mean) / static_cast<double>(pixels);
        CHECK(exact_mean > 50 * std::sqrt(exact_var));
        CHECK(std::fabs(mean[k] - exact_mean) <= 1e-6 * exact_mean);
        CHECK(std::fabs(var[k] - exact_var) <= 1e-4 * exact_var);
      }
    }
    CHECK(rungs == 4);
  }
}

TEST_CASE("conv statistics: which rung a device picks; an epilogue is refused") {
  const Op& op = *find_op(simt::target().catalogue(), "conv2d_statistics");
  const auto picked = [&](const Problem& problem, int capability) {
    return std::string(op.rungs[static_cast<std::size_t>(pick_rung(op, problem, capability))].name);
  };
  Problem problem{{128, 28, 28, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {}, DType::bf16};
  CHECK(picked(problem, 90) == "implicit-persistent");
  CHECK(picked(problem, 80) == "implicit-mma");
  CHECK(picked(problem, 0) == "gathered-after");
  problem.dtype = DType::f32;
  CHECK(picked(problem, 90) == "gathered-after");
  for (const int extent : {Conv2d::has_bias, Conv2d::has_scale, Conv2d::has_residual, Conv2d::relu}) {
    Problem with_epilogue = problem;
    with_epilogue.extents[extent] = 1;
    CHECK_THROWS_WITH(op.check(with_epilogue),
                      "conv2d_statistics: the statistics are those of the convolution alone: has_bias, has_scale, "
                      "has_residual and relu must be 0");
  }
}

}  // namespace
}  // namespace weft::test
