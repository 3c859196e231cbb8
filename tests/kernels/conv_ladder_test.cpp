// What the catalogue's tests do not see of the convolutions: addresses that are not aligned, and the choice of a rung
// for devices that are not here.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/simt/machine.h"
#include "tests/kernels/harness.h"
#include "tests/kernels/unaligned.h"

namespace weft::test {
namespace {

using extents::Conv2d;

const Op& conv_op(const char* name) {
  const Op* op = find_op(simt::target().catalogue(), name);
  REQUIRE(op != nullptr);
  return *op;
}

constexpr const char* kPasses[] = {"conv2d", "conv2d_backward_data", "conv2d_backward_filter"};

TEST_CASE("conv2d: operands at any address") {
  // Channels and filters in fours, so that nothing but the addresses stands against reading four at a time.
  const Problem one{{2, 6, 5, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
  const Problem depthwise{{2, 6, 5, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8, 1, 1, 1, 1}};
  for (const char* name : kPasses) {
    const Op& op = conv_op(name);
    for (Problem problem : {one, depthwise}) {
      for (const DType type : {DType::f32, DType::bf16}) {
        problem.dtype = type;
        const Signature signature = op.signature(problem);
        const auto values = draw_operands(simt::target().catalogue(), op, problem, Draw::integers, true);
        const Truth truth = evaluate(op, problem, values);
        for (const Rung& rung : op.rungs) {
          if (!can_run(rung, problem, 0) || rung.needs.alignment > 1) continue;
          CAPTURE(std::string(name));
          CAPTURE(std::string(rung.name));
          const Outcome outcome = run_unaligned(rung, problem, signature, values);
          for (const std::string& line : compare(op, problem, signature, truth, outcome, true)) FAIL_CHECK(line);
        }
      }
    }
  }
}

/// N pictures of `size` squared, C channels to K filters of R x R; the padding keeps the size at a stride of 1.
Problem layer(std::int64_t N, std::int64_t size, std::int64_t C, std::int64_t K, std::int64_t R,
              std::int64_t stride = 1, std::int64_t groups = 1, DType dtype = DType::f32) {
  return {{N, size, size, C, K, R, R, stride, stride, R / 2, R / 2, 1, 1, groups}, {}, dtype};
}

std::string picked(const char* name, Problem problem, int capability, bool strict = false) {
  problem.strict = strict;
  const Op& op = conv_op(name);
  const int rung = pick_rung(op, problem, capability);
  REQUIRE(rung >= 0);
  return op.rungs[static_cast<std::size_t>(rung)].name;
}

TEST_CASE("conv2d: the choice in float32") {
  const Problem wide = layer(128, 56, 64, 64, 3), deep = layer(128, 14, 256, 256, 3),
                stem = layer(128, 224, 3, 64, 7, 2);
  for (const int capability : {75, 80, 90}) {
    CAPTURE(capability);
    CHECK(picked("conv2d", wide, capability) == "implicit-gemm-wide");
    CHECK(picked("conv2d", stem, capability) == "stem");
    CHECK(picked("conv2d", layer(128, 224, 3, 64, 7, 2, 1, DType::bf16), capability) ==
          (capability < 80 ? "stem" : "implicit-mma"));
    CHECK(picked("conv2d", layer(1, 14, 64, 64, 3), capability) == "implicit-gemm");
    CHECK(picked("conv2d", layer(128, 28, 128, 256, 3, 2), capability) == "implicit-gemm-wide");
    CHECK(picked("conv2d_backward_data", wide, capability) == "implicit-gemm-wide");
    CHECK(picked("conv2d_backward_filter", wide, capability) == "split-k");
    CHECK(picked("conv2d_backward_filter", stem, capability) == "split-k");
    CHECK(picked("conv2d", deep, capability) == "winograd");
    CHECK(picked("conv2d_backward_data", deep, capability) == "winograd");
    // A picture that is its own columns goes to gemm, and what gemm's epilogue cannot do does not. Of a filter's
    // gradient only where gemm has slices, from cp.async on.
    Problem pointwise = layer(128, 28, 256, 128, 1);
    CHECK(picked("conv2d", pointwise, capability) == "pointwise-gemm");
    CHECK(picked("conv2d_backward_data", pointwise, capability) == "pointwise-gemm");
    CHECK(picked("conv2d_backward_filter", pointwise, capability) == (capability < 80 ? "split-k" : "pointwise-gemm"));
    pointwise.extents[Conv2d::has_scale] = 1;
    CHECK(picked("conv2d", pointwise, capability) == "implicit-gemm-wide");
    for (const char* pass : kPasses) {
      const char* const rolling = capability < 80    ? "depthwise"
                                  : capability == 90 ? "depthwise-cluster"
                                                     : "depthwise-rolling";
      CHECK(picked(pass, layer(128, 56, 144, 144, 3, 1, 144), capability) == rolling);
      CHECK(picked(pass, layer(128, 56, 144, 144, 3, 1, 144, DType::bf16), capability) == rolling);
      CHECK(picked(pass, layer(8, 56, 144, 144, 3, 1, 144), capability) == "depthwise");    // 40 blocks
      CHECK(picked(pass, layer(128, 56, 144, 288, 3, 1, 144), capability) == "depthwise");  // two filters a channel
      CHECK(picked(pass, layer(1, 2, 2, 2, 3), capability) == "direct");
      // What is left to im2col: bfloat16 without tensor cores.
      if (capability < 80)
        CHECK(picked(pass, layer(128, 28, 128, 128, 3, 1, 1, DType::bf16), capability) == "im2col-tiles");
    }
  }
}

TEST_CASE("conv2d: the choice on simt, where changes of threads are dear") {
  for (const char* pass : kPasses) {
    CHECK(picked(pass, layer(4, 14, 64, 64, 1), 0) == "pointwise-gemm");
    CHECK(picked(pass, layer(4, 14, 64, 64, 3), 0) == "im2col-gemm");
    CHECK(picked(pass, layer(4, 14, 128, 128, 3), 0) == "im2col-gemm");
    CHECK(picked(pass, layer(4, 14, 96, 96, 3, 1, 96), 0) == "depthwise");
    CHECK(picked(pass, layer(1, 2, 2, 2, 3), 0) == "direct");
  }
}

TEST_CASE("conv2d: strict problems do without Winograd") {
  const Problem deep = layer(128, 14, 256, 256, 3);
  for (const char* pass : {"conv2d", "conv2d_backward_data"})
    for (const int capability : {75, 80, 90}) {
      CHECK(picked(pass, deep, capability) == "winograd");
      CHECK(picked(pass, deep, capability, true) == "implicit-gemm-wide");
    }
  for (const char* pass : kPasses) {
    Problem problem = layer(2, 8, 16, 16, 3);
    for (const Rung& rung : conv_op(pass).rungs) {
      problem.strict = false;
      const bool can = can_run(rung, problem, 0);
      problem.strict = true;
      CHECK(can_run(rung, problem, 0) == (can && rung.bound_factor == 1));
    }
  }
}

}  // namespace
}  // namespace weft::test
